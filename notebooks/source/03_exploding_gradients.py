# %% [markdown]
# # 03 Exploding gradients
#
# **Minutes:** 35 · **Prerequisites:** notebooks [01](01_maml_from_scratch.ipynb) and [02](02_episodes.ipynb).
#
# **Objectives.** After this notebook you can
# - say why the meta-gradient is a product over the inner steps, and when that product explodes;
# - tell from one number of the loss, its largest curvature, whether a step stretches or shrinks;
# - find the layers, steps and rates at which it happens in a real network;
# - say what four remedies do to it, with numbers: a smaller rate, a trained start, a loss after every step, and a
#   first-order gradient.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 5
n_steps = 10
inner_lr = 5.0

# %% [markdown]
# The inner rate is far above the 0.1 of the authors' code, on purpose: here we want to see things break.
#
# ## Set-up

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import adapt
from mamlkit.core.outer_loop import meta_gradient
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.core.unrolled import layer_grad_norms, meta_gradients_by_step
from mamlkit.datasets import load
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import ExplosionExplorer
from mamlkit.study import stored
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
# ## 2. The same in a real network
#
# **Explain.** A network with four convolutions, a random start, one 5-way 1-shot task. We take the gradient of the
# query loss with respect to the *start*, after each inner step, and look at its norm.
#
# **Predict.** The authors' code uses a rate of 0.1. Will the norm grow over ten steps at that rate? And at fifty times
# that rate?

# %%
trained = {
    "max-pool": stored.start("maml", dtype="float64"),
    "strided": stored.start("maml-strided", dtype="float64"),
}
random = {
    name: MetaLearner.from_config(replace(learner.config, n_way=n_way, seed=seed), (1, 28, 28))
    for name, learner in trained.items()
}
episode = {  # own: n_way of the parameters; five: what the trained starts need
    width: random["max-pool"].to_device(make_sampler(store, config, "val").episode(seed))
    for width, config in {
        "own": replace(random["max-pool"].config, eval_query=3),
        "five": replace(trained["max-pool"].config, eval_query=3),
    }.items()
}


def with_rate(learner, rate, steps=n_steps):
    """Return the learner's parameters, with the same inner rate for every tensor and step."""
    return MetaParams(learner.params, {"inner_lrs": torch.full((len(learner.rows), steps), rate)})


def gradients_by_step(learner, rate, task, second_order=True):
    settings = StepConfig(last_step_only(n_steps), second_order=second_order)
    return meta_gradients_by_step(learner.problem, with_rate(learner, rate), learner.buffers, task, settings)


maml = {rate: gradients_by_step(random["max-pool"], rate, episode["own"]) for rate in (0.1, inner_lr)}
totals = {rate: layer_grad_norms(gradients)["total"] for rate, gradients in maml.items()}
for rate, norms in totals.items():
    print(f"rate {rate:g}: " + "  ".join(f"{norm:.2g}" for norm in norms))

# %%
figure, axes = plt.subplots(figsize=(6, 3))
for (rate, norms), style in zip(totals.items(), ("o-", "s--")):
    axes.semilogy(norms, style, label=f"rate {rate:g}")
axes.set(xlabel="inner steps", ylabel="norm of the meta-gradient", title="Plain MAML, random start")
axes.legend()
plt.show()


# %% [markdown]
# **Check.** The largest norm, as a multiple of the norm before any step:


# %%
def growth(norms):
    return float(norms.max() / norms[0])


print(f"rate 0.1: {growth(totals[0.1]):.1f} times; rate {inner_lr:g}: {growth(totals[inner_lr]):.0f} times")
assert growth(totals[0.1]) < growth(totals[inner_lr])

# %% [markdown]
# So plain MAML is not doomed to explode. At a small rate nothing happens; at a large one the norm grows by orders of
# magnitude within a few steps. The paper (section 3.1) gives a related cause: on its way back the gradient passes the
# same layers again and again, with no skip connection around them. That product is inside the $H_k$.
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
# **Run.** Along the inner steps, at a small and at the large rate:


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


