# %% [markdown]
# # 03 Exploding gradients
#
# **Minutes:** 40 · **Prerequisites:** notebooks [01](01_maml_from_scratch.ipynb) and [02](02_episodes.ipynb).
#
# **Objectives.** After this notebook you can
# - say why the meta-gradient is a product over the inner steps, and when that product explodes;
# - tell from one number of the loss, its largest curvature, whether a step stretches or shrinks;
# - name the networks, steps and rates at which it happens, in one gradient and in whole trainings;
# - say which remedies keep a training alive, with the number of runs behind each claim.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 3
n_steps = 10
inner_lr = 0.4

# %% [markdown]
# ## Set-up

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import adapt
from mamlkit.core.outer_loop import meta_gradient
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.recipes import configure
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.core.unrolled import layer_grad_norms, meta_gradients_by_step
from mamlkit.datasets import load
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import AtlasExplorer, ExplosionExplorer
from mamlkit.study.stored import atlas
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import make_sampler

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
store = load(dataset)

# %% [markdown]
# ## 1. A product of steps
#
# **Explain.** Take one parameter $\theta$, a support loss $\frac{c}{2}(\theta - a)^2$ and inner steps
# $\theta_{k+1} = \theta_k - \alpha c\,(\theta_k - a)$. Each step multiplies what came before by the same number:
#
# $$\frac{d\theta_{k+1}}{d\theta_k} = 1 - \alpha c, \qquad \frac{d\theta_K}{d\theta_0} = (1 - \alpha c)^K$$
#
# With many parameters the curvature $c$ becomes the Hessian $H_k$, the matrix of all second derivatives of the support
# loss at $\theta_k$, and 1 becomes the identity $I$. The product has a factor for each step (you write it in Exercise
# 3.2):
#
# $$\nabla_{\theta_0} L_Q(\theta_K) = (I - \alpha H_0)(I - \alpha H_1) \cdots (I - \alpha H_{K-1})\,
# \nabla_{\theta_K} L_Q(\theta_K)$$
#
# **Predict.** Let $c = 2$. For which rates $\alpha$ does $(1 - \alpha c)^{10}$ explode, and for which does it vanish?
#
# **Run.** The query loss is $\frac{1}{2}(\theta_K - b)^2$. By hand:

# %%
curvature, a, b, theta = 2.0, 1.0, -1.0, 0.0


def toy_by_hand(rate):
    rows, now = [], theta
    for k in range(n_steps + 1):
        rows.append((1 - rate * curvature) ** k * (now - b))  # (1 - alpha c)^k dL_Q / d theta_k
        now = now - rate * curvature * (now - a)  # theta_k+1 = theta_k - alpha c (theta_k - a)
    return np.array(rows)


for rate in (0.1, 0.5, 0.9, 1.1):
    print(
        f"rate {rate}: factor {1 - rate * curvature:+.1f}, gradient after {n_steps} steps {toy_by_hand(rate)[-1]:9.2g}"
    )

# %% [markdown]
# **Check.** The library's `meta_gradients_by_step` gives one gradient for each number of steps. It gives the same
# numbers for a network with one weight: with the mean squared error of $\theta x$ against $y$, the curvature is $2x^2$.

# %%
one_weight = Problem(nn.Linear(1, 1, bias=False), F.mse_loss, SGD(0.9, n_steps))
x = (curvature / 2) ** 0.5  # 2 x^2 = c
# support set: input x, target a x; query set: 0.5 (theta - b)^2 is the squared error of input 0.5^0.5, target b 0.5^0.5
point = Episode(*(torch.tensor([[value]]) for value in (x, a * x, 0.5**0.5, b * 0.5**0.5)))
meta, buffers = one_weight.start()
meta.model["weight"].fill_(theta)
by_library = meta_gradients_by_step(one_weight, meta, buffers, point, StepConfig(last_step_only(n_steps)))
assert np.allclose(by_library["weight"].flatten(), toy_by_hand(0.9))
print("by hand and by the library: equal")

# %% [markdown]
# ### Exercise 3.1
#
# Write `largest_rate(curvature)`: the rate above which the factor $|1 - \alpha c|$ is larger than one.


# %%
def largest_rate(curvature):
    # answer: one number
    return 2 / curvature
    # end of answer


check("3.1", largest_rate)
# hint("3.1")

# %% [markdown]
# ## 2. The same in real networks
#
# **Explain.** Four networks with a random start. *Conv4* is the network of the paper: four convolutions, each with
# batch norm and pooling. The other three have eight convolutions. One is plain: it has no batch norm and no skip
# connections. The next has batch norm, the last has skip connections (the input of a convolution is added to its
# output). We take the gradient of the query loss with respect to the *start*, after each inner step, for a few tasks
# with one picture of each class, and look at its norm.
#
# **Predict.** The inner rate is 0.4. In which of the four will the norm grow a million times within ten steps?

