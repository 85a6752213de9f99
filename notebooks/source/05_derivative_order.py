# %% [markdown]
# # 05 Derivative order
#
# **Minutes:** 45 · **Prerequisites:** notebooks [01](01_maml_from_scratch.ipynb) and
# [04](04_multi_step_loss.ipynb).
#
# **Objectives.** After this notebook you can
# - say which factor the first-order shortcut drops, and write both meta-gradients of a small problem by hand;
# - measure what the second order costs in arithmetic, memory and time;
# - name what cannot learn in first-order epochs;
# - work out what derivative-order annealing saves in a whole run, and where the multi-step loss eats the saving;
# - say, with an interval, what the shortcut costs in accuracy here.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 5
k_shot = 1
n_steps = 5
inner_lr = 0.1

# %% [markdown]
# ## Set-up

# %%
import functools
import itertools
import math
import time
import weakref
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import adapt, inner_loop
from mamlkit.core.networks import MLP, Conv4
from mamlkit.core.outer_loop import meta_gradient
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.recipes import configure
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig, last_step_only, msl_weights, step_config
from mamlkit.core.unrolled import meta_gradients_by_step
from mamlkit.datasets import load
from mamlkit.datasets.sinusoids import Sinusoids
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import ArrowExplorer
from mamlkit.study import stored
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import make_sampler

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
torch.manual_seed(seed)
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first optimiser of a process is slow to load
iterations = 80 if fast else 800
order_names = {True: "second order", False: "first order"}

# %% [markdown]
# ## 1. The factor that is dropped
#
# **Explain.** The meta-gradient is a product: how the query loss depends on the last parameters, times how those depend
# on the start.
#
# $$g = \Big(\frac{d\theta_K}{d\theta_0}\Big)^{\!\top} \nabla L_Q(\theta_K), \qquad
# \frac{d\theta_K}{d\theta_0} = (I - \alpha H_{K-1}) \cdots (I - \alpha H_1)(I - \alpha H_0)$$
#
# $H_k$ is the matrix of second derivatives of the support loss at $\theta_k$. *First order* puts the identity $I$ in
# place of the whole product. Nothing else changes: the inner steps are the same, and so is $\nabla L_Q(\theta_K)$.
#
# The smallest problem in which the two can point in different directions has two parameters. Let both losses be
# quadratic, so that $H$ is the same everywhere:
#
# $$L_S = \tfrac12 (\theta - a)^\top H (\theta - a), \qquad L_Q = \tfrac12 (\theta - b)^\top B\, (\theta - b)$$
#
# **Run.**

# %%
a, b, B = torch.tensor([0.3, -0.2]), torch.tensor([0.8, 0.5]), torch.diag(torch.tensor([1.0, 1.5]))
turn = torch.tensor([[math.cos(0.6), -math.sin(0.6)], [math.sin(0.6), math.cos(0.6)]])
curvatures = {
    "round": torch.eye(2),
    "stretched": turn @ torch.diag(torch.tensor([0.2, 2.0])) @ turn.T,
    "steep": turn @ torch.diag(torch.tensor([1.0, 5.0])) @ turn.T,
}
theta_0 = torch.tensor([-1.2, 0.9])


def both_gradients(H, rate, steps):
    """Return the path [K + 1, 2] and the two meta-gradients [2, 2]: second order, first order."""
    path, chain = [theta_0], torch.eye(2)
    for _ in range(steps):
        path.append(path[-1] - rate * H @ (path[-1] - a))  # theta_k+1
        chain = (torch.eye(2) - rate * H) @ chain  # d theta_k+1 / d theta_0
    slope = B @ (path[-1] - b)  # grad L_Q(theta_K)
    return torch.stack(path), torch.stack([chain.T @ slope, slope])


for name, H in curvatures.items():
    _, pair = both_gradients(H, 0.3, 3)
    full, short = (f"({x:5.2f}, {y:5.2f})" for x, y in pair.tolist())
    print(f"{name:10} second order {full}   first order {short}")

# %% [markdown]
# **Check.** The same two from autograd and from the library. `create_graph` decides whether the graph of the inner
# gradient is kept; the library calls this `second_order`. A linear layer with two inputs has our losses if its inputs
# are the rows of a square root of $H$.


