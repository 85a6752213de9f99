# %% [markdown]
# # 11 Extend it
#
# **Minutes:** 50 · **Prerequisites:** notebooks [01](01_maml_from_scratch.ipynb) and [08](08_maml_plus_plus.ipynb).
#
# **Objectives.** After this notebook you can
# - train a network, a loss, an update rule and a metric of your own, on inputs that are not pictures;
# - say which engine computes your problem, and why an engine refuses it;
# - take a change of the inner loop from the idea to an ablation, and report it, whatever comes out;
# - compare MAML with Meta-SGD, Reptile and prototypical networks, with intervals.

# %% tags=["parameters"]
seed = 0
fast = True
n_way = 3
k_shot = 1
n_steps = 2

# %% [markdown]
# ## Set-up

# %%
import contextlib
import inspect
import io
import re
import sys
import tempfile
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from mamlkit.core import recipes, rules
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import adapt
from mamlkit.core.networks import MLP, Conv4
from mamlkit.core.outer_loop import meta_gradient, run_tasks
from mamlkit.core.problem import Problem
from mamlkit.core.recipes import configure
from mamlkit.core.rules import SGD, chain
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.core.transforms import Momentum, Transform, WeightDecay
from mamlkit.datasets import load
from mamlkit.datasets.sinusoids import Sinusoids
from mamlkit.engines import choose
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import FitExplorer
from mamlkit.study import stored
from mamlkit.training.evaluation import evaluate, mean_ci95
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer, make_sampler

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
torch.manual_seed(seed)
size = 16  # pixels
with contextlib.redirect_stderr(io.StringIO()):  # a progress bar, while the pictures are resized for the first time
    glyphs = load("glyphs", image_size=size)
tasks = {"n_way": n_way, "k_shot": k_shot, "q_query": 3, "eval_query": 5, "n_steps": n_steps, "image_size": size}
small = {**tasks, "device": "cpu", "dtype": "float64", "epochs": 1, "val_episodes": 2, "ensemble": 1}


def say(sentence):
    print(textwrap.fill(str(sentence), 80))


def or_refusal(make, *arguments):
    """Return the result of `make(*arguments)`, or the sentence of its refusal."""
    try:
        return make(*arguments)
    except InputError as error:
        return f"refused. {error}"


# %% [markdown]
# ## 1. A problem of your own
#
# **Explain.** A learning problem is one value, `Problem(network, loss, rule, metric)`:
#
# | part | form | here |
# |---|---|---|
# | network | any `nn.Module` of one input | a recurrent network, which reads a character row by row |
# | loss | `(outputs, targets) -> scalar` | cross-entropy with label smoothing |
# | rule | how an inner step moves the parameters | gradient descent with momentum |
# | metric | `(outputs, targets) -> scalar` in [0, 1] | the mean probability of the right class |
#
# The input need not be a picture: `x` is a tensor, or a dictionary, list or tuple of tensors. Here it is a dictionary
# with the rows of the picture and its amount of ink. The first axis counts the inputs. In a meta-batch one more axis,
# in front, counts the tasks.


# %%
class RowReader(nn.Module):
    def __init__(self, width, n_way, hidden=16):
        super().__init__()
        self.gru = nn.GRU(width, hidden, batch_first=True)
        self.head = nn.Linear(hidden + 1, n_way)

    def forward(self, x):
        states, _ = self.gru(x["rows"])  # [B, H, W] -> [B, H, hidden]
        return self.head(torch.cat([states[:, -1], x["ink"]], 1))  # -> [B, n_way]


def smoothed(outputs, targets):
    return F.cross_entropy(outputs, targets, label_smoothing=0.1)


def true_class_probability(outputs, targets):
    return outputs.softmax(1).gather(1, targets[:, None]).mean()


rule = chain(Momentum(0.5), SGD(1.0, n_steps))
reader = Problem(RowReader(size, n_way), smoothed, rule, true_class_probability)
print("adapted:", ", ".join(reader.adapted))

# %% [markdown]
# Episodes come from a *sampler*, an object with `batch(first_index, n_tasks)`. This one changes the kit's own:


