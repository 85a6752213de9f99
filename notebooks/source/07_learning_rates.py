# %% [markdown]
# # 07 Learning rates
#
# **Minutes:** 45 · **Prerequisites:** notebooks [01](01_maml_from_scratch.ipynb), [05](05_derivative_order.ipynb) and
# [06](06_batch_norm.ipynb).
#
# **Objectives.** After this notebook you can
# - say how much one fixed inner rate matters, and what learned rates change about that;
# - write the gradient of a rate: minus the inner product of two gradients;
# - read a table of learned rates, and tell "per layer" (the paper) from "per tensor" (its code);
# - say why some rows of the table never move, and what a negative rate does;
# - write the cosine schedule of the *outer* rate, and say where it was really used.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 5
n_steps = 5

# %% [markdown]
# ## Set-up
#
# There are two kinds of learning rate. The *inner* rates $\alpha$ move the parameters within a task. The *outer* rate
# $\beta$ is Adam's, and moves the start over meta-training. Sections 1 to 6 are about the inner ones, section 7 about
# the outer one.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

from mamlkit import MetaLearner, MetaParams, Problem, StepConfig, configure, meta_gradient
from mamlkit.core.episodes import Episode
from mamlkit.core.networks import MLP
from mamlkit.core.outer_loop import run_tasks
from mamlkit.core.schedules import cosine_lr, eval_config, last_step_only, outer_lr, step_config
from mamlkit.datasets import load
from mamlkit.datasets.sinusoids import Sinusoids
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import RateExplorer
from mamlkit.study import stored
from mamlkit.training.diagnostics import trace_batch
from mamlkit.training.trainer import make_sampler

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first optimiser of a process is slow to load
store = load(dataset)
wave_iterations = 150 if fast else 600

# %% [markdown]
# ## 1. One rate for everything
#
# **Explain.** MAML has a single inner rate $\alpha$ for all tensors and all steps. It is chosen by hand: try some,
# train with each, keep the best. MAML++ makes the rates *learned*: the outer loop changes them as it changes the start.
# The paper calls this LSLR. The value set by hand is then only where they begin.
#
# Short runs come with the kit: 300 meta-iterations on glyphs, three seeds each, with $\alpha$ from 0.01 to 1. Three
# numbers $a_1, a_2, a_3$ give a mean and a 95 % interval by Student's $t$, with 2 degrees of freedom:
#
# $$\bar a \pm 4.303 \, \frac{s}{\sqrt 3}, \qquad s^2 = \frac{1}{2} \sum_i (a_i - \bar a)^2$$
#
# **Predict.** Take the rate ten times too small. Which suffers more: fixed rates, or rates that are learned from there?
#
# **Run.**

# %%
base = stored.base_config()


def over_seeds(values):
    """Return the mean of three seeds and half of its 95 % interval."""
    return values.mean(), 4.303 * values.std(ddof=1) / np.sqrt(3)  # t * s / sqrt(3)


def stored_tests(rate, fixes):
    """Return the test accuracy of each seed, in %."""
    if rate == base.inner_lr:
        found = stored.runs(group="switchboard", fixes=fixes, changes={})
    else:
        found = stored.runs(group="rates", fixes=fixes, changes={"inner_lr": rate})
    return 100 * np.array([run["test"] for run in sorted(found, key=lambda run: run["seed"])])


rates = (0.01, 0.03, 0.1, 0.3, 1.0)
kinds = {"fixed": [], "learned": ["lslr"]}
tests = {kind: np.array([stored_tests(rate, fixes) for rate in rates]) for kind, fixes in kinds.items()}  # [rates, 3]
sensitivity = {kind: np.array([over_seeds(row) for row in table]) for kind, table in tests.items()}  # [rates, 2]
gains = np.array([over_seeds(row) for row in tests["learned"] - tests["fixed"]])  # seed by seed
print("inner rate         fixed     learned from there      gain   (test accuracy, %)")
for rate, *cells in zip(rates, *sensitivity.values(), gains):
    print(f"{rate:10}", "   ".join(f"{mean:6.1f} +- {half:4.1f}" for mean, half in cells))

# %%
figure, axes = plt.subplots(figsize=(6, 3))
for (kind, rows), style in zip(sensitivity.items(), ("s--", "o-")):
    colour = {"fixed": "#c65f00", "learned": "#2077c4"}[kind]
    axes.errorbar(rates, rows[:, 0], rows[:, 1], fmt=style, color=colour, capsize=4, label=kind)