# %%
def by_autograd(H, rate, steps, second_order):
    start = theta_0.clone().requires_grad_()
    theta = start
    for _ in range(steps):
        support_loss = (theta - a) @ H @ (theta - a) / 2
        [gradient] = torch.autograd.grad(support_loss, theta, create_graph=second_order)  # a constant, if False
        theta = theta - rate * gradient
    return torch.autograd.grad((theta - b) @ B @ (theta - b) / 2, start)[0]


def by_library(H, rate, steps, second_order):
    rows, query_rows = torch.linalg.cholesky(H).T, torch.linalg.cholesky(B).T
    task = Episode(rows, (rows @ a)[:, None], query_rows, (query_rows @ b)[:, None])
    problem = Problem(nn.Linear(2, 1, bias=False), F.mse_loss, SGD(rate, steps))
    start = {"weight": theta_0.clone()[None].requires_grad_()}
    settings = StepConfig(last_step_only(steps), second_order=second_order)
    loss, _ = inner_loop(problem, MetaParams(start, problem.rule.tensors(start)), {}, task, settings)
    return torch.autograd.grad(loss, start["weight"])[0][0]


for H in curvatures.values():
    _, pair = both_gradients(H, 0.3, 4)
    for second_order, by_hand in zip((True, False), pair):
        assert torch.allclose(by_hand, by_autograd(H, 0.3, 4, second_order), rtol=1e-10)
        assert torch.allclose(by_hand, by_library(H, 0.3, 4, second_order), rtol=1e-10)
print("by hand, by autograd, by the library: equal, in both orders")

# %% [markdown]
# **Predict.** For which curvature do the two arrows always lie on one line, and why? Can the first-order arrow, which
# is meant to go downhill, go *up* the true meta-loss?
#
# **Run and explore.** The arrows are drawn downhill, with one length for all; the bars on the right show how long the
# gradients are. Move rate and steps. With *steep*, go on until the path leaves the picture.

# %%
rates = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0]
most_steps = 8
paths = torch.stack([torch.stack([both_gradients(H, r, most_steps)[0] for r in rates]) for H in curvatures.values()])
gradients = torch.stack(
    [both_gradients(H, r, k)[1] for H, r, k in itertools.product(curvatures.values(), rates, range(most_steps + 1))]
).reshape(len(curvatures), len(rates), most_steps + 1, 2, 2)
circle = torch.stack([f(torch.linspace(0, 2 * math.pi, 49)[:-1]) for f in (torch.cos, torch.sin)])  # [2, P]


def contour(matrix, middle, level):
    """Return the points [P, 2] where half of (x - middle)' matrix (x - middle) is the level."""
    return (middle[:, None] + math.sqrt(2 * level) * torch.linalg.inv(torch.linalg.cholesky(matrix).T) @ circle).T


levels = (0.05, 0.3, 1.0, 2.5)
losses = [[(H, a), (B, b)] for H in curvatures.values()]
contours = torch.stack(
    [torch.stack([torch.stack([contour(*loss, level) for level in levels]) for loss in pair]) for pair in losses]
)
ArrowExplorer(
    paths.numpy(),
    gradients.numpy(),
    contours.numpy(),
    curvatures=list(curvatures),
    rates=rates,
    reach=2.0,
    at=(3, 4, 1),
)

# %% [markdown]
# **Check.** With round curvature $I - \alpha H$ is a number times $I$: the direction stays, the length does not. And
# yes: where a step overshoots, a factor is negative, and the angle can pass 90 degrees. There the first-order step goes
# uphill.

# %%
cosines = F.cosine_similarity(gradients[..., 0, :], gradients[..., 1, :], dim=-1)  # [curvatures, R, K + 1]
assert torch.allclose(cosines[0, :-1], torch.ones_like(cosines[0, :-1]))  # round; at rate 1 the gradient is zero
assert torch.allclose(cosines[:, :, 0], torch.ones(len(curvatures), len(rates)))  # no step, no difference
for name, table in zip(curvatures, cosines[:, :-1]):
    print(f"{name:10} widest angle below rate 1: {torch.rad2deg(torch.acos(table.clamp(-1, 1))).max():.0f} degrees")