# %%
switches = {
    "Conv4": {},
    "8 layers, plain": {"backbone": "deep", "batch_norm": False},
    "8 layers, batch norm": {"backbone": "deep"},
    "8 layers, skips": {"backbone": "deep", "batch_norm": False, "skips": True},
}
n_tasks = 4
config = configure("maml", n_way=n_way, filters=16, eval_query=3, seed=seed, device="cpu", dtype="float64")
learners = {
    name: MetaLearner.from_config(replace(config, **changes), (1, 28, 28)) for name, changes in switches.items()
}
sampler = make_sampler(store, config, "val")
tasks = [learners["Conv4"].to_device(sampler.episode(i)) for i in range(n_tasks)]


def with_rate(learner, rate, steps=n_steps):
    """Return the learner's parameters, with the same inner rate for every tensor and step."""
    return MetaParams(learner.params, {"inner_lrs": torch.full((len(learner.rows), steps), rate)})


def gradients_by_step(learner, rate, task, second_order=True):
    settings = StepConfig(last_step_only(n_steps), second_order=second_order)
    return meta_gradients_by_step(learner.problem, with_rate(learner, rate), learner.buffers, task, settings)


def growth(norms):
    """Return the largest norm as a multiple of the norm before any step; infinite where a norm is not finite."""
    return float(np.nan_to_num(norms, nan=np.inf).max() / norms[0])


norms = {
    name: [layer_grad_norms(gradients_by_step(learner, inner_lr, task))["total"].numpy() for task in tasks]
    for name, learner in learners.items()
}
exploded = {name: sum(growth(each) > 1e6 for each in per_task) for name, per_task in norms.items()}
for name, count in exploded.items():
    print(f"{name:21} grows a million times in {count} of {n_tasks} tasks")

# %%
figure, panels = plt.subplots(1, 4, figsize=(11, 2.8), sharey=True, layout="constrained")
for axes, (name, per_task) in zip(panels, norms.items()):
    for each in per_task:
        axes.semilogy(np.where(np.isfinite(each), each, np.nan).clip(1e-3, 1e30), "o-", ms=3)
    axes.set(xlabel="inner steps", title=name)
panels[0].set_ylabel("norm of the meta-gradient")
plt.show()

# %% [markdown]
# **Check.** (A line of the plain network ends where the norm is no longer a finite number.)

# %%
assert max(exploded[name] for name in exploded if name != "8 layers, plain") <= exploded["8 layers, plain"]
print("no network explodes more often than the plain one")

# %% [markdown]
# So a usual rate is enough, in a network that has nothing against it. The paper (section 3.1) gives the cause: on its
# way back the gradient passes the same layers again and again, step after step, with no skip connection around them.
# Conv4 hides the problem. Its batch norm rescales every layer at every step, whatever the step did to the weights.
#
# ## 3. Where it begins
#
# **Explain.** In the toy it began at $\alpha = 2 / c$. A network has one curvature for each direction, and the largest
# one, $\lambda$, decides: a step stretches its direction when $\alpha > 2 / \lambda$. Power iteration finds it:
# multiply a vector by $H$ again and again, and it turns to the direction whose curvature is largest in size,
# of either sign.
#
# $$v \leftarrow \frac{H v}{\lVert H v \rVert}, \qquad \lambda = v^\top H v$$
#
# **Run.** In the plain network, along the inner steps of one task, at a small rate and at the large one:


# %%
def sharpness(learner, adapted, task, n_iterations=12):
    start = {name: p.detach().requires_grad_() for name, p in adapted.items()}
    logits, _ = learner.problem.forward(start, learner.buffers, task.support_x, 0)
    loss = F.cross_entropy(logits, task.support_y)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(start.values()), create_graph=True)])
    v = torch.randn(len(gradient), generator=torch.Generator().manual_seed(seed))
    for _ in range(n_iterations):
        v = v / v.norm()
        product = torch.autograd.grad(gradient @ v, list(start.values()), retain_graph=True)  # d (g v) / d theta = H v
        v, before = torch.cat([part.flatten() for part in product]), v
    return float(before @ v)  # v' H v


def path(learner, rate, task, n=3):
    """Return the parameters before any step and after each of n steps."""
    settings = StepConfig(last_step_only(n), second_order=False)
    steps = adapt(learner.problem, with_rate(learner, rate, n), learner.buffers, task, settings)
    return [learner.params, *(step.params for step in steps)]


plain = learners["8 layers, plain"]
curvatures = {
    rate: [sharpness(plain, params, tasks[0]) for params in path(plain, rate, tasks[0])] for rate in (0.01, inner_lr)
}
for rate, values in curvatures.items():
    said = "  ".join(f"{value:.2g}" for value in values)
    print(f"rate {rate:g}: largest curvature before step 1, 2, ..: {said};  2 / rate = {2 / rate:.2g}")