axes.set(xscale="log", xlabel="inner rate, or where the learned rates begin", ylabel="test accuracy (%)")
axes.legend()
plt.show()

# %% [markdown]
# Three seeds are few, so the intervals are wide; the gain is taken seed by seed. A start ten times too small is mended:
# the rates learn their way up, and the mean ends above that of any fixed rate. At 0.1, the value of the authors' code,
# learning the rates makes no difference that three short runs could show. And a start ten times too large is *not*
# mended. Adam moves a rate by about 0.001 at most in an iteration, so in 300 iterations it cannot come down from 1 to
# 0.1.
#
# **Check.**

# %%
assert gains[0, 0] - gains[0, 1] > 5  # from 0.01: better, by more than 5 points even at the interval's lower end
assert sensitivity["learned"][0, 0] > sensitivity["fixed"][:, 0].max()
assert abs(gains[2, 0]) < gains[2, 1]  # from 0.1: the interval has zero in it
assert sensitivity["learned"][4, 0] < sensitivity["fixed"][2, 0] - 10  # from 1.0: far below a fixed 0.1
print("too small a start is mended, too large a one is not")

# %% [markdown]
# **Run.** The same live, on the sine waves of notebook 01: one inner step, a short training from each of three rates.

# %%
waves = Sinusoids("train", k_shot=10, q_query=10, seed=seed)
exam = Sinusoids("test", k_shot=10, q_query=50, seed=seed).batch(0, 100)


def wave_learner(rate, learned):
    torch.manual_seed(seed)
    sizes = {"backbone": "mlp", "n_steps": 1, "inner_lr": rate, "outer_lr": 0.003, "tasks_per_chunk": 8}
    recipe = "maml+lslr" if learned else "maml"
    config = configure(recipe, **sizes, dtype="float64", device="cpu", on_nonfinite="skip")
    return MetaLearner(Problem(MLP(1, 1), F.mse_loss), config)  # the rule is the one that the recipe names


def train_on_waves(learner, change=lambda step: step):
    for iteration in range(wave_iterations):
        step = learner.meta_step(waves.batch(8 * iteration, 8), 0)
        learner.apply(change(step), 0)
    return learner


def exam_loss(learner):
    with torch.no_grad():
        losses, _ = run_tasks(learner.problem, learner.meta, {}, learner.to_device(exam), StepConfig((1.0,)))
    return losses.mean().item()


trained = {
    (rate, learned): train_on_waves(wave_learner(rate, learned))
    for rate in (0.001, 0.01, 0.1)
    for learned in (False, True)
}
print("inner rate  fixed  learned from there   (query loss of new waves)")
for rate in (0.001, 0.01, 0.1):
    print(f"{rate:10} {exam_loss(trained[rate, False]):6.2f} {exam_loss(trained[rate, True]):8.2f}")

# %% [markdown]
# **Check.** From every start, the learned rates do better than the rate they started from.

# %%
for rate in (0.001, 0.01, 0.1):
    assert exam_loss(trained[rate, True]) < exam_loss(trained[rate, False])
print("learned is better from each of the three")

# %% [markdown]
# ## 2. The gradient of a rate, by hand
#
# **Explain.** How does the outer loop know whether a rate should grow? Take one inner step of one tensor:
#
# $$\theta' = \theta - \alpha \, g, \qquad g = \nabla L_S(\theta)$$
#
# The query loss is evaluated at $\theta'$, and $\theta'$ depends on $\alpha$ through one product. So by the chain rule
#
# $$\frac{\partial L_Q(\theta')}{\partial \alpha} = -\big\langle \nabla L_Q(\theta'), \, g \big\rangle$$
#
# In words: after the step, does the query loss still fall in the direction of the step? If the two gradients agree, the
# step was too short, the derivative is negative, and descent makes $\alpha$ larger. If they oppose, the step went too
# far, and $\alpha$ shrinks.
#
# **Run.** Each of the six tensors has a rate of its own, so there are six such products.

# %%
learner = wave_learner(0.01, learned=True)
task = learner.to_device(waves.episode(0))


def wave_loss(params, x, y):
    outputs, _ = learner.problem.forward(params, {}, x, 0)
    return F.mse_loss(outputs, y)


def with_graph(params):
    return {name: p.detach().requires_grad_() for name, p in params.items()}