# %% [markdown]
# ### Exercise 5.1
#
# Write $d\theta_K / d\theta_0$ for a loss that is not quadratic: `hessians` is the list $H_0, \dots, H_{K-1}$. Mind the
# order.


# %%
def chain_of_steps(hessians, rate):
    # answer: a matrix
    chain = torch.eye(len(hessians[0]))
    for hessian in hessians:
        chain = (torch.eye(len(hessian)) - rate * hessian) @ chain  # the newest step on the left
    return chain
    # end of answer


check("5.1", chain_of_steps)
# hint("5.1")

# %% [markdown]
# ## 2. In a network
#
# **Explain.** The cosine between the two gradients says how far the shortcut turns the outer step: 1 is the same
# direction, 0 a right angle.
#
# **Predict.** Two starts: an untrained network, and the kit's stored one, which MAML has trained with second order. At
# which of them do the two gradients agree less?
#
# **Run.** The library's `meta_gradients_by_step` gives the meta-gradient for every number of steps at once. Three
# rates, two episodes.

# %%
sizes = {"n_way": n_way, "k_shot": k_shot, "seed": seed}
config = replace(stored.base_config(), dataset=dataset, dtype="float64", **sizes)
sampler = make_sampler(load(dataset), config, "train", training=True)
learners = {"untrained": MetaLearner.from_config(config, sampler.image_shape)}
if n_way == 5 and sampler.image_shape == stored.IMAGE:  # what the stored start was trained for
    learners["trained"] = stored.start("maml", dtype="float64")
episodes = [learners["untrained"].to_device(sampler.episode(index)) for index in range(2)]
network_rates = (inner_lr / 100, inner_lr / 10, inner_lr)


def mean_gradient(learner, rate, second_order):
    """Return the meta-gradient after 0..K steps, mean over episodes: name -> [K + 1, P]."""
    meta = MetaParams(learner.params, {"inner_lrs": torch.full((len(learner.rows), n_steps), rate)})
    settings = StepConfig(last_step_only(n_steps), second_order=second_order)
    tables = [meta_gradients_by_step(learner.problem, meta, learner.buffers, e, settings) for e in episodes]
    return {name: sum(table[name] for table in tables).flatten(1) / len(episodes) for name in learner.rows}


def cosine_by_step(full, short, names):
    return F.cosine_similarity(*(torch.cat([rows[name] for name in names], 1) for rows in (full, short)))


weights = [name for name in learners["untrained"].rows if name.endswith("weight")]
turned = {
    (name, rate): [mean_gradient(learner, rate, second_order) for second_order in (True, False)]
    for (name, learner), rate in itertools.product(learners.items(), network_rates)
}
figure, panels = plt.subplots(1, len(learners), figsize=(3.6 * len(learners), 2.8), sharey=True, layout="constrained")
for axes, name in zip(np.atleast_1d(panels), learners):
    for rate, style in zip(network_rates, ("o:", "s--", "^-")):
        axes.plot(cosine_by_step(*turned[name, rate], weights), style, label=f"inner rate {rate:g}")
    axes.axhline(0, color="#999", lw=0.8)
    axes.set(xlabel="inner steps", title=f"{name} start")
np.atleast_1d(panels)[0].set(ylabel="cosine, first : second order", ylim=(-1.05, 1.05))
np.atleast_1d(panels)[0].legend(fontsize="small")
plt.show()

# %% [markdown]
# The biases of the convolutions are left out: batch norm takes a constant away again, so their gradients are zero.
#
# **Run.** Layer by layer, after all inner steps at the usual rate:

# %%
print(f"{'':15}" + "".join(f"{name:>12}" for name in learners))
for layer in weights:
    row = [cosine_by_step(*turned[name, inner_lr], [layer])[-1] for name in learners]
    print(f"{layer:15}" + "".join(f"{value:12.2f}" for value in row))

# %% [markdown]
# The larger the rate, the less the two agree; at the usual rate the first step does most of the damage. At the trained
# start the shortcut is nearly at a right angle to the full gradient, and in the last layer it points almost backwards.
# So where second-order training has arrived, the shortcut is no small error any more.
#
# **Check.** No step, no difference; and a tiny rate, hardly any.

