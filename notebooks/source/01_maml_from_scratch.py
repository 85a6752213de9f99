# %% [markdown]
# # 01 MAML from scratch
#
# **Minutes:** 50 · **Prerequisites:** notebook [00](00_welcome.ipynb); gradients and the chain rule.
#
# **Objectives.** After this notebook you can
# - write the inner loop and the outer loop of MAML yourself, in 15 lines;
# - say which derivative the outer loop needs, and what the first-order shortcut leaves out;
# - call the library's `inner_loop` and `meta_gradient`, and know that they compute the same;
# - show, with numbers, what a meta-trained start is good for, on curves and on pictures;
# - let Python compute a figure while you move it.

# %% tags=["parameters"]
seed = 0
fast = True
k_shot = 10
n_steps = 10
inner_lr = 0.01

# %% [markdown]
# ## Set-up
#
# The first optimiser of a process is slow to load, so it is made here.

# %%
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

from mamlkit.core.episodes import Episode, EpisodeSampler
from mamlkit.core.inner_loop import adapt, inner_loop
from mamlkit.core.networks import MLP
from mamlkit.core.outer_loop import meta_gradient, run_tasks
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig, eval_config, last_step_only
from mamlkit.datasets import load
from mamlkit.datasets.sinusoids import Sinusoids
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import FitExplorer, Live, ProbabilityExplorer
from mamlkit.study import stored
from mamlkit.training.diagnostics import trace_batch
from mamlkit.training.learner import MetaLearner

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
torch.manual_seed(seed)
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
iterations = 400 if fast else 4000


def double(episode):
    return Episode(*(part.double() for part in episode))


# %% [markdown]
# ## 1. One task
#
# **Explain.** The toy of the MAML paper is a family of sine waves $y = A \sin(x - \varphi)$. A task is one wave: its
# amplitude $A$ and phase $\varphi$ are hidden, a few points are given. The loss is the mean squared error.
#
# **Run.** One task, and the network: two hidden layers of 40 units.

# %%
train_waves = Sinusoids("train", k_shot=k_shot, q_query=10, seed=seed)
task = double(train_waves.episode(0))
model = MLP(1, 1)
random_start = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
for name, p in random_start.items():
    print(f"{name:18} {list(p.shape)}")

# %%
figure, axes = plt.subplots(figsize=(6, 2.6))
for index, marker in enumerate("os^"):
    support_x, support_y, _, _ = train_waves.episode(index)
    axes.plot(support_x, support_y, marker, label=f"task {index}")
axes.set(xlabel="x", ylabel="y", title="The support points of three tasks")
axes.legend()
plt.show()

# %% [markdown]
# **Predict.** A network that ignores the points must answer every task with the same curve. Which curve is best, and
# what does it lose?
#
# **Run.** The best one is the mean of all waves, and its loss is their variance. Any start that can adapt must beat
# this number.

# %%
waves = [amplitude * np.sin(np.linspace(-5, 5, 101) - phase) for amplitude, phase in map(train_waves.wave, range(1000))]
single_curve = np.var(waves, axis=0).mean()  # mean over x of Var(y)
print(f"loss of the best single curve: {single_curve:.1f}")


# %% [markdown]
# ## 2. The inner loop by hand
#
# **Explain.** From the start $\theta_0$, take gradient steps on the support set:
#
# $$\theta_{k+1} = \theta_k - \alpha \, \nabla_\theta L_S(\theta_k)$$
#
# **Run.** The network is a chain of three linear maps. The parameters are a plain dictionary, so a step makes a *new*
# dictionary and the old one stays.


# %%
def forward(params, x):
    x = F.relu(F.linear(x, params["layers.0.weight"], params["layers.0.bias"]))
    x = F.relu(F.linear(x, params["layers.1.weight"], params["layers.1.bias"]))
    return F.linear(x, params["head.weight"], params["head.bias"])


def adapt_by_hand(params, task, n_steps):
    for _ in range(n_steps):
        loss = F.mse_loss(forward(params, task.support_x), task.support_y)  # L_S(theta_k)
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)  # its gradient
        params = {n: p - inner_lr * g for (n, p), g in zip(params.items(), gradients)}  # theta_k+1
    return params