theta = with_graph(learner.params)
inner_gradients = torch.autograd.grad(wave_loss(theta, task.support_x, task.support_y), theta.values())  # g
moved = with_graph({name: p - 0.01 * g for (name, p), g in zip(theta.items(), inner_gradients)})  # theta'
query_gradients = torch.autograd.grad(wave_loss(moved, task.query_x, task.query_y), moved.values())
by_hand = torch.stack([-(q * g).sum() for q, g in zip(query_gradients, inner_gradients)])  # -< , >
for name, slope in zip(learner.rows, by_hand):
    print(f"{name:16} {slope.item():8.2f}   so the rate {'rises' if slope < 0 else 'falls'}")

# %% [markdown]
# **Check.** The library differentiates through the whole inner loop, and finds the same six numbers.

# %%
one_task = Episode(*(part.unsqueeze(0) for part in task))
step = meta_gradient(learner.problem, learner.meta, {}, one_task, StepConfig((1.0,)))
assert torch.allclose(by_hand, step.gradient.inner_lrs[:, 0], rtol=1e-9, atol=1e-12)
print("equal")


# %% [markdown]
# ### Exercise 7.1
#
# Write it as a function: the gradients of all rates from two lists of tensors.


# %%
def rate_gradient(query_gradients, inner_gradients):
    # answer: a tensor with one number for each rate
    return torch.stack([-(q * g).sum() for q, g in zip(query_gradients, inner_gradients)])
    # end of answer


check("7.1", rate_gradient)
# hint("7.1")

# %% [markdown]
# **Explain.** With $K$ steps, the rates form a table with a column for each step. Step $k$ has its own gradient $g_k$:
#
# $$\frac{\partial L_Q(\theta_K)}{\partial \alpha_k}
#   = -\Big\langle \frac{d L_Q(\theta_K)}{d \theta_{k+1}}, \, g_k \Big\rangle$$
#
# For the last step there is no second derivative in it. For earlier steps there is one in $d L_Q / d\theta_{k+1}$,
# which passes through the later steps.
#
# **Predict.** First-order MAML treats each $g_k$ as a constant. Do rates learn anything then? Which columns of the
# table are exact?
#
# **Run.**

# %%
table = torch.full((len(learner.rows), 3), 0.01)
slopes = {}
for second_order in (True, False):
    config = StepConfig(last_step_only(3), second_order=second_order)
    meta = MetaParams(learner.params, {"inner_lrs": table})
    step = meta_gradient(learner.problem, meta, {}, one_task, config)
    slopes[second_order] = step.gradient.inner_lrs  # [n_tensors, K]
ratio = (slopes[False] - slopes[True]).norm(dim=0) / slopes[True].norm(dim=0)
print("relative error of the first-order gradient, step 0, 1, 2:", " ".join(f"{r:.2f}" for r in ratio.tolist()))

# %% [markdown]
# **Check.** First-order gradients of the rates are not zero, and the last column is exact. So the rates also learn in
# the first-order epochs of derivative-order annealing.

# %%
assert slopes[False].abs().sum() > 0
assert torch.allclose(slopes[False][:, -1], slopes[True][:, -1], rtol=1e-9, atol=1e-12)
assert not torch.allclose(slopes[False][:, 0], slopes[True][:, 0], rtol=1e-6)
print("the last step's rates get the exact gradient in either order")

# %% [markdown]
# ## 3. A table of rates: per layer, or per tensor?
#
# **Explain.** The paper's text: one rate *per layer* and step. The authors' code: one *per tensor* and step, so a
# layer's weight and its bias have one each. The code also keeps a column more than there are steps. This kit follows
# the code, without the spare column.
#
# **Run.** Count, on the network of the few-shot papers: four convolutions and a head.


# %%
def new_learner(recipe, **values):
    small = {"filters": 8, "n_tasks": 2, "n_way": n_way, "n_steps": n_steps, "seed": seed}
    config = configure(recipe, **{**small, "dtype": "float64", "device": "cpu", **values})
    return MetaLearner.from_config(config, (1, 28, 28))


learner = new_learner("maml+lslr")
layers = list(dict.fromkeys(row.rsplit(".", 1)[0] for row in learner.rows))
n_layers, n_tensors = len(layers), len(learner.rows)
print(f"text, per layer:                {n_layers} x {n_steps} = {n_layers * n_steps}")
print(f"code, per tensor, spare column: {n_tensors} x {n_steps + 1} = {n_tensors * (n_steps + 1)}")
print(f"here, per tensor:               {n_tensors} x {n_steps} = {learner.inner_lrs.numel()}")