# %%
for (_, rate), pair in turned.items():
    cosine = cosine_by_step(*pair, weights)
    assert abs(cosine[0] - 1) < 1e-9
    if rate == network_rates[0] and inner_lr <= 0.2:
        assert cosine.min() > 0.9
print("they agree where they must")


# %% [markdown]
# ## 3. What the second order costs
#
# **Explain.** Second order keeps every inner step in memory until the end, and then goes back through all of them.
# First order forgets a step as soon as it is taken. By the account of the MAML++ paper, the authors of MAML found first
# order about three times as fast. Count for yourself:
#
# - *FLOPs* with PyTorch's own counter: convolutions and matrix products, forward and backward;
# - *memory* with a small spy: it notes each tensor's bytes when they are taken and when they are given back;
# - *time* with a clock. It is drawn and not printed, since it is another one on every machine.
#
# **Predict.** Which of the three depends most on the number of inner steps?
#
# **Run.**


# %%
def storages(tree):
    return {x.untyped_storage() for x in tree_leaves(tree) if isinstance(x, torch.Tensor)}


class LiveBytes(TorchDispatchMode):
    """Follow the bytes of all tensors made inside that are still alive, and the most there ever were."""

    now = peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for storage in storages(out) - storages((args, kwargs)):  # new, not a view of what was given
            self.add(storage.nbytes())
            weakref.finalize(storage, self.add, -storage.nbytes())
        return out

    def add(self, n_bytes):
        self.now += n_bytes
        self.peak = max(self.peak, self.now)


def task_gradient(settings):
    learner = learners["untrained"]
    start = {name: p.detach().requires_grad_() for name, p in learner.params.items()}
    meta = MetaParams(start, {"inner_lrs": torch.full((len(learner.rows), n_steps), inner_lr)})
    loss, _ = inner_loop(learner.problem, meta, learner.buffers, episodes[0], settings)
    return torch.autograd.grad(loss, list(start.values()))


def measure(steps, second_order):
    """Return GFLOP, megabytes at the peak, and seconds (the fastest of three)."""
    settings = StepConfig(last_step_only(steps), second_order=second_order)
    with LiveBytes() as memory, FlopCounterMode(display=False) as counter:
        task_gradient(settings)
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        task_gradient(settings)
        seconds.append(time.perf_counter() - begin)
    return counter.get_total_flops() / 1e9, memory.peak / 1e6, min(seconds)