# %%
class RowSampler:
    def __init__(self, split, config):
        self.pictures = make_sampler(glyphs, config, split, training=split == "train")

    def batch(self, first_index, n_tasks):
        batch = self.pictures.batch(first_index, n_tasks)
        return batch._replace(support_x=as_rows(batch.support_x), query_x=as_rows(batch.query_x))


def as_rows(images):  # [T, B, 1, H, W]
    return {"rows": images.squeeze(2), "ink": images.mean((3, 4))}  # [T, B, H, W] and [T, B, 1]


config = Config(**small, n_tasks=2, iterations_per_epoch=60 if fast else 600, outer_lr=0.01, seed=seed)
samplers = {split: RowSampler(split, config) for split in ("train", "val", "test")}
batch = samplers["train"].batch(0, 2)
print({name: list(value.shape) for name, value in batch.support_x.items()})

# %% [markdown]
# **Explain.** An *engine* is a program that computes the meta-gradient. All engines give the same gradient; they differ
# in speed. *eager* takes one task after the other, *vmap* takes several at once, *compiled* has the derivatives of one
# network written out by hand, without autograd.
#
# **Predict.** Which of them can compute this problem? What should the others do: compute something near it, stop, or
# pass it on?
#
# **Run.** Ask for each of them.

# %%
learner = MetaLearner(reader, config)


def answer_of(engine):
    choice = choose(learner.problem, replace(config, engine=engine), batch)
    return f"{choice.engine} is used. {' '.join(choice.why)}"


for engine in ("eager", "vmap", "compiled"):
    say(f"asked for {engine}: {or_refusal(answer_of, engine)}")

# %% [markdown]
# - *eager* takes any problem. It is the reference for the others.
# - *vmap* tried two tasks, could not map the recurrent layer, and passed the work on to eager, with a sentence.
# - *compiled* has formulas for one network, one loss and one rule only. It must refuse everything else: a wrong
#   gradient would look like a right one.
#
# *compiled* has a list of the settings that it knows, and refuses every other setting. So it also refuses a setting
# that you add later, until somebody teaches it to the engine.
#
# **Run.** The trainer is the same as for pictures. It chooses the engine once, at the start.

# %%
test = samplers["test"]
before = evaluate([learner], test, 20)
trainer = Trainer(learner, samplers["train"], samplers["val"])
losses = [iteration.loss for iteration in trainer.iterations()]
after = evaluate([learner], test, 20)
print(f"engine {trainer.choice.engine}, {len(losses)} meta-iterations")
print(f"meta-loss: first ten {np.mean(losses[:10]):.2f}, last ten {np.mean(losses[-10:]):.2f}")
print(f"probability of the right class: {before.accuracy:.2f} +- {before.ci95:.2f} before,", end=" ")
print(f"{after.accuracy:.2f} +- {after.ci95:.2f} after; guessing is {1 / n_way:.2f}")

# %% [markdown]
# This is a training of seconds; it only shows that the parts fit together. With `fast = False` it is ten times as long.
#
# **Check.** The metric of the evaluation is your own: it agrees with the same number by hand on two tasks.

# %%
one = learner.to_device(test.batch(0, 2))
outputs = learner.query_logits(one, ["batch"])[0]  # [T, Q, n_way]
mine = [true_class_probability(answers, targets).item() for answers, targets in zip(outputs, one.query_y)]
assert abs(np.mean(mine) - evaluate([learner], test, 2).accuracy) < 1e-12
print("the evaluation uses true_class_probability()")


# %% [markdown]
# ### Exercise 11.1
#
# Write a metric: the share of inputs whose class is among the **two** best of `outputs`, `[Q, N]`. Targets are `[Q]`.


# %%
def in_two_guesses(outputs, targets):
    # answer: a scalar in [0, 1]
    return (outputs.topk(2).indices == targets[:, None]).any(1).double().mean()
    # end of answer


check("11.1", in_two_guesses)
# hint("11.1")

# %% [markdown]
# ### From the command line
#
# **Explain.** `mamlkit train` can train your own network: name its module and function, `--backbone module:function`.
# The function gets the configuration and the shape of a picture. It returns a module, or a whole `Problem`.
#
# ```
# mamlkit train --recipe maml --backbone row_networks:make --n-way 3 --image-size 16
# ```
#
# (The recipe `mamlpp` has per-step batch norm, and this network has no batch norm: it is refused.)
#
# **Run.** The same network in Python, built but not trained, from a file as you would write it:

# %%
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
Path(folder.name, "row_networks.py").write_text("""
from torch import nn

class Rows(nn.Module):
    def __init__(self, width, n_way):
        super().__init__()
        self.gru = nn.GRU(width, 16, batch_first=True)
        self.head = nn.Linear(16, n_way)

    def forward(self, x):
        return self.head(self.gru(x.squeeze(1))[0][:, -1])  # [B, 1, H, W] -> [B, n_way]

def make(config, image_shape):
    return Rows(image_shape[-1], config.n_way)
""")
sys.path.insert(0, folder.name)  # on the command line the current folder is looked at by itself
own = configure("maml", **tasks, backbone="row_networks:make")
found = Problem.from_config(own, (1, size, size))
print(f"{found.name}: {sum(p.numel() for p in found.network.parameters()):,} parameters")

# %% [markdown]
# The run's folder keeps the text `row_networks:make` and the folder of the file, so `mamlkit train --resume` and
# `mamlkit evaluate` find the network again. **Check.** A wrong name gives one clear sentence.

# %%
for place in ("row_networks:mak", "row_network:make"):
    say(or_refusal(Problem.from_config, replace(own, backbone=place), (1, size, size)))

# %% [markdown]
# ## 2. A seventh fix
#
# **Explain.** MAML++ is six small changes, each with an idea and a test. Here is a seventh, from the idea to its test.
#
# *The idea.* The inner loop fits a few inputs with many parameters. Weight decay is the usual remedy against
# overfitting: each step also pulls the parameters towards 0. It is not one of the six fixes of MAML++. A related idea
# is published: in ALFA a small network chooses the decay at each inner step. Here it is one fixed number, $\lambda$.
#
# $$\theta_{k+1} = \theta_k - \alpha \left( \nabla L_S(\theta_k) + \lambda\, \theta_k \right)$$
#
# ### By hand
#
# One number $\theta$, with support loss $c\,(\theta - a)^2 / 2$. Each step is linear and multiplies by the same factor,
# so the outer loop's derivative after $K$ steps can be written down:
#
# $$\frac{d\theta_{k+1}}{d\theta_k} = 1 - \alpha\,(c + \lambda), \qquad
# \frac{d\theta_K}{d\theta_0} = \big(1 - \alpha\,(c + \lambda)\big)^K$$
#
# **Predict.** At $\alpha c < 1$, does a small decay make this derivative larger or smaller? Where do many steps end for
# $\lambda > 0$: at $a$, at 0, or between them?
#
# **Run.**

# %%
a, c, rate, steps = 2.0, 1.0, 0.3, 5


def by_hand(theta, strength):
    for _ in range(steps):
        loss = c / 2 * (theta - a) ** 2
        [gradient] = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - rate * (gradient + strength * theta)
    return theta


for strength in (0.0, 0.1, 1.0):
    start = torch.tensor(5.0, requires_grad=True)
    [slope] = torch.autograd.grad(by_hand(start, strength), start)
    assert torch.isclose(slope, torch.tensor((1 - rate * (c + strength)) ** steps))
    end = by_hand(start, strength).item()
    print(f"decay {strength:3}: from 5.00 to {end:.2f}, which nears {c * a / (c + strength):.2f}; slope {slope:.4f}")

# %% [markdown]
# With more steps, $\theta$ goes to $c\,a / (c + \lambda)$, which lies between 0 and $a$: the decay does not know which
# part of $\theta$ is useful. After five steps it is not there yet. For a small $\lambda$ the derivative shrinks: the
# start matters less, because more of it is forgotten. Beyond $\alpha\,(2c + \lambda) = 2$ it grows, as decay adds
# curvature: compare notebook [03](03_exploding_gradients.ipynb).
#
# ### Exercise 11.2
#
# Another pull, of the kind that iMAML uses: towards the *start* of the inner loop, in place of 0. It adds
# $\lambda\,(\theta_k - \theta_0)$ to the gradient. Write it for dictionaries of tensors, as the inner loop has them:
# return new gradients with the pull added, and keep the graph.


# %%
def pulled(gradients, params, start, strength):
    # answer: a new dictionary with the same names
    return {name: gradients[name] + strength * (params[name] - start[name]) for name in params}
    # end of answer


