# %% [markdown]
# # 00 Welcome: learning from a handful of examples
#
# **Minutes:** 25 · **Prerequisites:** PyTorch tensors and a training loop; nothing about meta-learning.
#
# **Objectives.** After this notebook you can
# - say what an N-way K-shot task is, and what its support set and query set are for;
# - say how well guessing does, and how well ordinary training does, on one picture of each class;
# - say what MAML learns instead, and have tried its start on characters drawn by yourself;
# - trust the kit, because you saw it check itself.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 5
n_places = 6

# %% [markdown]
# The cell above holds every setting. Change a value and run the notebook again: all numbers below are made here.
#
# ## Set-up

# %%
import math

import numpy as np
import torch
import torch.nn.functional as F

from mamlkit.core.episodes import EpisodeSampler, as_bytes
from mamlkit.datasets import load
from mamlkit.datasets.drawings import Sheet, rasterise
from mamlkit.show.course import check, hint
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.live.pictures import as_drawing, load_characters
from mamlkit.show.widgets import DrawingPad, EpisodeExplorer
from mamlkit.study import golden, stored

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
store = load(dataset)
n_episodes = 100 if fast else 600
print(f"{store.name}: {len(store.class_names)} classes, {len(store.images)} images")

# %% [markdown]
# ## 1. What few-shot learning is
#
# **Explain.** Look at one picture of each of five characters you have never seen. Then name new pictures of the same
# five. You can do this. A network trained in the ordinary way is used to thousands of pictures of each class.
#
# | word | meaning |
# |---|---|
# | *task*, or *episode* | one small classification problem |
# | N-*way* | it has N classes |
# | K-*shot* | K labelled pictures of each class are given |
# | *support set* | those N · K pictures: learn from these |
# | *query set* | other pictures of the same classes: judged on these |
#
# The paper calls the query set the *target set*.
#
# **Predict.** In the figure below, cover the left column and look at the right ones only. Which class is the hardest?
#
# **Run and explore.** Move the slider: with the mouse, or click it and press the arrow keys.

# %%
sampler = EpisodeSampler(store, "test", n_way=n_way, k_shot=1, q_query=3, seed=seed)
EpisodeExplorer([sampler.episode(index) for index in range(n_places)], title="Which is which?")

# %% [markdown]
# White is ink. Each row is a class, and its label is nothing but a number. The same label means another class in the
# next episode.
#
# **Check.** The sizes are what the words say.

# %%
episode = sampler.episode(0)
assert episode.support_x.shape == (n_way * 1, *sampler.image_shape)
assert episode.query_x.shape == (n_way * 3, *sampler.image_shape)
print(f"{len(episode.support_x)} support images to learn from, {len(episode.query_x)} query images to be judged on")


# %% [markdown]
# ### Exercise 0.1
#
# What does pure guessing get? Write `chance(n_way)`: the expected accuracy of a blind guess, as a fraction.


# %%
def chance(n_way):
    # answer: a fraction
    return 1 / n_way
    # end of answer


check("0.1", chance)
# hint("0.1")  # take the first # away for a hint

# %% [markdown]
# ## 2. What ordinary training makes of it
#
# **Explain.** Take a linear classifier on the raw pixels. Start it at zero. Train it on the support set alone, by plain
# gradient descent, then ask it about the query set. Nothing is carried over from one task to the next.
#
# **Predict.** With one picture of each class, is this better than guessing? How much do five pictures help?
#
# **Run.** One line for each equation:


# %%
def train_from_scratch(support_x, support_y, query_x, n_steps=20, rate=0.1):
    weight = torch.zeros(n_way, support_x[0].numel())
    for _ in range(n_steps):
        weight.requires_grad_()
        loss = F.cross_entropy(support_x.flatten(1) @ weight.T, support_y)  # L(W) on the support set
        [gradient] = torch.autograd.grad(loss, weight)  # dL / dW
        weight = (weight - rate * gradient).detach()  # W <- W - rate * dL / dW
    return (query_x.flatten(1) @ weight.T).argmax(1)


