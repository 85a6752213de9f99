# %% [markdown]
# # 06 Batch norm that knows its step
#
# **Minutes:** 40 · **Prerequisites:** notebooks [01](01_maml_from_scratch.ipynb) and [02](02_episodes.ipynb); what
# batch norm does in ordinary training.
#
# **Objectives.** After this notebook you can
# - measure how far batch statistics drift over the inner steps, and in which layers most;
# - say what one shared set of statistics would do to a step, and what a set for each step does;
# - tell what the paper's text says from what its code does, and run both;
# - say why a prediction can depend on the other pictures of the query set, and measure how much.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_tasks = 8
n_episodes = 30

# %% [markdown]
# ## Set-up

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch

from mamlkit.core.episodes import EpisodeSampler
from mamlkit.core.inner_loop import adapt
from mamlkit.core.outer_loop import fold_batch_stats
from mamlkit.core.schedules import eval_config
from mamlkit.datasets import load
from mamlkit.show import plots
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import DriftExplorer
from mamlkit.study import stored
from mamlkit.training.diagnostics import bn_drift, trace_batch
from mamlkit.training.evaluation import mean_ci95
from mamlkit.training.learner import MetaLearner

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
store = load(dataset)
learners = {"MAML": stored.start("maml", dtype="float64"), "MAML++": stored.start("mamlpp", dtype="float64")}
config = learners["MAML++"].config
n_episodes = n_episodes if fast else 10 * n_episodes
layers = tuple(f"norms.{i}" for i in range(4))


def sampler_of(split, q_query=5):
    return EpisodeSampler(store, split, n_way=config.n_way, k_shot=1, q_query=q_query, seed=seed)


# %% [markdown]
# Both learners are *starts* that ship with the kit: 5-way 1-shot on glyphs, 16 filters, 3,000 meta-iterations. MAML has
# one set of batch-norm weights, biases and recorded statistics. MAML++ has one for each of its five inner steps.
#
# ## 1. The statistics move
#
# **Explain.** Batch norm takes the values of one channel over all images and pixels of a batch, and makes their mean 0
# and their variance 1. Then it stretches and shifts them by two learned numbers, weight $\gamma$ and bias $\beta$:
#
# $$y = \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$$
#
# (You write it in Exercise 6.1.) The inner loop changes the convolutions, so $x$ changes, and with it $\mu$ and
# $\sigma^2$. In MAML++ the weight and bias of the layer before change with the step too. We measure the drift of the
# mean since the first step, in standard deviations of that step, as the mean over channels and tasks:
#
# $$\text{shift}_k = \frac{\lvert \mu_k - \mu_0 \rvert}{\sigma_0}$$
#
# **Predict.** Does the first layer drift most, because everything begins there, or the last, because everything ends
# there?
#
# Steps count from 0 here, as the rows of a table do.
#
# **Run.** By hand for the support pass of one layer, then with the library's `bn_drift` for all. The two starts stand
# beside a network with random weights.

# %%
batch = sampler_of("test").batch(0, n_tasks)
untrained = MetaLearner.from_config(replace(learners["MAML"].config, seed=seed), (1, 28, 28))
traces = {name: trace_batch(learner, batch) for name, learner in {"random": untrained, **learners}.items()}

mean = traces["MAML"].support_stats["norms.3"].mean  # [T, K, C]
var = traces["MAML"].support_stats["norms.3"].var
by_hand = ((mean - mean[:, :1]).abs() / var[:, :1].sqrt()).mean((0, 2))  # |mu_k - mu_0| / sigma_0 -> [K]

rows = {name: bn_drift(trace) for name, trace in traces.items()}
shift = {
    name: {(row["layer"], row["step"]): row["shift"] for row in table if row["pass"] == "support"}
    for name, table in rows.items()
}
assert np.allclose(by_hand, [shift["MAML"]["norms.3", k] for k in range(5)])
for name in shift:
    print(f"{name:7} shift at the fifth step: " + "  ".join(f"{layer} {shift[name][layer, 4]:.2f}" for layer in layers))

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for panel, (name, table) in zip(axes, rows.items()):
    plots.drift(panel, table)
    panel.set_title(name)
    panel.set_ylabel(panel.get_ylabel() if panel is axes[0] else "")