# %% [markdown]
# **Check.** Give the table a spare column, and take a meta-gradient. That column is never used, so its gradient is
# exactly zero.

# %%
sampler = make_sampler(store, learner.config, "train", training=True)
batch = learner.to_device(sampler.batch(0, 2))
settings = step_config(learner.config, 0)
spare = MetaParams(learner.params, {"inner_lrs": torch.full((n_tensors, n_steps + 1), 0.1)})
spare_gradient = meta_gradient(learner.problem, spare, learner.buffers, batch, settings).gradient.inner_lrs
assert (spare_gradient[:, -1] == 0).all()
assert (spare_gradient[0, :-1] != 0).all()
print(f"{n_tensors} of {spare_gradient.numel()} numbers in the code's table never learn")


# %% [markdown]
# ### Exercise 7.2
#
# Turn the per-tensor table into the paper's per-layer one. Both rows of a layer share one rate, so both rows must get
# the same gradient. Which one? `gradient` is `[n_tensors, K]`, `rows` are the names.


# %%
def tie_layers(gradient, rows):
    # answer: a tensor [n_tensors, K] in which both rows of a layer are equal
    layers = [row.rsplit(".", 1)[0] for row in rows]
    same = torch.tensor([[float(a == b) for b in layers] for a in layers], dtype=gradient.dtype)
    return same @ gradient  # each row: the sum over the rows of its layer
    # end of answer


check("7.2", tie_layers)
# hint("7.2")

# %% [markdown]
# **Predict.** Does it matter which of the two you take? Think of the convolutions first, and look at the
# equation of batch norm in notebook 06: what does it do with a constant added to $x$?
#
# **Run.** Both, on two networks. The sine-wave network has no batch norm; `Conv4` has. (`shared` is the exercise once
# more, in a line of its own, so that the cell runs before you have solved it.)


# %%
def share_rates(step, rows):
    layers = [row.rsplit(".", 1)[0] for row in rows]
    layer_of = torch.tensor([sorted(set(layers)).index(layer) for layer in layers])  # [n_tensors]
    table = step.gradient.inner_lrs
    shared = torch.zeros_like(table).index_add(0, layer_of, table)[layer_of]
    return step._replace(gradient=step.gradient._replace(rule={"inner_lrs": shared}))


per_layer_wave = wave_learner(0.01, learned=True)
train_on_waves(per_layer_wave, lambda step: share_rates(step, per_layer_wave.rows))
per_tensor_wave = trained[0.01, True]
print("sine waves, rates    per tensor  per layer")
for name, a, b in zip(per_tensor_wave.rows, per_tensor_wave.inner_lrs[:, 0], per_layer_wave.inner_lrs[:, 0]):
    print(f"{name:20} {a.item():10.3f} {b.item():10.3f}")
print(f"{'query loss':20} {exam_loss(per_tensor_wave):10.2f} {exam_loss(per_layer_wave):10.2f}")

# %%
per_tensor, per_layer = new_learner("maml+lslr"), new_learner("maml+lslr")
first = per_tensor.meta_step(sampler.batch(0, 2), 0)
sizes = [part.gradient.inner_lrs.norm(dim=1).tolist() for part in (first, share_rates(first, per_tensor.rows))]
for iteration in range(10 if fast else 100):
    batch = sampler.batch(2 * iteration, 2)
    per_tensor.apply(per_tensor.meta_step(batch, 0), 0)
    per_layer.apply(share_rates(per_layer.meta_step(batch, 0), per_layer.rows), 0)
means = [learner.inner_lrs.mean(1).tolist() for learner in (per_tensor, per_layer)]
print("                 gradient of the rates      rates after training")
print("Conv4            per tensor  per layer      per tensor  per layer")
for name, a, b, c, d in zip(per_tensor.rows, *sizes, *means):
    print(f"{name:16} {'rounding' if a < 1e-10 else format(a, '.3f'):>10} {b:10.3f} {c:15.3f} {d:10.3f}")

# %% [markdown]
# On the sine waves, weights and biases ask for different rates, and a shared one cannot follow both. In `Conv4`, the
# rates of the convolutions' biases have no gradient; section 5 says why. So the sum over a layer is the weight's own
# gradient: the first two columns agree for each convolution. Only in the head, which has no batch norm behind it, are
# there two different things to learn. (The trained rates of the convolutions differ a little all the same. From the
# first iteration on the two heads differ, and with them everything that follows.)
#
# **Check.**