check("11.2", pulled)
# hint("11.2")

# %% [markdown]
# ### As a part of a rule
#
# **Explain.** A *transform* changes the gradient before a rule moves the parameters by it, and `chain` puts both
# together. A transform may keep a state between steps: momentum keeps its running sum, decay keeps nothing.
#
# **Run.**


# %%
@dataclass(frozen=True)
class Pull(Transform):
    strength: float

    def update(self, gradients, state, params, step):
        return {name: gradients[name] + self.strength * value for name, value in params.items()}, state


network = Conv4(1, size, n_way, filters=4, n_steps=n_steps)
base = configure("maml", **small, filters=4, n_tasks=2, seed=seed)
pictures = make_sampler(glyphs, base, "train", training=True).batch(0, 2)
double = MetaLearner(Problem(network), base).to_device(pictures)


def outer_gradient(rule):
    problem = Problem(network, rule=rule)
    step = meta_gradient(problem, *problem.start(), double, StepConfig(last_step_only(n_steps)))
    return torch.cat([g.flatten() for g in step.gradient.model.values()])


ours = outer_gradient(chain(Pull(0.1), SGD(0.1, n_steps)))
without = outer_gradient(SGD(0.1, n_steps))
print(f"the meta-gradient changes by {(ours - without).norm() / without.norm():.1%}")

# %% [markdown]
# **Check.** The library's own `WeightDecay` gives the same meta-gradient, to the last digits.

# %%
assert torch.allclose(ours, outer_gradient(chain(WeightDecay(0.1), SGD(0.1, n_steps))), rtol=1e-12, atol=0)
print("equal")

# %% [markdown]
# **Predict.** An untrained network is fitted to five points of a wave, with and without decay. Which fit comes nearest
# to the five points? Which is flatter?
#
# **Run and explore.** Move the slider (drag it, or click it and press the arrow keys).

# %%
wave_index = 5
waves = Sinusoids("test", k_shot=5, q_query=50, seed=seed)
amplitude, phase = waves.wave(wave_index)
wave = Episode(*(part.double() for part in waves.episode(wave_index)))
grid = torch.linspace(-5, 5, 61)[:, None]
torch.manual_seed(seed)
curve_network = MLP(1, 1)


def follow(strength, steps=100):
    """Return the fit [K + 1, G] and the query loss [K + 1] after 0..K inner steps."""
    problem = Problem(curve_network, F.mse_loss, chain(WeightDecay(strength), SGD(0.02, steps)))
    meta, buffers = problem.start()
    with torch.no_grad():
        taken = [step.params for step in adapt(problem, meta, buffers, wave, StepConfig(last_step_only(steps)))]
        thetas = [meta.model, *taken]
        fits = torch.stack([problem.forward(theta, buffers, grid, 0)[0].squeeze(1) for theta in thetas])
        answers = [problem.forward(theta, buffers, wave.query_x, 0)[0] for theta in thetas]
    return fits.numpy(), np.array([F.mse_loss(answer, wave.query_y).item() for answer in answers])


followed = {f"λ {strength}": follow(strength) for strength in (0.0, 0.1, 1.0)}
x = grid.squeeze(1).numpy()
FitExplorer(
    x,
    amplitude * np.sin(x - phase),
    {name: fit for name, (fit, _) in followed.items()},
    losses={name: loss for name, (_, loss) in followed.items()},
    support=(wave.support_x.squeeze(1).numpy(), wave.support_y.squeeze(1).numpy()),
    title="The fit with and without weight decay",
    step=100,
)

# %% [markdown]
# Without decay the fit comes nearest to the five points; the strongest decay gives the flattest curve. On this wave,
# with `seed = 0`, decay makes the loss smaller: the five points say little about the rest of the curve, and a smaller
# curve is a safer guess. One wave proves nothing. **Check** with 100 of them: the mean query loss, and the mean
# difference from no decay with its 95 % interval over waves. For comparison: the network before any step, and the line
# $y = 0$.