plt.show()

# %% [markdown]
# **Check.** After meta-training the drift grows with depth: the last layer moves much further than the first.

# %%
for name in learners:
    first, *_, third, last = (shift[name][layer, 4] for layer in layers)
    assert last > third > first
    print(f"{name:7} drift of the first layer {first:.3f}, of the last {last:.2f}")

# %% [markdown]
# With random weights every layer moves. Meta-training found weights whose first layers hardly need to: the inner loop
# works in the last convolution, so that is where statistics for each step could help most. Notebook
# [08](08_maml_plus_plus.ipynb) asks what the layers learn in it. For random weights and for MAML it is hardly a drift
# but a jump: the first update makes it, the later ones add little.

# %% [markdown]
# ## 2. One record for all steps, or one for each
#
# **Explain.** Ordinary batch norm records running statistics while it trains, and uses them later:
#
# $$\text{running} \leftarrow (1 - m)\, \text{running} + m\, \text{batch}, \qquad m = 0.1$$
#
# (Exercise 6.2; below it is `fold_batch_stats`.) If all inner steps write into one record, it ends as a blend that fits
# none of them exactly. The paper calls that undesirable and keeps a record for each step: *per-step batch-norm running
# statistics*.
#
# **Predict.** For which inner step is a shared record furthest off, the first or the last?
#
# **Run.** We record both kinds over the same training tasks, with the same adapted networks.

# %%
plus = learners["MAML++"]
recorded = dict(plus.buffers)
shared = {
    name: (value[0] if value.dim() == 2 else value).clone() for name, value in plus.buffers.items()
}  # [K, C] -> [C]
settings = eval_config(config, "batch", track_query=True)
for first in range(0, 12 * 4, 4):
    trace = trace_batch(plus, sampler_of("train").batch(first, 4))
    recorded, shared = (fold_batch_stats(table, trace, settings) for table in (recorded, shared))


def four_tables(field):
    """Return [4, L, K, C]: the support pass, the query pass, the record of the step, the shared record."""
    passes = [torch.stack([getattr(stats[layer], field).mean(0) for layer in layers])  # [T, K, C] -> [L, K, C]
              for stats in (traces["MAML++"].support_stats, traces["MAML++"].query_stats)]  # fmt: skip
    own = torch.stack([recorded[f"{layer}.running_{field}"] for layer in layers])  # [L, K, C]
    one = torch.stack([shared[f"{layer}.running_{field}"].expand(5, -1) for layer in layers])
    return torch.stack([*passes, own, one]).numpy()


means, variances = four_tables("mean"), four_tables("var")
off = {
    name: (np.abs(means[which] - means[0]) / np.sqrt(variances[0])).mean((0, 2))  # in standard deviations -> [K]
    for name, which in (("a record for each step", 2), ("one shared record", 3))
}
for name, values in off.items():
    print(f"{name:23} off by " + "  ".join(f"step {k}: {value:.2f}" for k, value in enumerate(values)))

# %% [markdown]
# The first: step 0 is the only one before any update.
#
# **Run and explore.** Choose a layer and a channel, and move the step. Solid and dashed are what the support and the
# query pass really have, dotted is what was recorded for this step, gray is the record shared by all steps. The query
# pass of a step comes after that step's update, and uses the same row.

# %%
channel = int(np.abs(means[0, 3, -1] - means[0, 3, 0]).argmax())  # the one that moves most in the last layer
DriftExplorer(means, variances, layers=layers, at=(0, channel, 3))

# %% [markdown]
# **Check.** Over all steps, the record of the step is nearer to the truth than the shared one.

# %%
assert off["a record for each step"].mean() < off["one shared record"].mean()
print(f"mean distance {off['a record for each step'].mean():.2f} against {off['one shared record'].mean():.2f}")


# %% [markdown]
# ### Exercise 6.1
#
# Write batch norm with *given* statistics, for images `x` of shape `[B, C, H, W]` and four vectors of shape `[C]`. Use
# $\epsilon = 10^{-5}$.