# %%
gradient = new_learner("maml+lslr").meta_step(sampler.batch(0, 2), 0).gradient.inner_lrs
tied = gradient[0::2] + gradient[1::2]  # a weight's row and its bias's row
assert torch.allclose(tied[:-1], gradient[0::2][:-1], rtol=1e-9, atol=1e-14)
assert not torch.allclose(tied[-1], gradient[-2], rtol=1e-3, atol=0)
assert torch.equal(per_layer.inner_lrs[0::2], per_layer.inner_lrs[1::2])
print("for the convolutions, per layer and per tensor are the same; for the head they are not")

# %% [markdown]
# ## 4. The table over a whole training
#
# **Explain.** A start that comes with the kit was trained with all fixes of MAML++, for 30 epochs of 100
# meta-iterations. Its table was kept after each epoch. All rates began at 0.1.
#
# **Predict.** Which rates will rise most: those of the early layers or of the late ones? Those of the first step or of
# the last?
#
# **Run and explore.** Orange has grown, purple has shrunk. A rate below zero has a minus sign and a frame. The curve on
# the right is the outer rate, which limits how far anything moves in an epoch; the other choice shows the schedule that
# was not used.

# %%
plus_plus = stored.start("mamlpp")
history = stored.rate_history("mamlpp")
n_epochs, outer, end = len(history) - 1, plus_plus.config.outer_lr, plus_plus.config.min_outer_lr
schedules = {
    "cosine": np.array([cosine_lr(epoch, n_epochs, outer, end) for epoch in range(n_epochs + 1)]),
    "constant": np.full(n_epochs + 1, outer),
}
RateExplorer(history, plus_plus.rows, outer_lrs=schedules, title="The learned inner rates of MAML++", epoch=n_epochs)

# %%
weights = [i for i, row in enumerate(plus_plus.rows) if row.endswith("weight")]
final = history[-1][weights]  # [layers, K]
for i, means in zip(weights, final.mean(1)):
    print(f"{plus_plus.rows[i]:16} mean over the steps {means:6.3f}")
print("mean over the weights, step by step:", " ".join(f"{mean:.3f}" for mean in final.mean(0)))

# %% [markdown]
# The last convolution asks for two to four times the rate that was set by hand, at every step. The other three, in
# their first step, ask for almost none: the network learned to leave them alone at first. A single rate cannot say
# this.
#
# **Check.** That, and: most of the way was made in the first half, when the outer rate was high.

# %%
half = n_epochs // 2
first_half, second_half = (np.abs(np.diff(part, axis=0)).sum() for part in (history[: half + 1], history[half:]))
assert np.allclose(history[0], plus_plus.config.inner_lr)
assert (final.argmax(0) == 3).all()  # at each step the last convolution has the largest rate
assert np.abs(final[:3, 0]).max() < 0.02  # the first step of the three convolutions before it
assert final[3].min() > 2 * plus_plus.config.inner_lr
assert first_half > second_half
print(f"share of the way made in the first half: {100 * first_half / (first_half + second_half):.0f} %")

# %% [markdown]
# ## 5. Rows that stay put
#
# **Explain.** Four rows of the table did not move at all: the biases of the convolutions. After each convolution comes
# a batch norm that subtracts the mean of the batch:
#
# $$\frac{(Wx + b) - \text{mean}(Wx + b)}{\text{sd}(Wx + b)} = \frac{Wx - \text{mean}(Wx)}{\text{sd}(Wx)}$$
#
# The bias $b$ is gone. Nothing depends on it, so its gradient is zero, and by section 2 so is the gradient of its rate.
#
# **Run.** The support gradients of the trained start, on four test tasks. In float64 rounding is about $10^{-16}$.

# %%
exact = stored.start("mamlpp", dtype="float64")
glyphs = load("glyphs")  # the data that the stored starts were trained on
tasks = exact.to_device(make_sampler(glyphs, exact.config, "test").batch(0, 4))
norms = trace_batch(exact, tasks).grad_norm.mean((0, 1))  # [T, K, n_adapted] -> [n_adapted]
changes = np.abs(history[-1] - history[0]).max(1)
print("tensor           support gradient   its rates have moved by at most")
for name, norm, change in zip(exact.rows, norms.tolist(), changes):
    print(f"{name:16} {'rounding' if norm < 1e-10 else format(norm, '8.2f'):>16}   {change:.4f}")