step_counts = sorted({1, (n_steps + 1) // 2, n_steps})
measured = np.array([[measure(steps, second_order) for second_order in (True, False)] for steps in step_counts])
print("inner steps   GFLOP: second  first   MB: second  first")
for steps, (full, short) in zip(step_counts, measured):
    print(f"{steps:11} {full[0]:15.2f} {short[0]:6.2f} {full[1]:12.1f} {short[1]:6.1f}")

figure, axes = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
for column, (name, style) in enumerate({"arithmetic": "o-", "memory": "s--", "time": "^:"}.items()):
    axes.plot(step_counts, measured[:, 0, column] / measured[:, 1, column], style, label=name)
axes.axhline(1, color="#999", lw=0.8)
axes.set(xlabel="inner steps", ylabel="second order : first order", xticks=step_counts, ylim=(0, None))
axes.legend()
plt.show()

# %% [markdown]
# First order needs hardly more memory for many steps than for one: the bit it gains are the inner gradients, kept for
# the trace. That is the part of its saving that grows without end.
#
# **Check.**

# %%
assert (measured[-1, 0] > measured[-1, 1]).all()  # in all three, the clock included
growth = measured[-1, :, 1] - measured[0, :, 1]  # of the memory, from one step to all: second order, first order
assert growth[1] <= 0.1 * growth[0]
print("second order costs more in all three; first order's memory hardly grows with the steps")

# %% [markdown]
# ## 4. What a first-order epoch cannot teach
#
# **Explain.** MAML++ gives batch norm weights and biases of their own for each inner step. Row $k$ acts in the support
# pass of step $k$, and so on the gradient of that step. First order calls that gradient a constant. Only one thing is
# left for row $k$ to learn from: a query pass made with it.
#
# **Predict.** First order, and the last query loss alone: which rows of the batch norm get a gradient? And the learned
# inner rates?
#
# **Run.**

# %%
plus_config = configure(
    "mamlpp", filters=8, dataset=dataset, dtype="float64", device="cpu", n_steps=n_steps, inner_lr=inner_lr, **sizes
)
plus = MetaLearner.from_config(plus_config, sampler.image_shape)
batch = plus.to_device(sampler.batch(0, 2))
last, every = last_step_only(n_steps), msl_weights(n_steps, 0, 10)
cases = {
    "second order, last loss": StepConfig(last, second_order=True),
    "first order, last loss": StepConfig(last, second_order=False),
    "first order, all losses": StepConfig(every, second_order=False),
}


def norms_by_step(gradient):
    """Return the gradient's norm at each step [K]: of the batch norm's rows, and of the rates' columns."""
    tables = [table for name, table in gradient.model.items() if name.startswith("norms.")]  # each [K, C]
    return torch.cat(tables, 1).norm(dim=1), gradient.inner_lrs.norm(dim=0)


steps = {
    name: meta_gradient(plus.problem, plus.meta, plus.buffers, batch, settings, tasks_per_chunk=2)
    for name, settings in cases.items()
}
by_case = {name: norms_by_step(step.gradient) for name, step in steps.items()}
for place, title in enumerate(("batch-norm rows", "inner rates")):
    print(f"{title:25}" + "".join(f"   step {k}" for k in range(n_steps)))
    for name, norms in by_case.items():
        print(f"{name:25}" + "".join(f"{norm:9.3f}" if norm else "        0" for norm in norms[place].tolist()))

# %% [markdown]
# The zeros are exact. The rates do learn: with constant gradients $g_k$, $\theta_K = \theta_0 - \sum_k \alpha_k g_k$,
# so
#
# $$\frac{dL}{d\alpha_k} = - \langle \nabla L_Q(\theta_K),\, g_k \rangle$$
#
# separately for each tensor.
#
# **Check.** Both, the second one by hand.

# %%
rows, rate_columns = by_case["first order, last loss"]
assert (rows[:-1] == 0).all()
assert rows[-1] > 0
assert all((norms[0] > 0).all() for name, norms in by_case.items() if name != "first order, last loss")
assert (rate_columns > 0).all()

task = Episode(*(part[0] for part in batch))
inner = list(adapt(plus.problem, plus.meta, plus.buffers, task, cases["first order, last loss"]))
final = {name: p.detach().requires_grad_() for name, p in inner[-1].params.items()}
logits, _ = plus.problem.forward(final, plus.buffers, task.query_x, n_steps - 1)
slopes = torch.autograd.grad(F.cross_entropy(logits, task.query_y), [final[name] for name in plus.rows])
by_hand = [[-(slope * step.gradients[name]).sum() for step in inner] for name, slope in zip(plus.rows, slopes)]
one_task = Episode(*(part[:1] for part in batch))
library = meta_gradient(plus.problem, plus.meta, plus.buffers, one_task, cases["first order, last loss"])
assert torch.allclose(torch.tensor(by_hand), library.gradient.inner_lrs, rtol=1e-8, atol=1e-12)
print("rows 0 to K - 2 get exactly nothing, every rate gets its share")

# %% [markdown]
# **Run.** How long does that last in a run of MAML++? The library's schedules are pure functions of the epoch, so we
# can ask. The paper has 150 epochs; the multi-step loss ends after a tenth of them, as in the code.

# %%
long_run = configure("mamlpp", epochs=150, n_steps=n_steps)
settings = [step_config(long_run, epoch) for epoch in range(long_run.epochs)]
first_order_epochs = sum(not s.second_order for s in settings)
deaf = sum(not s.second_order and s.loss_weights == last for s in settings)
print(f"{first_order_epochs} first-order epochs; in {deaf} of them only the last step's batch-norm row learns")

# %% [markdown]
# ## 5. Annealing the order
#
# **Explain.** First order for the early epochs, second order after that: cheap at first, exact at the end. Again there
# are three versions.
#
# | | first-order epochs |
# |---|---|
# | the paper's text | the first 50 of 150; a part of MAML++ |
# | the code, first release (2018) | up to 80 of 150; in the plain MAML baselines too |
# | the code, last commit (2021) | none: switched off (-1) in every configuration |
#
# (The last commit compares with `epoch > threshold`, so a threshold $T$ means $T + 1$ epochs, and -1 means none.)
#
# The paper says that this "greatly speeds up the first 50 epochs", and gives no number. Here is one.
#
# **Predict.** In the early epochs the multi-step loss is on too. It adds query passes, which first order cannot make
# cheaper. What is left of the saving?
#
# **Run.** FLOPs of one task at the sizes of the authors' code, counted as in notebook 04 on tensors without numbers.


# %%
def giga_flops(weights, second_order, way, q_query, channels, side, filters):
    with torch.device("meta"):
        network = Conv4(channels, side, way, filters=filters, n_steps=len(weights), per_step_bn=True)
        problem = Problem(network, rule=SGD(0.1, len(weights)))
        meta, buffers = problem.start()
        images = [torch.zeros(way * n, channels, side, side) for n in (1, q_query)]  # one shot
        labels = [torch.zeros(way * n, dtype=torch.int64) for n in (1, q_query)]
    learned = [tensor.requires_grad_() for tensor in (*meta.model.values(), meta.inner_lrs)]
    task = Episode(images[0], labels[0], images[1], labels[1])
    with FlopCounterMode(display=False) as counter:
        loss, _ = inner_loop(problem, meta, buffers, task, StepConfig(weights, second_order))
        torch.autograd.grad(loss, learned)
    return counter.get_total_flops() / 1e9


def costs_of(where):
    """Return {(second order, multi-step loss): GFLOP}; a step more always costs the same."""
    costs = {}
    for second_order in (True, False):
        one = giga_flops((1.0,), second_order, *where)
        for multi_step, two_weights in ((False, (0.0, 1.0)), (True, (0.5, 0.5))):
            two = giga_flops(two_weights, second_order, *where)
            costs[second_order, multi_step] = one + (n_steps - 1) * (two - one)
    return costs


places = {"Omniglot 20-way, 1 query": (20, 1, 1, 28, 64), "Mini-ImageNet 5-way, 15": (5, 15, 3, 84, 48)}
costs = {name: costs_of(where) for name, where in places.items()}
print(f"GFLOP of one task, {n_steps} steps, 1-shot     second   first   second : first")
for name, multi_step in itertools.product(places, (False, True)):
    full, short = (costs[name][second_order, multi_step] for second_order in (True, False))
    print(f"{name:25} {'all losses' if multi_step else 'last loss':11} {full:9.2f} {short:7.2f} {full / short:13.2f}")

# %% [markdown]
# **Check.** Counted in the authors' own code, with five steps, second over first is 2.65 and 1.99 on Omniglot, 1.49 and
# 1.12 on Mini-ImageNet.

# %%
if n_steps == 5:
    theirs = [(2.65, 1.99), (1.49, 1.12)]
    for table, ratios in zip(costs.values(), theirs):
        for multi_step, ratio in zip((False, True), ratios):
            assert abs(table[True, multi_step] / table[False, multi_step] - ratio) < 0.006
assert all(table[True, m] > table[False, m] for table in costs.values() for m in (False, True))
mini = costs["Mini-ImageNet 5-way, 15"]
for table in costs.values():
    assert abs((table[True, True] - table[False, True]) - (table[True, False] - table[False, False])) < 1e-9
print(f"Mini-ImageNet: first order with all losses costs {mini[False, True] / mini[True, False]:.1f} times")
print("as much as second order with the last loss alone")

# %% [markdown]
# Look at the differences, second minus first: they are the same with the last loss and with all losses. A query pass
# costs the same in both orders, so it is paid on top. That is how the multi-step loss eats the saving, in the same
# early epochs: where query sets are large, what it adds is more than what first order saves.
#
# **Run.** Now whole runs of 150 epochs, in percent of plain second-order MAML. `step_config` says for each epoch which
# of the four costs to pay.


# %%
def run_cost(config, table):
    settings = [step_config(config, epoch) for epoch in range(config.epochs)]
    spent = sum(table[s.second_order, s.loss_weights[0] > 0] for s in settings)
    return 100 * spent / (config.epochs * table[True, False])


shares = {"last commit: none": 0.0, "paper: 50 of 150": 50 / 150, "first release: 80 of 150": 80 / 150}
print(f"{'':37}" + "".join(f"{name.split()[0]:>15}" for name in places))
for recipe, (name, share) in itertools.product(("maml", "maml+msl"), shares.items()):
    config = configure(recipe, epochs=150, n_steps=n_steps, first_order_share=share)
    row = [run_cost(config, table) for table in costs.values()]
    print(f"{recipe:10} {name:26}" + "".join(f"{percent:13.1f} %" for percent in row))

# %% [markdown]
# The ramp of the multi-step loss is the last commit's here, a tenth of the epochs; in the first release it never ended,
# and cost more.
#
# ### Exercise 5.2
#
# A run spends the share `share` of its epochs in first order; a second-order epoch costs `ratio` times a first-order
# one. Which part of the whole cost is saved? Try `saving(1 / 3, 2.65)` against the table above.


# %%
def saving(share, ratio):
    # answer: a fraction
    return share * (1 - 1 / ratio)  # each of those epochs costs 1 / ratio in place of 1
    # end of answer


check("5.2", saving)
# hint("5.2")

# %% [markdown]
# ## 6. What it costs in accuracy
#
# **Explain.** The paper warns that first order throughout can hurt. It calls the first-order epochs of an annealed run
# a strong pre-training, and reports no incidents of exploding or diminishing gradients. First the sine waves of
# notebook 01: eight seeds, the same starts and tasks for everyone. The library's loops are pure functions, so `vmap`
# takes all seeds at once.
#
# **Predict.** In which order will they end: second order; first order; first order for the first third, then second?
#
# **Run.**

# %%
n_seeds, n_tasks = 8, 4
wave_problem = Problem(MLP(1, 1, hidden=(20, 20)), F.mse_loss, SGD(0.01, n_steps))
wave_rates = wave_problem.start()[0].rule
waves = [Sinusoids("train", seed=100 * seed + number) for number in range(n_seeds)]


@functools.cache
def tasks_of(iteration):
    parts = zip(*(wave.batch(n_tasks * iteration, n_tasks) for wave in waves))
    return Episode(*(torch.stack(part).double() for part in parts))  # [seeds, T, points, 1]


def random_start(number):
    torch.manual_seed(number)
    return dict(MLP(1, 1, hidden=(20, 20)).named_parameters())


def wave_loss(params, task, second_order):
    settings = StepConfig(last_step_only(n_steps), second_order)
    return inner_loop(wave_problem, MetaParams(params, wave_rates), {}, task, settings)[0]


def all_losses(params, tasks, second_order, over):
    loss = functools.partial(wave_loss, second_order=second_order)
    return torch.vmap(torch.vmap(loss, (None, 0)), (0, over))(params, tasks)  # over seeds, over tasks -> [seeds, T]


def train_waves(n_first, n_all):
    starts = [random_start(100 * seed + number) for number in range(n_seeds)]
    params = {name: torch.stack([s[name].detach() for s in starts]).requires_grad_() for name in starts[0]}
    optimizer = torch.optim.Adam(params.values(), lr=0.01)
    for iteration in range(n_all):
        losses = all_losses(params, tasks_of(iteration), iteration >= n_first, 0)
        gradients = torch.autograd.grad(
            losses.mean(1).sum(), list(params.values())
        )  # the seeds do not touch each other
        for p, gradient in zip(params.values(), gradients):
            p.grad = gradient
        optimizer.step()
    return {name: p.detach() for name, p in params.items()}


exam = Episode(*(part.double() for part in Sinusoids("test", q_query=50, seed=seed).batch(0, 200)))
plans = {
    "second order": (0, iterations),
    "first order": (iterations, iterations),
    "annealed": (iterations // 3, iterations),
}
scores = {}
for name, plan in plans.items():
    scores[name] = all_losses(train_waves(*plan), exam, False, None).mean(1)  # [seeds]

# %% [markdown]
# **Check.** On 200 new waves; differences within pairs of equal seed, with a 95 % interval (Student's $t$ for eight).


# %%
def compare(difference, t=2.36):
    """Return the mean, half of its 95 % interval, and what follows."""
    mean, half = difference.mean().item(), t * difference.std().item() / math.sqrt(len(difference))
    return mean, half, "cannot tell" if abs(mean) <= half else "higher" if mean > 0 else "lower"


def say_score(name):
    mean, half, verdict = compare(scores[name] - scores["second order"])
    against = "" if name == "second order" else f"    {mean:5.2f} +- {half:.2f}: {verdict}"
    print(f"{name:26} {scores[name].mean():5.2f}{against}")


print(f"{'loss after the last step':32}    minus that of second order")
for name in plans:
    say_score(name)
assert all(torch.isfinite(score).all() for score in scores.values())

# %% [markdown]
# "Cannot tell" means that the interval holds 0: these runs do not settle it. But is the comparison fair? It is by
# iterations, and a first-order iteration is cheaper.
#
# **Predict.** Let first order train for as much arithmetic as second order had. Who wins now?
#
# **Run.** The counter says how many iterations that are.


# %%
def wave_flops(second_order):
    start = {name: p.detach().requires_grad_() for name, p in wave_problem.network.named_parameters()}
    with FlopCounterMode(display=False) as counter:
        loss = wave_loss(start, Episode(*(part[0] for part in exam)), second_order)
        torch.autograd.grad(loss, list(start.values()))
    return counter.get_total_flops()


more = wave_flops(True) / wave_flops(False)
longer = round(more * iterations)
scores["first order, same budget"] = all_losses(train_waves(longer, longer), exam, False, None).mean(1)
print(f"second order costs {more:.2f} times as much: {longer} iterations instead of {iterations}")
say_score("first order, same budget")
assert more > 1

# %% [markdown]
# It has also seen more tasks by then. An interval around a difference is only half of an honest answer. The other half
# says what was held equal.
#
# **Run.** Now images: the kit's stored short runs on glyphs, with every combination of the other fixes, three seeds
# each. With annealing (here two first-order epochs of six) minus without, all else equal, averaged over the
# combinations for each seed. The second line asks about incidents: training steps refused because a number was not
# finite.

# %%
runs = {(tuple(run["fixes"]), run["seed"]): run for run in stored.runs(group="switchboard")}
gains, refused = {}, {"with": 0, "without": 0}
for (fixes, number), run in runs.items():
    without = runs.get((tuple(fix for fix in fixes if fix != "da"), number))
    if "da" in fixes and without:
        gains.setdefault(number, []).append(100 * (run["test"] - without["test"]))
        refused = {"with": refused["with"] + run["nonfinite"], "without": refused["without"] + without["nonfinite"]}
by_seed = torch.tensor([np.mean(values) for values in gains.values()])
mean, half, verdict = compare(by_seed, t=4.30)  # Student's t for three seeds
n_pairs = sum(map(len, gains.values()))
print(f"{n_pairs} pairs of runs, {len(gains)} seeds: test accuracy {mean:+.1f} +- {half:.1f} points: {verdict}")
print(f"refused steps: {refused['with']} with annealing, {refused['without']} without")

# %% [markdown]
# ## Recap
#
# - First order puts the identity in place of $\prod_k (I - \alpha H_k)$. It keeps the inner steps and drops their
#   memory.
# - The two gradients agree for small rates and few steps, and part from there. Where a step overshoots they may even
#   disagree on what is downhill.
# - With five steps, second order costs 2.65 times the arithmetic on Omniglot's sizes and 1.5 times on Mini-ImageNet's.
#   Its memory grows with the steps, first order's hardly.
# - With first order and the last loss alone, the batch-norm rows of all steps but the last learn nothing.
# - 50 first-order epochs of 150 save a fifth of the arithmetic on Omniglot's sizes and a tenth on Mini-ImageNet's,
#   where the multi-step loss adds more than that. The code, at its last commit, does not anneal the order at all.
# - Next: [06 Batch norm](06_batch_norm.ipynb).
#
# ## References
#
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019, sections 3.1 and 4,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502), and the authors' code,
#   [HowToTrainYourMAMLPytorch](https://github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch).
# - C. Finn, P. Abbeel, S. Levine, *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*, ICML 2017,
#   [arXiv:1703.03400](https://arxiv.org/abs/1703.03400).
# - A. Nichol, J. Achiam, J. Schulman, *On First-Order Meta-Learning Algorithms*, 2018,
#   [arXiv:1803.02999](https://arxiv.org/abs/1803.02999).