def score(method, k_shot):
    """Return the mean accuracy over the test episodes and its 95 % interval."""
    sampler = EpisodeSampler(store, "test", n_way=n_way, k_shot=k_shot, q_query=5, seed=seed)
    rights = []
    for index in range(n_episodes):
        support_x, support_y, query_x, query_y = sampler.episode(index)
        rights.append((method(support_x.double(), support_y, query_x.double()) == query_y).double().mean())
    rights = torch.stack(rights)
    return float(rights.mean()), float(1.96 * rights.std() / math.sqrt(n_episodes))  # mean, 1.96 s / sqrt(n)


scores = {k_shot: score(train_from_scratch, k_shot) for k_shot in (1, 5)}
for k_shot, (mean, interval) in scores.items():
    print(f"{n_way}-way {k_shot}-shot: {100 * mean:.0f} +- {100 * interval:.0f} % right; guessing: {100 / n_way:.0f} %")

# %% [markdown]
# The interval says how far the mean could move with another draw of episodes. Many papers print another ±: the spread
# between a few training runs. The two do not compare. The MAML++ paper prints the second kind, the original MAML paper
# the first.
#
# **Check.** One picture helps; five help more.

# %%
assert scores[1][0] > 1 / n_way
assert scores[5][0] > scores[1][0]
print("more than guessing, and more with more shots")


# %% [markdown]
# ### Exercise 0.2
#
# There is a method with no training at all: give each query image the label of the *nearest* support image, measured
# over the pixels. Write it. Then put it into `score(nearest, 1)` and compare.


# %%
def nearest(support_x, support_y, query_x):
    # answer: one label for each query image
    distances = torch.cdist(query_x.flatten(1), support_x.flatten(1))  # [Q, S]
    return support_y[distances.argmin(1)]
    # end of answer


check("0.2", nearest)
# hint("0.2")

# %% [markdown]
# ## 3. What MAML learns
#
# **Explain.** The classifier above began at zero for each task. MAML asks: *from where should it begin?* It looks for a
# start $\theta$ from which a few gradient steps on a support set do well on the query set:
#
# $$\theta_0 = \theta, \qquad \theta_{k+1} = \theta_k - \alpha \nabla L_{\text{support}}(\theta_k), \qquad
# \min_\theta \; \text{mean over tasks of } L_{\text{query}}(\theta_K)$$
#
# ($\theta$: all parameters; $\alpha$: the *inner rate*; $L$: the loss. $K$ counts steps here; in "K-shot" it counts
# pictures.) The first part is the *inner loop*, the last the *outer loop*. Notebook [01](01_maml_from_scratch.ipynb)
# builds both by hand. MAML++ keeps the idea and sets out to mend six weak points:
#
# | problem | fix |
# |---|---|
# | gradients explode or vanish through many inner steps | a loss after every step |
# | second derivatives are costly | first-order at the beginning of training |
# | batch-norm statistics are not accumulated | running statistics for each step |
# | one batch-norm bias for all steps | a set of its own for each step |
# | one inner rate for everything | a learned rate for each layer and step |
# | a fixed outer rate | a cosine schedule |
#
# You need not know these words yet: each has its notebook, 03 to 07.
#
# The paper and its authors' code do not agree everywhere. Example: the paper's text lets running statistics normalise;
# the code always uses the statistics of the batch at hand. Wherever the two differ, these notebooks say so.
#
# ## 4. Draw one yourself
#
# **Explain.** The kit ships such a start. It was trained on other characters, always with one picture of each. Below
# are five characters of a test task, traced to strokes and drawn again by the pad's own pen, as those of the training
# were. The inner loop takes its five steps on them. Then you draw one of the five by hand, and the network says which.
#
# The network normalises what it computes by mean and spread over the pictures that go through it together. A single
# drawing gives a poor mean. So it goes through *together with the five given pictures*. Notebook
# [06](06_batch_norm.ipynb) takes this apart.
#
# **Predict.** You draw with a mouse, and the network has seen one picture of each. Will it know yours? After how many
# inner steps?
#
# **Run and explore.** Run the cell, choose *query*, then draw with mouse, pen or finger. Each time you lift the pen,
# Python answers; the slider goes through the inner steps. Finally, draw something that is none of the five. Could the
# network say so? Its probabilities always add up to 1. (A pad on which all is your own is the page
# [Draw](live/draw.ipynb).)