adapted = adapt_by_hand(random_start, task, 3)
by_hand = F.mse_loss(forward(adapted, task.query_x), task.query_y)
print(f"query loss after 3 steps: {by_hand.item():.2f}")

# %% [markdown]
# `create_graph=True` is the whole trick. The steps themselves stay differentiable: `by_hand` still knows how it depends
# on the start.
#
# **Explain.** For the library, a learning problem is one value, `Problem(network, loss, rule)`:
# - the *network* $f$, any PyTorch module;
# - the *loss* $L$, a function of outputs and targets;
# - the *update rule* of the inner loop: how $\theta_k$ and the gradient give $\theta_{k+1}$. Here it is gradient
#   descent, `SGD(rate, n_steps)`.
#
# `problem.start()` copies the tensors that the outer loop may learn: the network's parameters, and the rates of the
# rule, one for each tensor and step. The second value it returns is the network's buffers; this network has none.
#
# **Check.** The library's `inner_loop` gives the same loss. `last_step_only(3)` is MAML's choice of which query losses
# count: only the one after the last step, with weight 1.

# %%
problem = Problem(model, F.mse_loss, SGD(inner_lr, n_steps))  # network, loss, rule
meta, buffers = problem.start()  # meta.model: the parameters; meta.rule: the rates, a table [tensors, steps]
plain_maml = StepConfig(loss_weights=last_step_only(3))
library, trace = inner_loop(problem, meta, buffers, task, plain_maml)
assert torch.allclose(by_hand, library, rtol=1e-12, atol=0)
print(f"the library says {library.item():.2f}: equal")


# %% [markdown]
# ### Exercise 1.1
#
# Write one inner step as a function of its own. It must not change what it is given, and must keep the graph.


# %%
def inner_step(params, gradients, rate):
    # answer: a new dictionary with the same names
    return {name: params[name] - rate * gradients[name] for name in params}
    # end of answer


check("1.1", inner_step)
# hint("1.1")

# %% [markdown]
# ## 3. The outer loop by hand
#
# **Explain.** A start is good if adaptation from it works well. So the meta-loss is the query loss after $K$ steps,
# averaged over $T$ tasks, and its derivative is taken with respect to the start:
#
# $$g = \nabla_\theta \; \frac{1}{T} \sum_t L_{Q,t}\big(\theta_K^{(t)}(\theta)\big)$$
#
# The paper writes a sum over tasks; the authors' code takes the mean. The library takes the mean too. With Adam as
# outer optimiser the two make almost the same step, since Adam divides out the scale.
#
# **Predict.** Suppose `adapt_by_hand` had no `create_graph=True`. Would the gradient below fail, be zero, or be
# something else?
#
# **Run.**


# %%
def meta_loss_by_hand(start, batch, n_steps):
    losses = []
    for task in map(Episode._make, zip(*batch)):  # one task after another
        adapted = adapt_by_hand(start, task, n_steps)
        losses.append(F.mse_loss(forward(adapted, task.query_x), task.query_y))  # L_Q,t(theta_K)
    return torch.stack(losses).mean()  # 1/T sum over tasks


batch = double(train_waves.batch(0, 4))
loss = meta_loss_by_hand(random_start, batch, 3)
gradient_by_hand = torch.autograd.grad(loss, list(random_start.values()))  # g
length = torch.cat([g.flatten() for g in gradient_by_hand]).norm()
print(f"meta-loss {loss.item():.2f}, length of its gradient {length:.2f}")

# %% [markdown]
# **Check.** The library's `meta_gradient` agrees in every entry. So does the slope measured without any derivative, by
# moving one bias a little (a finite difference).

# %%
step = meta_gradient(problem, meta, buffers, batch, plain_maml)
for ours, theirs in zip(gradient_by_hand, step.gradient.model.values()):
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)

nudge = 1e-5
moved = [
    meta_loss_by_hand({**random_start, "head.bias": random_start["head.bias"] + sign * nudge}, batch, 3).item()
    for sign in (1, -1)
]
measured = (moved[0] - moved[1]) / (2 * nudge)
assert abs(measured - gradient_by_hand[-1].item()) < 1e-6
print(f"slope along head.bias: {gradient_by_hand[-1].item():.3f} by autograd, {measured:.3f} measured")