# %%
exam = Episode(*(part.double() for part in waves.batch(0, 100)))
query_loss = {}
for strength in (0.0, 0.1, 1.0):
    problem = Problem(curve_network, F.mse_loss, chain(WeightDecay(strength), SGD(0.02, 100)))
    with torch.no_grad():
        _, trace = run_tasks(problem, *problem.start(), exam, StepConfig(last_step_only(100), second_order=False))
    query_loss[strength] = trace.query_loss[:, -1]  # [T, K] -> [T]
    mean, half = mean_ci95(query_loss[strength] - query_loss[0.0])
    print(f"decay {strength}: {query_loss[strength].mean():.2f}, difference {mean:+.2f} +- {half:.2f}")
meta, buffers = problem.start()
with torch.no_grad():
    untouched = problem.forward(meta.model, buffers, exam.query_x.flatten(0, 1), 0)[0]
print(f"no step:   {F.mse_loss(untouched, exam.query_y.flatten(0, 1)):.2f}")
print(f"y = 0:     {exam.query_y.square().mean():.2f}")

# %% [markdown]
# With `seed = 0` all three fits are worse than no step at all: five points say too little. Decay only makes the harm
# smaller, because it makes the curve flatter. But this is a network that nobody trained. In MAML the start is learned
# while the decay is switched on, so the start can make up for the pull, or use it. So the question must be asked again,
# of a meta-trained start.
#
# ### As a setting
#
# **Explain.** For runs that others can repeat, the fix needs a name in three files, and no engine is touched:
#
# 1. `mamlkit/core/config.py`: a field, with its default *off*, its range and its help. Older stored runs are read with
#    the default, and the option `--inner-decay` of `mamlkit train` exists without further work.
# 2. `mamlkit/core/rules.py`: `rule_of` reads the field.
# 3. `mamlkit/core/recipes.py`: a recipe, that is a name for plain MAML with this one change, and its line in the list
#    `RECIPES`.
#
# **Run.** The lines that do it:

# %%
for place, part in (("config.py", Config), ("rules.py", rules.rule_of), ("recipes.py", recipes.maml_wd)):
    for line in inspect.getsource(part).splitlines():
        if re.search(r"inner_decay|\*decay", line):
            print(f"{place:11} {line.strip()}")
print("maml+wd differs from maml in", recipes.RECIPES["maml+wd"].changes(base))

# %% [markdown]
# **Predict.** Which engines compute `maml+wd` now, though none of them was changed?
#
# **Check.** Each engine gives the same meta-gradient as the reference, or refuses.

# %%
strong = configure("maml+wd", **small, filters=4, n_tasks=2, seed=seed, inner_decay=0.1)


def compare(engine):
    learner = MetaLearner(Problem(network), replace(strong, engine=engine))
    choice = learner.choose_engine(pictures)
    gradient = torch.cat([g.flatten() for g in learner.meta_step(pictures, 0).gradient.model.values()])
    assert torch.allclose(gradient, ours, rtol=1e-9, atol=1e-12)
    return f"equal. {' '.join(choice.why)}"


for engine in ("eager", "vmap", "compiled", "auto"):
    say(f"{engine}: {or_refusal(compare, engine)}")

# %% [markdown]
# Automatic differentiation goes through any rule. The closed form has no decay in it, so it must not be used here, and
# it says so.
#
# ### The ablation
#
# **Explain.** Does it help? An ablation changes one thing. So MAML with decay is compared with MAML on the same seeds:
# a seed gives both the same first weights, the same training tasks and the same test episodes. Then the interval is
# over the *differences* of the seeds (notebook [08](08_maml_plus_plus.ipynb)), by Student's $t$.
#
# How strong is the recipe's decay? Each step multiplies the parameters by $1 - \alpha\lambda = 1 - 0.1 \cdot 0.001$.
# The stored runs below take five steps:

# %%
for strength in (0.001, 0.1):
    print(f"decay {strength}: five steps take {1 - (1 - 0.1 * strength) ** 5:.2%} from a weight without gradient")

# %% [markdown]
# **Predict.** Write down, before you run the next cell, a difference in points of accuracy for each strength. Could
# three seeds show it?
#
# **Run.** Tiny runs, so that it takes seconds: a network of two layers, pictures of 16 x 16.

# %%
n_seeds = 3 if fast else 8
tiny = {**small, "backbone": "mlp", "filters": 32, "iterations_per_epoch": 20 if fast else 300, "engine": "vmap"}