# %% [markdown]
# **Check.** Add 5 to every bias of every convolution: no output changes.

# %%
conv_biases = [row for row in exact.rows if row.startswith("convs.") and row.endswith("bias")]
shifted = {name: p + 5.0 if name in conv_biases else p for name, p in exact.params.items()}
images = tasks.support_x[0]
before, after = (exact.problem.forward(p, exact.buffers, images, 0)[0] for p in (exact.params, shifted))
assert torch.allclose(before, after, atol=1e-9)
assert max(norms[exact.rows.index(name)] for name in conv_biases) < 1e-10
assert max(changes[exact.rows.index(name)] for name in conv_biases) < 1e-5
print("nothing depends on them")

# %% [markdown]
# **Explain.** So the biases themselves should stay at zero, where they began. But Adam divides each gradient by its own
# size:
#
# $$\text{step} = \beta \, \frac{m}{\sqrt{v} + 10^{-8}}$$
#
# A gradient that is pure rounding noise, of size $r$, makes a step of about $\beta \, r / (r + 10^{-8})$. In float32
# $r$ is about $10^{-8}$, which is a step of nearly the usual size, in a random direction. In float64 $r$ is about
# $10^{-16}$, and the $10^{-8}$ holds it back. A rate's gradient is a product of two such numbers, so it is held back in
# both.
#
# **Predict.** The stored start was trained in float32. How far are its convolution biases from zero?
#
# **Run.**

# %%
reached = {name: plus_plus.params[name].abs().max().item() for name in (*conv_biases, "head.bias")}
for name, size in reached.items():
    print(f"{name:13} largest entry {size:.3f}")

# %%
drifted = {}
for dtype in ("float32", "float64"):
    learner = new_learner("maml+lslr", dtype=dtype)
    for iteration in range(10):
        learner.apply(learner.meta_step(sampler.batch(2 * iteration, 2), 0), 0)
    drifted[dtype] = max(learner.params[name].abs().max().item() for name in conv_biases)
    size = "more than 0.0001" if drifted[dtype] > 1e-4 else "less than 0.0001"
    print(f"{dtype}: after 10 iterations the largest convolution bias is {size}")

# %% [markdown]
# **Check.** The stored biases have walked, in float32, with no effect on any output. The authors' network is built the
# same way, and its biases wander too. This is harmless, and a trap: do not read meaning into such numbers.

# %%
assert all(size > 0 for size in reached.values())
assert drifted["float64"] < 1e-4 < drifted["float32"]
print("the biases walk on rounding noise; their rates do not")

# %% [markdown]
# ## 6. Below zero
#
# **Explain.** Nothing keeps a rate positive, neither in the paper nor in its code nor here. With a negative rate the
# inner step goes *up* the support loss. The paper counts this as part of the fix: it learns "gradient directions". When
# could going up be right?
#
# **Predict.** Two numbers $(u, v)$ start at zero. A task asks for the point $(a, b)$ on the support set and for
# $(a, -b)$ on the query set. Which two rates solve every such task in one step?
#
# **Run.** With the loss $\frac12\big((u - a)^2 + (v - b)^2\big)$, one step from zero gives $u = \alpha_u a$ and
# $v = \alpha_v b$. So the answer is $\alpha_u = 1$, $\alpha_v = -1$. Does the outer loop find it?


# %%
class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.u, self.v = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))

    def forward(self, x):
        return torch.cat([self.u, self.v]).expand(len(x), 2)


def mirrored(n_tasks):
    points = torch.randn(n_tasks, 1, 2)  # (a, b) of each task
    nothing = torch.zeros(n_tasks, 1, 1)
    return Episode(nothing, points, nothing, points * torch.tensor([1.0, -1.0]))


torch.manual_seed(seed)
settings = {"n_steps": 1, "inner_lr": 0.1, "outer_lr": 0.05, "dtype": "float64", "device": "cpu", "tasks_per_chunk": 20}
pair = MetaLearner(Problem(Pair(), F.mse_loss), configure("maml+lslr", **settings))
for iteration in range(151):
    step = pair.meta_step(mirrored(20), 0)
    if iteration % 50 == 0:
        u_rate, v_rate = pair.inner_lrs[:, 0].tolist()
        print(f"iteration {iteration:3}: rates {u_rate:6.2f} {v_rate:6.2f}, loss {step.loss:.3f}")
    pair.apply(step, 0)