# %%
def normalise(x, mean, var, weight, bias):
    # answer: a tensor like x
    mean, var, weight, bias = (v.reshape(-1, 1, 1) for v in (mean, var, weight, bias))  # [C] -> [C, 1, 1]
    return weight * (x - mean) / (var + 1e-5) ** 0.5 + bias
    # end of answer


check("6.1", normalise)
# hint("6.1")


# %% [markdown]
# ### Exercise 6.2
#
# Write the recording for one step: fold the statistics `batch` `[C]` into row `step` of the table `running` `[K, C]`.


# %%
def record(running, batch, step, momentum):
    # answer: a new table [K, C]
    new = running.clone()
    new[step] = (1 - momentum) * running[step] + momentum * batch
    return new
    # end of answer


check("6.2", record)
# hint("6.2")

# %% [markdown]
# ## 3. What the paper says, and what its code does
#
# **Explain.** The paper's text: the recorded statistics of the step normalise. The authors' code: the recorded ones are
# updated, but `F.batch_norm(..., training=True)` is written into the layer. So the batch's own statistics normalise, in
# training, validation and test. The records never enter a prediction.
#
# The learned part of the fix, a weight and a bias for each step, works in both.
#
# **Predict.** What happens to the predictions of the authors' way if we overwrite every record with nonsense?
#
# **Run both.** `norm="batch"` is the code's way, `norm="running"` the text's.


# %%
def adapt_to(learner, episode):
    """Return the parameters after the last inner step."""
    *_, last = adapt(learner.problem, learner.meta, learner.buffers, episode, eval_config(learner.config, "batch"))
    return last.params


def logits_of(learner, params, images, norm):
    last = learner.config.n_steps - 1
    return learner.problem.forward(params, learner.buffers, images, last, norm)[0]


broken = MetaLearner(plus.problem, config)
broken.load_state({**plus.state(), **{f"buffers/{name}": value * 0 + 7 for name, value in plus.buffers.items()}})
episode = plus.to_device(sampler_of("test").episode(0))
params = adapt_to(plus, episode)
changed = {
    norm: (logits_of(plus, params, episode.query_x, norm) - logits_of(broken, params, episode.query_x, norm))
    .abs()
    .max()
    for norm in ("batch", "running")
}
for norm, largest in changed.items():
    print(f"{norm:8} largest change of a logit: {largest:.2g}")

# %% [markdown]
# **Check.** The predictions of the code's way do not change. In it, per-step *statistics* are without effect, and
# per-step *weights and biases* are all there is of this fix.

# %%
assert changed["batch"] == 0
assert changed["running"] > 0
print("the batch's own statistics ignore the record; the recorded ones do not")

# %% [markdown]
# Did the five sets of weights and biases become different at all? Each line is one channel of a layer.

# %%
figure, axes = plt.subplots(2, 4, figsize=(9, 4), sharex=True, layout="constrained")
for column, layer in enumerate(layers):
    for row, what in enumerate(("weight", "bias")):
        axes[row, column].plot(plus.params[f"{layer}.{what}"].detach().numpy(), lw=1)  # [K, C]
        axes[row, column].set(title=f"{layer}.{what}", xticks=range(5))
figure.supxlabel("inner step")
plt.show()
spread = {layer: float(plus.params[f"{layer}.bias"].std(0).mean()) for layer in layers}
print("deviation of a bias over the steps: " + "  ".join(f"{layer} {value:.3f}" for layer, value in spread.items()))

# %% [markdown]
# They did, most clearly the weights of the last layer: nearly all of them grow at the last step.
#
# ## 4. Transduction
#
# **Explain.** If the query set is normalised by its own statistics, the prediction for a picture depends on the other
# pictures. Such a method is called *transductive*. It uses information that a single picture does not contain, for
# example that all classes are equally frequent. Three ways to form the query batches:
#
# - **whole**: the query set as one batch, five pictures of each class;
# - **one by one**: each of these pictures as a batch of its own;
# - **unbalanced**: ten pictures of one class, and one of each other.
#
# Only the query pass changes; the inner steps always use the support set's own statistics.
#
# **Predict.** Which of the three columns will be equal in the rows with recorded statistics?
#
# **Run.** The accuracy is the mean over classes, so that the three columns ask for the same thing.