def accuracy_of(recipe, number, **changes):
    config = configure(recipe, **tiny, **changes, seed=seed + number)
    trainer = Trainer.from_config(config, glyphs)
    for _ in trainer.iterations():
        pass
    return evaluate([trainer.learner], make_sampler(glyphs, config, "test"), 40).accuracy


# %% [markdown]
# **Check.** The first test of any ablation: with the switch off, the new code is the old code, to the bit.

# %%
plain = np.array([accuracy_of("maml", number) for number in range(n_seeds)])
assert accuracy_of("maml+wd", 0, inner_decay=0.0) == plain[0]
print("without decay: the same run")

# %% [markdown]
# **Run.** Now with the decay.


# %%
def interval(values):
    """Return mean and half of the 95 % interval by Student's t, in points."""
    n = len(values)
    return 100 * np.mean(values), 100 * stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)


def said(mean, half):
    return f"{round(mean, 1) + 0:+5.1f} +- {half:4.1f}"  # + 0: never "-0.0"


def verdict(mean, half):
    return "no difference is seen" if abs(mean) <= half else f"decay is {'better' if mean > 0 else 'worse'}"


mean, half = interval(plain)
print(f"{'MAML':12} {mean:5.1f} +- {half:4.1f} %")
for strength in (0.001, 0.1):
    runs = np.array([accuracy_of("maml+wd", number, inner_decay=strength) for number in range(n_seeds)])
    mean, half = interval(runs - plain)
    print(
        f"decay {strength:<6} {interval(runs)[0]:5.1f} %; difference {said(mean, half)} points: {verdict(mean, half)}"
    )

# %% [markdown]
# An interval of MAML alone contains the variation of the seeds. In a difference it cancels: an easy seed is easy for
# both runs of a pair.
#
# **Run.** Larger runs, of four convolutions, were stored. `python data/build_extend.py` makes them in a clone of the
# repository; the file has their configuration, versions and command.

# %%
about = stored.about_comparison()
budget = about["config"]
n_iterations = budget["epochs"] * budget["iterations_per_epoch"]
print(about["command"])
print(f"{n_iterations} meta-iterations of {budget['n_tasks']} tasks, {budget['filters']} filters,", end=" ")
print(f"{budget['n_way']}-way {budget['k_shot']}-shot; {about['episodes']} test episodes for each seed")


def stored_accuracy(recipe, key="test", **changes):
    return np.array([run[key] for run in stored.comparison(recipe=recipe, changes=changes)])  # [seeds]


maml = stored_accuracy("maml")
mean, half = interval(maml)
print(f"{'MAML':12} {mean:5.1f} +- {half:4.1f} %, {len(maml)} seeds")
for name, changes in (("decay 0.001", {}), ("decay 0.1", {"inner_decay": 0.1})):
    runs = stored_accuracy("maml+wd", **changes)
    mean, half = interval(runs - maml)
    print(f"{name:12} {interval(runs)[0]:5.1f} %; difference {said(mean, half)} points: {verdict(mean, half)}")

# %% [markdown]
# The sentence at the end of each line is the result, even if we hoped for another. "No difference is
# seen" does not mean that there is none: the interval says how large it could still be. If an effect of that size
# would matter to you, more seeds are needed.
#
# What a report of a seventh fix must say: the budget, the seeds, the strengths that were tried (all of them: the best
# of many looks better than it is), and the interval.
#
# ## 3. Other methods on the same episodes
#
# **Explain.** Three neighbours of MAML come as recipes. Each learns something different.
#
# | method | in training | at a new task |
# |---|---|---|
# | Meta-SGD | the start, and an inner rate for each number of each tensor | inner steps |
# | Reptile | moves the start towards the end of the inner loop | inner steps |
# | prototypical network | an embedding: the outputs without the head | the nearest class mean; no inner loop |
#
# **Run.** What the outer loop learns, in numbers:

# %%
shape = (1, size, size)
lines = {name: MetaLearner.from_config(configure(name, **tasks, filters=4), shape) for name in ("maml", "mamlpp")}
lines["meta-sgd"] = MetaLearner.from_config(configure("meta-sgd", **tasks, filters=4), shape)
for name, learner in lines.items():
    weights = sum(p.numel() for p in learner.params.values())
    learned = sum(p.numel() for p in learner.learned(learner.meta)) - weights
    print(f"{name:9} {weights:4} numbers of the network and {learned:4} learned inner rates")