# %%
assert abs(pair.inner_lrs[0, 0] - 1) < 0.1
assert abs(pair.inner_lrs[1, 0] + 1) < 0.1
print("one rate at +1, one at -1")

# %% [markdown]
# That family was made for it. The sine waves of section 1 were not.
#
# **Run.** Their learned rates, and what happens to the loss when every negative one is set to zero.

# %%
for rate in (0.001, 0.01, 0.1):
    learner = trained[rate, True]
    below = [name for name, value in zip(learner.rows, learner.inner_lrs[:, 0]) if value < 0]
    with_signs, kept = exam_loss(learner), learner.inner_lrs.clone()
    learner.inner_lrs.clamp_(min=0)
    print(f"from {rate}: negative {', '.join(below)}; loss {with_signs:.2f}, without them {exam_loss(learner):.2f}")
    learner.inner_lrs.copy_(kept)

# %% [markdown]
# A reading, not a proof: the tensors take their step together, and share one error. Where a large rate of one tensor
# overshoots, another can take some of it back.
#
# **Run.** And the stored table of MAML++?

# %%
negative = history < 0  # [E + 1, n_adapted, K]
ever, at_the_end = negative.any(0).sum(), negative[-1].sum()
lowest = np.unravel_index(history.argmin(), history.shape)
print(f"below zero after some epoch: {ever} of {history[0].size} rates; at the end: {at_the_end}")
print(f"the lowest: {history.min():.3f}, {plus_plus.rows[lowest[1]]}, step {lowest[2]}, after epoch {lowest[0]}")

settings = eval_config(exact.config, "batch")
n_episodes = 30 if fast else 100
exam_tasks = exact.to_device(make_sampler(glyphs, exact.config, "test").batch(0, n_episodes))
for name, table in {"as learned": exact.inner_lrs, "negative ones set to zero": exact.inner_lrs.clamp(min=0)}.items():
    with torch.no_grad():
        meta = MetaParams(exact.params, {"inner_lrs": table})
        _, trace = run_tasks(exact.problem, meta, exact.buffers, exam_tasks, settings)
    right = trace.query_metric[:, -1]  # [E, K] -> [E]
    print(f"{name:26} {100 * right.mean():.1f} +- {196 * right.std() / n_episodes**0.5:.1f} % right")

# %% [markdown]
# So signs do flip, in this table too. Most of the negative rates are so close to zero that they say "do not move"
# rather than "go up", and without them the accuracy is the same, as far as these episodes can show.
#
# **Check.**

# %%
assert all((trained[rate, True].inner_lrs < 0).any() for rate in (0.001, 0.01, 0.1))
assert 0 < at_the_end < history[0].size / 4
assert np.median(history[-1][negative[-1]]) > -0.01  # most of them
print("some rates are negative, on sine waves and on glyphs")

# %% [markdown]
# ## 7. The outer rate: a cosine
#
# **Explain.** The paper's last fix lowers the outer rate over training, on half a cosine:
#
# $$\beta(e) = \beta_{\min} + \tfrac12 (\beta_0 - \beta_{\min}) \big(1 + \cos(\pi e / E)\big)$$
#
# with $e$ the epoch, from 0, and $E$ their number. The text names no minimum.
#
# **Run.** By hand, by the library, and by PyTorch's own scheduler, which the authors' code uses:

# %%
epochs, start_rate, end_rate = 30, 1e-3, 1e-5
by_hand = [
    end_rate + (start_rate - end_rate) * (1 + np.cos(np.pi * epoch / epochs)) / 2  # beta(e)
    for epoch in range(epochs)
]
optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=start_rate)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=end_rate)
by_torch = []
for _ in range(epochs):
    by_torch.append(scheduler.get_last_lr()[0])
    optimizer.step()
    scheduler.step()
assert np.allclose(by_hand, [cosine_lr(epoch, epochs, start_rate, end_rate) for epoch in range(epochs)])
assert np.allclose(by_hand, by_torch)
print(f"all three: first epoch {by_hand[0]:.1e}, last epoch {by_hand[-1]:.1e}, mean {np.mean(by_hand):.1e}")

# %% [markdown]
# The rate is constant within an epoch. And the average is half of the constant one: a run with the cosine is also a run
# with a smaller outer rate.
#
# **Predict.** The authors' configurations have plain MAML and MAML++ on two data sets. In how many of the four does the
# cosine do anything, and does it tell the two methods apart?
#
# **Run.** What the recipes of this kit do. `mamlpp-authors` follows the last commit of the code.