# %% [markdown]
# **Explain.** *First-order* MAML drops the derivative of the steps themselves: it pretends that
# $\partial\theta_K / \partial\theta = I$. That is the answer to the question above: without `create_graph=True` each
# inner gradient is a constant. Nothing fails, and the result is not zero. It is another gradient.
#
# **Run.** How far apart are the two?

# %%
first_order = StepConfig(loss_weights=last_step_only(3), second_order=False)
short = meta_gradient(problem, meta, buffers, batch, first_order)
full_vector = torch.cat([g.flatten() for g in step.gradient.model.values()])
short_vector = torch.cat([g.flatten() for g in short.gradient.model.values()])
cosine = F.cosine_similarity(full_vector, short_vector, dim=0)
lengths = f"{full_vector.norm():.2f} (full), {short_vector.norm():.2f} (first-order)"
print(f"cosine between them {cosine:.2f}; lengths {lengths}")

# %% [markdown]
# **Check.** They point nearly the same way, and they are not equal. The larger the rate and the more the steps, the
# further they part: try `inner_lr = 0.05` in the parameters.

# %%
assert cosine > 0.5
assert not torch.allclose(full_vector, short_vector)
print("alike in direction, not equal")


# %% [markdown]
# ### Exercise 1.2
#
# A toy that fits on paper. One number $\theta$; support loss $c\,(\theta - a)^2 / 2$; query loss $(\phi - b)^2 / 2$,
# where $\phi$ is $\theta$ after **one** inner step. Write the full meta-gradient: the derivative of the query loss with
# respect to $\theta$.


# %%
def toy_meta_gradient(theta, a, b, c, rate):
    # answer: one number
    phi = theta - rate * c * (theta - a)  # one inner step
    return (phi - b) * (1 - rate * c)  # d L_Q / d phi  times  d phi / d theta
    # end of answer


check("1.2", toy_meta_gradient)
# hint("1.2")

# %% [markdown]
# ## 4. Meta-training
#
# **Explain.** Repeat: draw tasks, take the meta-gradient, let Adam move the start. The inner loop here has **one**
# step.
#
# **Predict.** The start is trained for one inner step. What will ten steps make of it: better, worse, the same?
#
# **Run.** The library's `meta_gradient` does all tasks at once (`tasks_per_chunk`), which is faster than our loop.

# %%
start = {name: p.detach().clone() for name, p in random_start.items()}
optimizer = torch.optim.Adam(start.values(), lr=0.01)
one_step = StepConfig(loss_weights=last_step_only(1))
history = []
for iteration in range(iterations):
    batch = double(train_waves.batch(10 * iteration, 10))
    step = meta_gradient(problem, MetaParams(start, meta.rule), buffers, batch, one_step, tasks_per_chunk=10)
    for name, p in start.items():
        p.grad = step.gradient.model[name]
    optimizer.step()
    history.append(step.loss.item())
early, late = np.mean(history[:50]), np.mean(history[-50:])
print(f"meta-loss, mean of the first 50 iterations {early:.1f}, of the last 50 {late:.1f}")

# %% [markdown]
# **Check.** Meta-training went downhill.

# %%
assert np.mean(history[-50:]) < 0.6 * np.mean(history[:50])
print("downhill")


# %% [markdown]
# ## 5. The fit, step by step
#
# **Explain.** Take a wave that was in no training task. From both starts, take inner steps on the same few points.
#
# **Run and explore.** Move the slider (drag it, or click it and press the arrow keys), and watch how far one step goes.


# %%
def follow(params, task, grid, steps):
    """Return the curve [K + 1, G] and the query loss [K + 1] after 0..K inner steps."""
    curves, losses = [], []
    for _ in range(steps + 1):
        curves.append(forward(params, grid).detach().squeeze(1).numpy())
        losses.append(F.mse_loss(forward(params, task.query_x), task.query_y).item())
        params = {name: p.detach().requires_grad_() for name, p in adapt_by_hand(params, task, 1).items()}
    return np.stack(curves), np.array(losses)


test_waves = Sinusoids("test", k_shot=k_shot, q_query=50, seed=seed)
amplitude, phase = test_waves.wave(1)
task = double(test_waves.episode(1))
grid = torch.linspace(-5, 5, 101)[:, None]
trained = {name: p.detach().requires_grad_() for name, p in start.items()}