def path(learner, rate, task, n=4):
    """Return the parameters before any step and after each of n steps."""
    settings = StepConfig(last_step_only(n), second_order=False)
    steps = adapt(learner.problem, with_rate(learner, rate, n), learner.buffers, task, settings)
    return [learner.params, *(step.params for step in steps)]


curvatures = {
    rate: [
        sharpness(random["max-pool"], params, episode["own"])
        for params in path(random["max-pool"], rate, episode["own"])
    ]
    for rate in (0.1, inner_lr)
}
for rate, values in curvatures.items():
    said = "  ".join(f"{value:.2g}" for value in values)
    print(f"rate {rate:g}: largest curvature before step 1, 2, ..: {said};  2 / rate = {2 / rate:.2g}")

# %% [markdown]
# At the start the curvature is so large that even a rate of 0.1 stretches one direction. (One among thousands: if the
# gradient hardly points there, its norm does not show it.) But a few steps along the curvature falls, because the
# support loss does: cross-entropy is flat where the network is right and sure. Then the factors shrink again, and the
# product stays tame. At the large rate the first step throws the parameters to a place where $|\alpha \lambda|$ is
# still far above 2. So some direction is stretched at every step. Most of the growth comes in the first step; after it
# the norm goes up and down, on a high level. (A minus sign: the loss bends downwards along the direction found. There
# every step stretches.)
#
# **Check.** How many times 2 the size of $\alpha \lambda$ is, at its largest after the first step:

# %%
excess = {rate: rate * max(map(abs, values[1:])) / 2 for rate, values in curvatures.items()}
assert excess[inner_lr] > excess[0.1]
print("  ".join(f"rate {rate:g}: {value:.1f} times" for rate, value in excess.items()))

# %% [markdown]
# **Predict.** A network with strided convolutions (they move by two pixels, in place of pooling) ends in one mean over
# all pixels, which may make it smoother. Will it stay calm longer than the one with max-pooling as the rate rises?
#
# **Run and explore.** The table on the left holds the norm for every rate and number of steps. The bars on the right
# show the layers of the framed cell. Move to rate 1 and step through it; then change one choice at a time.
# *every step* is the mean of the query losses after steps 1 to $k$: the multi-step loss of the next notebook, with
# equal weights.

# %%
explored = (0.1, 0.5, 1.0, 2.0, inner_lr)
learners = {"random": random, "trained": trained}
tasks = {"random": episode["own"], "trained": episode["five"]}


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


table = torch.zeros(2, 2, 2, 2, len(explored), n_steps + 1, 6)
for n, network in enumerate(random):
    for s, start in enumerate(learners):
        for o, second_order in enumerate((True, False)):
            for r, rate in enumerate(explored):
                found = gradients_by_step(learners[start][network], rate, tasks[start], second_order)
                table[n, s, o, :, r] = torch.stack(both_losses(found))
print("norms:", table.numel())

# %%
layers = list(layer_grad_norms(maml[inner_lr]))[:-1]
ExplosionExplorer(
    table.numpy(),
    choices=[list(random), ["random", "trained"], ["second", "first"], ["last step", "every step"]],
    rates=explored,
    layers=layers,
    at=(min(4, n_steps), 4, 0, 0, 0, 0),
)

# %% [markdown]
# Things to look for:
# - from which rate on a row is no longer calm, for either network;
# - the first layer against the head: where does the gradient grow most?
# - *trained*: this start comes from meta-training at rate 0.1. Does it forgive larger rates?
# - *first order*: the factors $(I - \alpha H_k)$ are gone. What is left of the explosion?
#
# **Check.** One entry of the table, computed in another way: by `meta_gradient`, the gradient that the outer loop
# takes.