# %%
print("outer rate in epoch                         0       50       99")
for recipe in ("maml", "mamlpp", "mamlpp-authors"):
    for data in ("omniglot", "mini-imagenet"):
        config = configure(recipe, dataset=data, epochs=100)
        row = " ".join(f"{outer_lr(config, epoch):8.1e}" for epoch in (0, 50, 99))
        print(f"{recipe:15} {data:20} {row}")

# %% [markdown]
# | | Omniglot | Mini-ImageNet |
# |---|---|---|
# | text | cosine, as a fix of MAML++ | the same |
# | code, MAML | cosine, down to 1e-5 | minimum = start: constant |
# | code, MAML++ | cosine, down to 1e-5 | minimum = start: constant |
#
# So in the code's last commit, the cosine never tells MAML++ from MAML: on Omniglot both have it, on Mini-ImageNet
# neither. In this kit `maml` has it nowhere, so that it can be tested. In 2023 the author wrote that it is of less use,
# and not really needed ([issue 45](https://github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch/issues/45)).
#
# **Run.** The stored runs, with the cosine and without, seed by seed: the two runs of a seed share their first weights
# and all their episodes.

# %%
with_cosine, without = stored_tests(base.inner_lr, ["ca"]), stored_tests(base.inner_lr, [])
for run_seed, (a, b) in enumerate(zip(with_cosine, without)):
    print(f"seed {run_seed}: with {a:.1f} %, without {b:.1f} %, difference {a - b:+.1f} points")
mean, half = over_seeds(with_cosine - without)
print(f"mean difference {mean:+.1f} +- {half:.1f} points")

curves = {
    name: np.array([run["val"] for run in stored.runs(group="switchboard", fixes=fixes, changes={})]).mean(0)
    for name, fixes in {"with": ["ca"], "without": []}.items()
}
annealed = replace(base, cosine_lr=True)
print("epoch  outer rate with  validation with  without (%, mean of the seeds)")
for epoch, (a, b) in enumerate(zip(curves["with"], curves["without"])):
    print(f"{epoch:5} {outer_lr(annealed, epoch):16.5f} {100 * a:16.1f} {100 * b:8.1f}")

# %% [markdown]
# In the first epoch the outer rate is the same, so the two runs are one and the same. Then the run with the smaller
# rate falls behind, and stays behind. After so few iterations the steps are not too large yet, and a smaller rate is
# just less training.
#
# **Check.** Here the cosine harms, and the interval excludes zero. This says nothing about 75,000 iterations, where the
# last steps may have something to calm.

# %%
assert curves["with"][0] == curves["without"][0]  # epoch 0: the same run
assert (curves["with"][1:] < curves["without"][1:]).all()
assert mean + half < 0
print("equal in the first epoch, behind in every later one")

# %% [markdown]
# ## Recap
#
# - The gradient of a rate is minus the inner product of the query gradient after the step and the support gradient.
# - "Per layer" in the paper is "per tensor" in the code. With batch norm behind each convolution, the two differ in the
#   head alone.
# - The rates of convolution biases stay, since nothing depends on those biases. The biases themselves walk on rounding
#   noise, by way of Adam.
# - Learned rates say which layers should move: here the last convolution, and the early ones hardly at all.
# - A rate may become negative, and some do. Count them, and test whether they matter, before you make much of it.
# - Learned rates mend a start that is too small. They are too slow to mend one that is far too large.
# - The cosine of the outer rate is in the paper a fix of MAML++; in the code's last commit it never tells the methods
#   apart. In a run of 300 iterations it costs accuracy.
# - Next: [08 MAML++](08_maml_plus_plus.ipynb), all fixes together.
#
# ## References
#
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019, sections 3 and 4,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502), and the authors' code,
#   [HowToTrainYourMAMLPytorch](https://github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch).
# - Z. Li, F. Zhou, F. Chen, H. Li, *Meta-SGD: Learning to Learn Quickly for Few-Shot Learning*, 2017,
#   [arXiv:1707.09835](https://arxiv.org/abs/1707.09835): one learned rate for each single parameter.
# - I. Loshchilov, F. Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, ICLR 2017,
#   [arXiv:1608.03983](https://arxiv.org/abs/1608.03983): the cosine.
# - D. Kingma, J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015,
#   [arXiv:1412.6980](https://arxiv.org/abs/1412.6980).