# %% [markdown]
# At the start the curvature is so large that a rate of 0.4 stretches one direction. (A rate of 0.01 does not.) In
# Conv4 the next factors would be smaller again: batch norm rescales what the step has thrown too far. In the plain
# network nothing does. The first step carries the weights to a place where the curvature is larger, the next step is
# thrown further from there, and so on: the factors of the product grow themselves.
#
# **Check.** How many times 2 the size of $\alpha \lambda$ is, at its largest after the first step:

# %%
excess = {rate: rate * max(map(abs, values[1:])) / 2 for rate, values in curvatures.items()}
assert excess[inner_lr] > excess[0.01]
print("  ".join(f"rate {rate:g}: {value:.1g} times" for rate, value in excess.items()))

# %% [markdown]
# **Run and explore.** The table on the left holds the norm for every rate and number of steps, for the first task. The
# bars on the right show the layers of the framed cell. A norm above 1e30 is shown as 1e30. Step through the plain
# network; then change one choice at a time. *every step* is the mean of the query losses after steps 1 to $k$: the
# multi-step loss of the next notebook, with equal weights.

# %%
explored = (0.03, 0.1, inner_lr) if fast else (0.03, 0.1, 0.2, inner_lr)
deep = [name for name in learners if name != "Conv4"]


def both_losses(gradients):
    """Return the layers' norms of the last step's gradient, and of the mean over all steps so far."""
    counts = torch.arange(1, n_steps + 1)
    means = {
        name: torch.cat([g[:1], g[1:].cumsum(0) / counts.reshape(-1, *[1] * (g.dim() - 1))])
        for name, g in gradients.items()
    }
    return [
        torch.stack(list(layer_grad_norms(each).values()), 1) for each in (gradients, means)
    ]  # two of [K + 1, layers + 1]


table = torch.zeros(len(deep), 2, 2, len(explored), n_steps + 1, 10)
for n, name in enumerate(deep):
    for o, second_order in enumerate((True, False)):
        for r, rate in enumerate(explored):
            found = gradients_by_step(learners[name], rate, tasks[0], second_order)
            table[n, o, :, r] = torch.stack(both_losses(found)).clip(max=1e30)
print("norms:", table.numel())

# %%
layers = list(layer_grad_norms(gradients_by_step(plain, 0.03, tasks[0], second_order=False)))[:-1]
choices = {"network": deep, "derivative order": ["second", "first"], "loss": ["last step", "every step"]}
ExplosionExplorer(table.numpy(), choices=choices, rates=explored, layers=layers, at=(3, len(explored) - 1, 0, 0, 0))

# %% [markdown]
# Things to look for:
# - from which rate on a row is no longer calm, in each network;
# - the first layer against the head: where does the gradient grow most?
# - *first order*: the factors $(I - \alpha H_k)$ are gone. What is left of the explosion?
# - *every step*: does the mean over the steps save the gradient, once a step has exploded?
#
# **Check.** One entry of the table, computed in another way: by `meta_gradient`, the gradient that the outer loop
# takes.

# %%
k = min(4, n_steps)
batch = Episode(*(part.unsqueeze(0) for part in tasks[0]))  # a meta-batch of one task, [1, ...]
settings = StepConfig(last_step_only(k))
again = meta_gradient(plain.problem, with_rate(plain, 0.03), plain.buffers, batch, settings)
total = torch.stack([g.norm() for g in again.gradient.model.values()]).norm()
assert torch.isclose(total, table[0, 0, 0, 0, k, -1], rtol=1e-6)
print("the same norm from the outer loop")

# %% [markdown]
# ### Exercise 3.2
#
# Write the product of section 1 for vectors: given the Hessians $H_0, \ldots, H_{K-1}$ and the gradient at $\theta_K$,
# return the gradient at the start. Do not build the product matrix; apply one factor after another.


# %%
def product(hessians, rate, gradient):
    # answer: a vector; hessians is a list, the first step's first
    for hessian in reversed(hessians):
        gradient = gradient - rate * hessian @ gradient  # (I - rate H_k) gradient
    return gradient
    # end of answer


check("3.2", product)
# hint("3.2")

# %% [markdown]
# ## 4. Does it spoil training?
#
# **Explain.** One gradient at a random start is not yet a training. The *stability atlas* has 945 short trainings on
# 16 x 16 glyphs, 5-way 1-shot: five networks, seven methods, 1, 5 or 10 inner steps, inner rates of 0.03, 0.1 and 0.4,
# and three seeds of each. A run *died* if a step had to be refused because its meta-gradient was not finite, if its
# validation accuracy ended below half of its best, or if it never rose above twice chance.
#
# **Predict.** Which network dies at which rates? Choose one method that you would trust to save it.
#
# **Run and explore.** Above, the map of plain MAML on the chosen network: in each cell the number of dead runs and the
# mean test accuracy. Below, the map of the chosen method. The curves and the table of gradients show one run of the
# framed cell, a dead one if there is one. Move the last slider: it replays this run, two meta-iterations at a time. Red
# crosses are steps that were refused.