def fits(steps, shown):
    curves = {
        "MAML's start": follow(trained, task, grid, steps),
        "random start": follow(random_start, task, grid, steps),
    }
    x = grid.squeeze(1).numpy()
    return FitExplorer(
        x,
        amplitude * np.sin(x - phase),
        {name: curve for name, (curve, _) in curves.items()},
        losses={name: losses for name, (_, losses) in curves.items()},
        support=(task.support_x.squeeze(1).numpy(), task.support_y.squeeze(1).numpy()),
        step=shown,
    )


fits(n_steps, shown=0)

# %% [markdown]
# **Check.** One picture proves nothing, so average over 100 new tasks. The random start also gets a fair chance: its
# best rate out of five. Another rate is another rule, so it is another problem.

# %%
exam = double(test_waves.batch(0, 100))
watch = StepConfig(last_step_only(n_steps), second_order=False, track_query=True)


def average_losses(params, rate):
    rule = SGD(rate, n_steps)
    with torch.no_grad():
        own = MetaParams(params, rule.tensors(params))
        _, trace = run_tasks(Problem(model, F.mse_loss, rule), own, buffers, exam, watch)
    return trace.query_loss.mean(0)  # [T, K] -> [K]


rows = {"MAML's start": average_losses(start, inner_lr), "random start": average_losses(random_start, inner_lr)}
tried = {rate: average_losses(random_start, rate) for rate in (0.001, 0.003, 0.01, 0.03, 0.1)}
best = min(tried, key=lambda rate: tried[rate].nan_to_num(torch.inf)[-1].item())
rows[f"random, rate {best}"] = tried[best]
print(f"{'query loss after':20} 1 step   {n_steps} steps")
for name, losses in rows.items():
    print(f"{name:20} {losses[0].item():6.2f} {losses[-1].item():8.2f}")

# %%
maml = rows["MAML's start"]
assert maml[0] < 0.6 * rows["random start"][0]  # one step from MAML's start is worth many from another
assert maml[-1] < 0.6 * tried[best][-1]  # the other's best rate does not close the gap
assert maml[-1] < maml[0]  # trained for one step, better still after more
assert maml[0] < single_curve  # it does use the points
print("all four claims hold")

# %% [markdown]
# A better rate does not rescue the random start. A few points and steps are too little for a network that must find
# out what a sine wave is. MAML's start knows the family; the points only have to say which member.
#
# ## 6. Past the trained count
#
# **Explain.** The figure above holds all its numbers: the slider moves in the browser, and Python sleeps. That is fast,
# and needs all numbers beforehand. The other way is a slider that calls Python at every move: `Live(control, make)`
# takes an ipywidgets control and a function from its value to a figure. Here the function takes that many inner steps,
# anew each time.
#
# **Predict.** The start was trained for one step. What will fifty do to the fit: make it better still, leave it, or
# spoil it? And to the loss on the *support* points?
#
# **Run and explore.** Run the cell, then drag the upper slider (ipywidgets sliders may not take the arrow keys). The
# lower one looks back at fewer steps, without Python.

# %%
how_many = ipywidgets.IntSlider(
    description="inner steps", min=0, max=50, value=n_steps, continuous_update=True, layout={"width": "600px"}
)
Live(how_many, lambda steps: fits(steps, shown=steps))

# %% [markdown]
# **Check.** The same 100 new tasks as above, far past the trained count.

# %%
long_watch = StepConfig(last_step_only(50), second_order=False, track_query=True)
long_rule = SGD(inner_lr, 50)
with torch.no_grad():
    long_meta = MetaParams(start, long_rule.tensors(start))
    _, trace = run_tasks(Problem(model, F.mse_loss, long_rule), long_meta, buffers, exam, long_watch)
on_support, on_query = trace.support_loss.mean(0), trace.query_loss.mean(0)  # [T, K] -> [K]
print("inner steps      1      10      50")
print("support loss", *(f"{on_support[k - 1]:7.3f}" for k in (1, 10, 50)), "(before the step)")
print("query loss  ", *(f"{on_query[k - 1]:7.3f}" for k in (1, 10, 50)), "(after the step)")
assert on_support[-1] < on_support[0]
assert torch.allclose(on_query[:n_steps], maml[:50], rtol=1e-9)
print(f"from 10 to 50 steps the query loss {'falls' if on_query[49] < on_query[9] else 'rises'}")