# %% [markdown]
# MAML++ learns a rate for each adapted tensor and step; Meta-SGD one for each number of the adapted tensors, which are
# all but those of batch norm.
#
# **Reptile.** Its "gradient" is the difference between the start and the end of the inner loop, $\theta_0 - \theta_K$.
# No derivative goes through the inner loop. **Check** it with one inner step, which uses the support set. (The recipe
# adapts batch norm too; here it is off, as in the network above.)

# %%
settings = {**small, "q_query": 9, "n_steps": 1, "eval_steps": 1, "filters": 4, "n_tasks": 2}
reptile = MetaLearner(Problem(network), configure("reptile", **settings, adapt_norms=False))
found = reptile.meta_step(pictures, 0).gradient.model
ways = []
for task in range(2):
    episode = Episode(*(part[task] for part in double))
    [step] = adapt(reptile.problem, reptile.meta, reptile.buffers, episode, StepConfig((1.0,), second_order=False))
    ways.append({name: (value - step.params[name]).detach() for name, value in reptile.params.items()})
for name in reptile.rows:
    assert torch.allclose(found[name], (ways[0][name] + ways[1][name]) / 2, rtol=1e-9, atol=1e-12)
print("Reptile's gradient is the mean of the two ways")


# %% [markdown]
# ### Exercise 11.3
#
# **Prototypical networks** classify by the nearest class mean. Write the logits `[Q, n_way]`. The logit of a query and
# a class is minus the squared distance between the query embedding and the class mean. `support` is `[S, D]`, `labels`
# `[S]`, `query` `[Q, D]`.


# %%
def prototype_logits(support, labels, query, n_way):
    # answer: logits [Q, n_way]
    prototypes = torch.stack([support[labels == n].mean(0) for n in range(n_way)])  # [N, D]
    return -(query[:, None] - prototypes).square().sum(2)  # [Q, 1, D] - [N, D] -> [Q, N]
    # end of answer


check("11.3", prototype_logits)
# hint("11.3")

# %% [markdown]
# **Explain.** Let $z$ be a query embedding and $m_n$ the mean of class $n$:
#
# $$-\lVert z - m_n \rVert^2 = 2\,m_n^\top z - \lVert m_n \rVert^2 - \lVert z \rVert^2$$
#
# The last term is the same for every class. So a prototypical network *is* a linear head with weights $2 m_n$ and
# biases $-\lVert m_n \rVert^2$, found without a single step. MAML's inner loop must find such a head by gradients.
#
# **Check.** Both give the same probabilities. Support and query pictures go through the network together, so they share
# the statistics of batch norm; in MAML each set has its own.

# %%
embedder = MetaLearner.from_config(configure("protonet", **{**small, "n_steps": 1}, filters=4), shape)
answers = embedder.query_logits(double, ["batch"])[0, 0]  # [Q, N] of the first task
images = torch.cat([double.support_x[0], double.query_x[0]])
embedded, _ = embedder.problem.forward(embedder.params, embedder.buffers, images, 0)
support, query = embedded.split([n_way * k_shot, len(images) - n_way * k_shot])
means = support.reshape(n_way, k_shot, -1).mean(1)  # the support set is ordered by class
head = query @ (2 * means).T - means.square().sum(1)
assert torch.allclose(head.softmax(1), answers.softmax(1), rtol=1e-9)
print("a prototypical network is a linear head")

# %% [markdown]
# **Predict.** All five methods have the same four convolutions, the same number of meta-iterations and the same test
# episodes. Which is best? Which order would you trust after one seed?
#
# **Run.** The stored runs, with 95 % intervals by Student's $t$ over seeds. *batch*: the query pictures of an episode
# are normalised together, by their own statistics, as the authors do. *recorded*: by the statistics of training, so
# every query picture is answered by itself (notebook [06](06_batch_norm.ipynb)). The middle column is the difference
# from MAML, seed by seed, for *batch*; a star stands where the interval excludes zero.