# %%
learner, k = random["max-pool"], min(4, n_steps)
batch = Episode(*(part.unsqueeze(0) for part in episode["own"]))  # a meta-batch of one task, [1, ...]
settings = StepConfig(last_step_only(k))
again = meta_gradient(learner.problem, with_rate(learner, explored[-1]), learner.buffers, batch, settings)
total = torch.stack([g.norm() for g in again.gradient.model.values()]).norm()
assert torch.isclose(total, table[0, 0, 0, 0, -1, k, -1].double(), rtol=1e-6)
print(f"{total:.0f}: the same norm from the outer loop")

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
# ## 4. What tames it
#
# **Explain.** Four remedies, each aimed at another part of the product:
#
# | remedy | what it changes |
# |---|---|
# | a smaller inner rate | $\alpha$: the factors come closer to $I$ |
# | a trained start | $H_k$: maybe meta-training finds flatter ground |
# | a loss after every step | the mean over $k$ of all the products, short ones included |
# | first order | every factor becomes $I$; the gradient at $\theta_K$ is taken as it is |
#
# **Predict.** Which of them keeps the norm within ten times that of no step at all?
#
# **Run.** The mean over four tasks, at the large rate unless the remedy is a smaller one.

# %%
n_tasks = 4
sampler = {
    start: make_sampler(store, replace(learners[start]["max-pool"].config, eval_query=3), "val") for start in learners
}
batches = {
    start: [random["max-pool"].to_device(sampler[start].episode(i)) for i in range(n_tasks)] for start in sampler
}


def mean_norms(start, rate, second_order=True):
    """Return the total norm of the mean gradient over tasks [K + 1]: of the last step's loss, and of every step's."""
    found = [gradients_by_step(learners[start]["max-pool"], rate, task, second_order) for task in batches[start]]
    mean = {name: torch.stack([gradients[name] for gradients in found]).mean(0) for name in found[0]}
    return [norms[:, -1] for norms in both_losses(mean)]  # [K + 1, layers + 1] -> [K + 1]


plain, every_step = mean_norms("random", inner_lr)
remedies = {
    "plain MAML": plain,
    "trained start": mean_norms("trained", inner_lr)[0],
    "a loss after every step": every_step,
    "smaller rate, 0.1": mean_norms("random", 0.1)[0],
    "first order": mean_norms("random", inner_lr, second_order=False)[0],
}
for name, norms in remedies.items():
    print(f"{name:24} norm grows {float(f'{growth(norms):.2g}'):7,.0f} times over {n_steps} steps")

# %%
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (name, norms), style in zip(remedies.items(), ("o-", "v:", "^-.", "s--", "D-")):
    axes.semilogy(norms, style, label=name, markersize=4)
axes.axhspan(float(plain[0]), 10 * float(plain[0]), color="#999", alpha=0.2, lw=0)
axes.set(xlabel="inner steps", ylabel="norm of the meta-gradient", title="Gray: up to ten times that of no step")
axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# **Check.**

# %%
assert growth(remedies["plain MAML"]) > 10
assert growth(remedies["a loss after every step"]) < growth(remedies["plain MAML"])
assert growth(remedies["smaller rate, 0.1"]) < 10
assert growth(remedies["first order"]) < 10
print("plain MAML leaves the gray band; a smaller rate and first order stay inside it")