# %%
stability = atlas.read()
AtlasExplorer(
    dead=stability.dead.sum(-1),
    accuracy=stability.accuracy.mean(-1),
    curves={"loss": stability.loss, "grad_norm": stability.grad_norm},
    inner_norms=stability.inner_norms,
    axes=stability.axes,
    runs=len(stability.seeds),
    shown=stability.shown,
    seeds=stability.seeds,
    layers=stability.layers,
    why=stability.why,
    at=(2, 1, 2, 2, 0),
)

# %% [markdown]
# **Check.** The three networks with eight layers, at 5 or 10 steps and rates of 0.1 or 0.4: twelve runs of each
# method. In brackets Wilson's 95 % interval of the share. A remedy *saves* the network if it brings the share of dead
# runs to a tenth of plain MAML's or less.


# %%
def share(network, method):
    """Return the number of dead runs at 5 or 10 steps and rates from 0.1 on, all runs, and the share in words."""
    dead, n = stability.runs(network, method, least_steps=5, least_rate=0.1)
    low, high = stats.binomtest(dead, n).proportion_ci(method="wilson")
    return dead, n, f"{dead:2} of {n} died ({100 * low:.0f} to {100 * high:.0f} %)"


reference, n_runs, said = share("plain", "maml")
print(f"{'8 layers, plain: MAML':46} {said}")
remedies = [("plain", method) for method in list(stability.methods)[1:]]
remedies += [("norm", "maml"), ("skips", "maml")]
for network, method in remedies:
    dead, n, said = share(network, method)
    saves = dead / n <= reference / n_runs / 10
    name = f"{stability.networks[network]}: {stability.methods[method]}"
    print(f"{name:46} {said}{'  saves it' if saves else ''}")

# %% [markdown]
# **Run.** The plain network once more, each rate alone: dead runs of six, by method.

# %%
row = list(stability.networks).index("plain")
long = [k for k, steps in enumerate(stability.steps) if steps >= 5]
dead_at = {rate: stability.dead[row][:, long, r].sum((1, 2)) for r, rate in enumerate(stability.rates) if rate >= 0.1}
for rate, counts in dead_at.items():
    print(f"rate {rate}: " + ", ".join(f"{label} {n}" for label, n in zip(stability.methods.values(), counts)))
assert (dead_at[0.4] == 6).all()
assert dead_at[0.1][0] == max(dead_at[0.1])

# %% [markdown]
# **What the runs say.**
#
# - *Batch norm saves the network.* None of its runs died, with any method.
# - *No method saves it.* At the rate of 0.4 all six runs of the plain network died, with each of the seven methods: all
#   fixes of the paper together, first order and clipping too. These change the meta-gradient or the outer step. At this
#   rate the first inner steps already throw the weights away (section 3), and no method here makes them smaller in
#   time. Learned rates could, but they also begin at 0.4.
# - *At 0.1 the methods may help.* MAML lost three of its six runs, each other method none or one. Six runs are few: the
#   interval of three of six goes from 19 to 81 %, that of none of six from 0 to 39 %. They overlap.
# - *Skip connections help less than batch norm.* With MAML 4 of 12 runs died, where 9 of 12 died without them; these
#   intervals overlap too. With first order, 11 of 12 died.
# - *Few runs died of a NaN.* Nearly all of them never rose above 40 %: the training went on, and learned nothing.
#
# **What they do not say.** With one inner step the deep networks mostly learned nothing in 120 meta-iterations, at a
# small rate too. That is no explosion, so those cells are not counted here. A longer training may die later, or
# recover. The paper's Figure 1 shows strided networks that collapse in long trainings; of the strided runs counted
# here, none died.
#
# ## Recap
#
# - The meta-gradient of MAML is a product with one factor $(I - \alpha H_k)$ for each inner step.
# - A step stretches when $\alpha > 2 / \lambda$, where $\lambda$ is the largest curvature of the support loss at that
#   step.
# - In a deep network without batch norm the curvature grows from step to step, and so does the product. At a usual rate
#   of 0.4 the norm grows by six orders of magnitude and more within ten steps.
# - Batch norm keeps such trainings alive. First order, clipping and the fixes of the next notebooks do not, at that
#   rate.
# - Next: [04 Multi-step loss](04_multi_step_loss.ipynb).
#
# ## References
#
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019, section 3.1 and Figure 1,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502).
# - C. Finn, P. Abbeel, S. Levine, *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*, ICML 2017,
#   [arXiv:1703.03400](https://arxiv.org/abs/1703.03400).