# %%
learner = stored.start("drawings-mamlpp", dtype="float64")
characters = load_characters(dataset)
five = EpisodeSampler(characters, "test", n_way=5, k_shot=1, q_query=1, seed=seed)


def drawings(images):
    """Return pictures [n, 1, H, W] traced to strokes."""
    return [as_drawing(as_bytes(image[0])) for image in images]


task = five.episode(0)
sheet = Sheet({f"{label}": drawing for label, drawing in enumerate(drawings(task.support_x))})
DrawingPad({"MAML++": learner}, sheet=sheet, fixed=True, title="Draw one of these")

# %% [markdown]
# **Check.** The same without your hand: query pictures of many tasks are traced and drawn. Each is classified together
# with the five given pictures, and then alone.


# %%
def pixels(images):
    """Return the pictures of what was traced, as the network gets them: [n, 1, 28, 28]."""
    pictures = np.stack([rasterise(drawing) for drawing in drawings(images)])
    return torch.from_numpy(pictures / 255)[:, None]


right = {"with the given pictures": 0, "alone": 0}
n_exams = 20 if fast else 200
for exam in map(five.episode, range(n_exams)):
    classifier = Classifier(learner, pixels(exam.support_x))
    params, query = classifier.steps[-1], pixels(exam.query_x)  # theta_K
    given = classifier.after(classifier.n_steps, query).argmax(-1)
    right["with the given pictures"] += int((given == exam.query_y).sum())
    for picture, label in zip(query, exam.query_y):
        logits, _ = learner.problem.forward(params, learner.buffers, picture[None], 4)
        right["alone"] += int(logits.argmax() == label)
assert right["with the given pictures"] > right["alone"]
for name, count in right.items():
    print(f"{count} of {5 * n_exams} right {name}; guessing: {n_exams}")

# %% [markdown]
# Compare with section 2. There the classifier started from zero; here it starts from weights that were trained on other
# characters. The network is also another one; notebook 01 compares different starts of one network.
#
# ## 5. The kit checks itself
#
# **Predict.** The library and the authors' code compute one meta-iteration (one step of the outer loop) from the same
# start, in double precision. In which decimal place do they first differ?
#
# **Run.** Each stored case is one meta-iteration of the authors' code: loss, predictions, gradients, and the weights
# after Adam.

# %%
cases = golden.find_cases(golden.CASES)[: 3 if fast else None]
worst = {case.stem: max(golden.compare_case(case).values()) for case in cases}
for name, difference in worst.items():
    print(f"{name}: {'agrees' if difference < golden.TOLERANCE else 'DIFFERS'}")

# %% [markdown]
# **Check.** The largest difference is below $10^{-10}$, and the data are in order: no class is in two splits.

# %%
assert max(worst.values()) < golden.TOLERANCE
splits = {name: set(classes.tolist()) for name, classes in store.splits.items()}
assert splits["train"].isdisjoint(splits["val"])
assert splits["test"].isdisjoint(splits["train"] | splits["val"])
print("ready")

# %% [markdown]
# ## Recap
#
# - A task gives K pictures of each of N classes, and asks about others.
# - Guessing is right once in N times. Training from zero on the support set does better, and leaves room above it.
# - MAML learns the *start*, over many tasks. From it, a few steps on one picture of each class are enough for most.
# - Next: [01 MAML from scratch](01_maml_from_scratch.ipynb), then [02 Episodes](02_episodes.ipynb).
#
# ## References
#
# - C. Finn, P. Abbeel, S. Levine, *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*, ICML 2017,
#   [arXiv:1703.03400](https://arxiv.org/abs/1703.03400).
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502).
# - B. Lake, R. Salakhutdinov, J. Tenenbaum, *Human-level concept learning through probabilistic program induction*,
#   Science 2015, [doi:10.1126/science.aab3050](https://doi.org/10.1126/science.aab3050).