# %% [markdown]
# (Section 2 had the first of these four tasks alone, and a smaller growth: tasks differ much.)
#
# First order cuts the product off, so there is no product left to explode. The paper's *derivative-order annealing*
# begins with first order and switches to second order later, to save time. It reports besides that such runs
# "showed no incidents of exploding or diminishing gradients". What first order gives up is the subject of notebook
# [05](05_derivative_order.ipynb).
#
# The loss after every step is the paper's own remedy for this problem. It does not stop the products from growing. It
# mixes them with shorter ones, and gives every step a gradient that needs no long product. Notebook
# [04](04_multi_step_loss.ipynb) takes it apart.
#
# And a start that was trained at a small rate gives no protection at a large one. Here it is even worse off.
#
# ## 5. Does it spoil training?
#
# **Explain.** The paper trained a network with strides instead of pooling three times, and two of the three runs of
# MAML became unstable (its Figure 1). Here are short runs of that kind of network that ship with the kit: 300
# meta-iterations on glyphs, four seeds, two inner rates. MAML++ begins with first order; its norms rise where second
# order sets in. MAML++ at rate 4 is in the table only.
#
# **Predict.** The norm of the meta-gradient is larger at rate 4. Will the runs diverge, or only learn less?
#
# **Run.**

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
lines = stored.runs(group="strided")
styles = {(1.0, False): ("#2077c4", "-"), (4.0, False): ("#c65f00", "--"), (1.0, True): ("#17805f", ":")}
for (rate, plus), (colour, dash) in styles.items():
    chosen = [run for run in lines if run["changes"]["inner_lr"] == rate and bool(run["fixes"]) == plus]
    iterations = 50 * np.arange(1, 1 + len(chosen[0]["val"]))
    for run in chosen:
        label = f"{'MAML++' if plus else 'MAML'}, rate {rate:g}" if run is chosen[0] else None
        left.plot(iterations, 100 * np.array(run["val"]), dash, color=colour, label=label)
        right.semilogy(iterations, run["grad_norm_max"], dash, color=colour)
left.set(xlabel="meta-iteration", ylabel="validation accuracy (%)")
right.set(xlabel="meta-iteration", ylabel="largest norm within 50 iterations")
left.legend(fontsize="small")
plt.show()

# %%
for rate in (1.0, 4.0):
    for plus in (False, True):
        chosen = [run for run in lines if run["changes"]["inner_lr"] == rate and bool(run["fixes"]) == plus]
        tests = 100 * np.array([run["test"] for run in chosen])
        refused = sum(run["nonfinite"] for run in chosen)
        largest = max(max(run["grad_norm_max"]) for run in chosen)
        name = "MAML++" if plus else "MAML"
        print(
            f"{name:6} rate {rate:g}: test {tests.mean():.0f} % ({tests.min():.0f} to {tests.max():.0f}, "
            f"{len(tests)} seeds), largest norm {largest:.0f}, steps refused as not finite {refused}"
        )

# %% [markdown]
# **Check.** The norms are larger and the accuracy is lower at the large rate.

# %%
means = {
    rate: np.mean([run["test"] for run in lines if run["changes"]["inner_lr"] == rate and not run["fixes"]])
    for rate in (1.0, 4.0)
}
assert means[4.0] < means[1.0]
print(f"MAML loses {100 * (means[1.0] - means[4.0]):.0f} points at the larger rate")

# %% [markdown]
# The runs at the large rate had larger gradients and learned less. These runs cannot say whether the one caused the
# other: a rate of 4 is a bad inner rate anyway. None diverged. Adam divides a gradient by its own recent size, so its
# steps stay bounded. Three hundred iterations are few beside the paper's 75,000, and a collapse may need longer. So
# this is no reproduction of Figure 1; it shows large gradients, and no collapse.
#
# ## Recap
#
# - The meta-gradient of MAML is a product with one factor $(I - \alpha H_k)$ for each inner step.
# - A step stretches when $\alpha > 2 / \lambda$, where $\lambda$ is the largest curvature of the support loss at that
#   step.
# - At a small rate nothing explodes. At a large one the norm grows by orders of magnitude within a few steps.
# - A smaller rate and first order tame it; a loss after every step softens it.
# - Next: [04 Multi-step loss](04_multi_step_loss.ipynb).
#
# ## References
#
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019, section 3.1 and Figure 1,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502).
# - C. Finn, P. Abbeel, S. Levine, *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*, ICML 2017,
#   [arXiv:1703.03400](https://arxiv.org/abs/1703.03400).