# %%
def class_accuracy(logits, y):
    right = (logits.argmax(1) == y).double()
    return torch.stack([right[y == label].mean() for label in range(config.n_way)]).mean()


def three_ways(learner, episode, norm):
    params = adapt_to(learner, episode)
    y = episode.query_y
    of_class = torch.arange(len(y)) % 10  # 10 query images of each class, in order
    five, rare = of_class < 5, (of_class < 1) | (y == 0)
    ask = lambda images: logits_of(learner, params, images, norm)
    single = torch.vmap(lambda image: ask(image.unsqueeze(0)).squeeze(0))(episode.query_x[five])  # [Q, N]
    return torch.stack([
        class_accuracy(ask(episode.query_x[five]), y[five]),
        class_accuracy(single, y[five]),
        class_accuracy(ask(episode.query_x[rare]), y[rare]),
    ])  # fmt: skip


questions = sampler_of("test", q_query=10)
scores = {}
for name, learner in learners.items():
    episodes = [learner.to_device(questions.episode(i)) for i in range(n_episodes)]
    for norm in ("batch", "running"):
        with torch.no_grad():
            scores[name, norm] = torch.stack([three_ways(learner, each, norm) for each in episodes])  # [E, 3]

print(f"{'':16} {'whole':>10} {'one by one':>12} {'unbalanced':>12}")
for (name, norm), table in scores.items():
    cells = [f"{100 * mean:.0f} +- {100 * half:.0f} %" for mean, half in map(mean_ci95, table.T)]
    print(f"{name:7} {norm:8} {cells[0]:>10} {cells[1]:>12} {cells[2]:>12}")

# %% [markdown]
# The ± is a 95 % interval over episodes of one trained start.
#
# **Check.** Recorded statistics do not care who else is in the batch; the batch's own do.

# %%
for name in learners:
    running, own = scores[name, "running"], scores[name, "batch"]
    assert torch.equal(running[:, 0], running[:, 1])
    assert own[:, 1].mean() < own[:, 0].mean()
loss = 100 * float((scores["MAML++", "batch"][:, 0] - scores["MAML++", "batch"][:, 1]).mean())
print(f"asked one by one, MAML++ by batch statistics loses {loss:.0f} points")

# %% [markdown]
# The high numbers of batch statistics need company. With the whole query set they are highest, unbalanced a little
# lower, one by one far lower. So here it matters most that other pictures are there, and little that the classes are
# balanced. The authors' code tests in the best of the three cases, and so does the code of the original MAML. A
# comparison with a method that sees one picture at a time should say so; Bronskill and others make this point, and
# propose statistics of the support set instead.
#
# Recorded statistics give up a few points of the whole query set: these starts were *trained* with batch statistics and
# rely on them. One by one they are far ahead. Whether a record for each step loses less than a single one is open: the
# two rows are two starts and few episodes. After only 300 meta-iterations both kinds lose about 33 points
# ([08](08_maml_plus_plus.ipynb), section 6), and in this kit's longer runs on Omniglot MAML++ loses more than MAML.
#
# ## Recap
#
# - Batch statistics drift over the inner steps; after meta-training, mostly in the last layer.
# - A record for each step follows the drift; one shared record is off, mostly at the first step.
# - The paper's text normalises by the record, its code by the batch. Every version of
#   the code we looked at does so, so the published results most likely do too.
# - Batch statistics make predictions depend on the rest of the query set. Say how the query set was asked.
# - Next: [07 Learning rates](07_learning_rates.ipynb).
#
# ## References
#
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019, sections 3.1 and 4,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502), and the authors' code,
#   [HowToTrainYourMAMLPytorch](https://github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch).
# - J. Bronskill and others, *TaskNorm: Rethinking Batch Normalization for Meta-Learning*, ICML 2020,
#   [arXiv:2003.03284](https://arxiv.org/abs/2003.03284).
# - S. Ioffe, C. Szegedy, *Batch Normalization*, ICML 2015, [arXiv:1502.03167](https://arxiv.org/abs/1502.03167).