# %% [markdown]
# Nothing in the training asked for a good fit after fifty steps. The points only say where the curve must pass; between
# them the start decides.
#
# ## 7. The same on pictures
#
# **Explain.** Everything so far works for any problem: the two loops ask nothing of the network and the loss but their
# derivatives. With pictures of $N$ classes the loss is the cross-entropy, and the answer is a probability for each
# class:
#
# $$p(c \mid x) = \mathrm{softmax}\big(f(x; \theta_k)\big)_c$$
#
# The kit ships starts that were meta-trained on drawn characters, five classes and one picture of each, for five inner
# steps: one by MAML, one by MAML++.
#
# **Predict.** Before the first step, what can the probability of the true class be, on average? Which start will be
# sure of itself first?
#
# **Run and explore.** Look at one query picture after another. Where does a start change its mind?

# %%
glyphs = EpisodeSampler(load("glyphs"), "test", n_way=5, k_shot=1, q_query=2, seed=seed)
learners = {"MAML": stored.start("maml", dtype="float64"), "MAML++": stored.start("mamlpp", dtype="float64")}
learners = {"random": MetaLearner.from_config(learners["MAML"].config, glyphs.image_shape), **learners}


def probabilities(learner, task):
    """Return the probability of each class for each query picture after 0..K inner steps, [K + 1, Q, N]."""
    task = learner.to_device(task)
    with torch.no_grad():
        steps = adapt(learner.problem, learner.meta, learner.buffers, task, eval_config(learner.config, "batch"))
        thetas = [learner.params, *(step.params for step in steps)]  # theta_0 .. theta_K
        rows = [max(k - 1, 0) for k in range(len(thetas))]  # MAML++ has batch norm of its own for each step
        outputs = [
            learner.problem.forward(theta, learner.buffers, task.query_x, row)[0] for theta, row in zip(thetas, rows)
        ]
    return torch.stack(outputs).softmax(-1)


first = glyphs.episode(0)
tables = {name: probabilities(learner, first).numpy() for name, learner in learners.items()}
ProbabilityExplorer(first, tables, title="One query picture, step by step", at=(0, 0, 1))

# %% [markdown]
# **Check.** The last row is the library's, and over ten episodes the trained starts end surer of the true class.

# %%
traced = trace_batch(learners["MAML++"], Episode(*(part[None] for part in first))).query_logits[0].softmax(-1)
assert np.allclose(tables["MAML++"][-1], traced.numpy())
episodes = [glyphs.episode(index) for index in range(10)]
truth = first.query_y[None, :, None].expand(6, -1, 1)  # [K + 1, Q, 1]: ordered by class in every episode
mean = {}
for name, learner in learners.items():
    own = torch.stack([probabilities(learner, episode).gather(2, truth) for episode in episodes])  # [E, K + 1, Q, 1]
    mean[name] = own.mean((0, 2, 3))
    print(f"{name:7} probability of the true class after 0..5 steps, %:", *(f"{100 * p:3.0f}" for p in mean[name]))
assert mean["MAML"][-1] > mean["random"][-1]
assert mean["MAML++"][-1] > mean["random"][-1]

# %% [markdown]
# Steps from random weights help too: they learn from the five given pictures as well. What the trained starts add is
# that so few steps reach so far.
#
# ## Recap
#
# - Inner loop: gradient steps on the support set, kept differentiable.
# - Outer loop: the gradient of the query loss *after* those steps, with respect to the start.
# - First-order MAML treats the inner gradients as constants. It is an approximation, not an error.
# - The number of inner steps is a choice of its own; a start trained for one count may go on
#   improving beyond it, as here; nothing in the training promises that.
# - The library's `inner_loop` and `meta_gradient` compute what you wrote by hand, to rounding.
# - Next: [02 Episodes](02_episodes.ipynb).
#
# ## References
#
# - C. Finn, P. Abbeel, S. Levine, *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*, ICML 2017,
#   section 5.1, [arXiv:1703.03400](https://arxiv.org/abs/1703.03400).
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019, section 3,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502).