# %%
METHODS = {"maml": "MAML", "mamlpp": "MAML++", "meta-sgd": "Meta-SGD", "reptile": "Reptile", "protonet": "prototypes"}
table = {name: interval(stored_accuracy(recipe)) for recipe, name in METHODS.items()}
print(f"{'accuracy (%)':12}     batch           minus MAML         recorded")
for recipe, name in METHODS.items():
    gap, spread = interval(stored_accuracy(recipe) - maml)
    cells = [table[name], interval(stored_accuracy(recipe, "running"))]
    together, alone = (f"{mean:6.1f} +- {half:4.1f}" for mean, half in cells)
    change = f"{said(gap, spread)}{'*' if abs(gap) > spread else ' '}" if recipe != "maml" else " " * 14
    print(f"{name:12} {together}   {change}   {alone}")

# %%
figure, axes = plt.subplots(figsize=(6, 2.4))
for row, (mean, half) in enumerate(table.values()):
    axes.errorbar(mean, row, xerr=half, fmt="o", capsize=4, color="#2077c4")
axes.set(yticks=range(len(table)), yticklabels=table, xlabel="test accuracy in %, and its 95 % interval over seeds")
axes.margins(y=0.15)
axes.invert_yaxis()
axes.grid(axis="x", alpha=0.3)
plt.show()

# %% [markdown]
# **Check.** Every method was tested with the same seeds, and all seeds are in the table.

# %%
seeds = [run["seed"] for run in stored.comparison(recipe="maml", changes={})]
for recipe in METHODS:
    assert [run["seed"] for run in stored.comparison(recipe=recipe, changes={})] == seeds
gaps = {name: interval(stored_accuracy(recipe) - maml) for recipe, name in METHODS.items()}
apart = [name for name, (mean, half) in gaps.items() if abs(mean) > half]
print(f"{len(seeds)} seeds; different from MAML beyond the interval: {', '.join(apart) or 'none'}")

# %% [markdown]
# Read the table with care:
#
# - The order of the methods may depend on the statistics: compare the two outer columns.
# - Four differences are four chances for a star by luck: compare notebook [08](08_maml_plus_plus.ipynb).
# - The same number of meta-iterations is not the same work: MAML goes through the inner loop forward and backward, a
#   prototypical network has none, and Reptile's recipe takes more steps on more pictures.
# - A short training favours what learns fast. The papers train a hundred times as long.
# - Reptile's recipe was chosen on glyphs, so Reptile has an advantage here. The others were not tuned on this data set.
#   A method with more settings has more to gain from tuning.
# - Glyphs are easy. On another data set the order may be different.
#
# Longer runs of your own, one for each seed:
#
# ```
# mamlkit train --recipe protonet --dataset omniglot --seed 1
# ```
#
# ## Recap
#
# - A problem is a network, a loss, a rule and a metric; inputs and targets may be nested tensors.
# - An engine computes a problem exactly, passes it to another engine, or refuses it. Eager takes everything.
# - A fix of the inner loop is a transform, a field and a recipe. First show it by hand, then that the library's is
#   equal, then that off means off; only then ask whether it helps.
# - An ablation is a difference with an interval over seeds. It is reported whatever comes out.
#
# ## References
#
# - Z. Li, F. Zhou, F. Chen, H. Li, *Meta-SGD: Learning to Learn Quickly for Few-Shot Learning*, 2017,
#   [arXiv:1707.09835](https://arxiv.org/abs/1707.09835).
# - A. Nichol, J. Achiam, J. Schulman, *On First-Order Meta-Learning Algorithms*, 2018,
#   [arXiv:1803.02999](https://arxiv.org/abs/1803.02999).
# - J. Snell, K. Swersky, R. Zemel, *Prototypical Networks for Few-shot Learning*, NeurIPS 2017,
#   [arXiv:1703.05175](https://arxiv.org/abs/1703.05175).
# - S. Baik and others, *Meta-Learning with Adaptive Hyperparameters* (ALFA), NeurIPS 2020,
#   [arXiv:2011.00209](https://arxiv.org/abs/2011.00209).
# - A. Rajeswaran, C. Finn, S. Kakade, S. Levine, *Meta-Learning with Implicit Gradients* (iMAML), NeurIPS 2019,
#   [arXiv:1909.04630](https://arxiv.org/abs/1909.04630).
# - E. Triantafillou and others, *Meta-Dataset*, ICLR 2020, whose Proto-MAML begins the inner loop at such a head,
#   [arXiv:1903.03096](https://arxiv.org/abs/1903.03096).
