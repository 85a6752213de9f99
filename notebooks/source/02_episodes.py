# %% [markdown]
# # 02 Episodes
#
# **Minutes:** 30 · **Prerequisites:** notebooks [00](00_welcome.ipynb) and [01](01_maml_from_scratch.ipynb).
#
# **Objectives.** After this notebook you can
# - draw an N-way K-shot episode from a set of classes, and say what may overlap and what must not;
# - say why labels are local to an episode, and measure what their order does;
# - tell the splits of the paper from those of its code;
# - tell two protocols of rotation apart, and say which one a result used.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 5
k_shot = 1
q_query = 2
n_places = 8

# %% [markdown]
# `dataset = "omniglot"` shows the real Omniglot, found in the folder `$MAMLKIT_DATA/omniglot` or downloaded once.
# *glyphs* comes with the kit: characters of many scripts, drawn from fonts and varied like handwriting.
#
# ## Set-up

# %%
import itertools
import math

import numpy as np
import torch

from mamlkit.core.episodes import Episode, EpisodeSampler
from mamlkit.core.networks import Conv4
from mamlkit.core.outer_loop import run_tasks
from mamlkit.core.problem import Problem
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.datasets import load
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import EpisodeExplorer

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
store = load(dataset)
sizes = {"n_way": n_way, "k_shot": k_shot, "q_query": q_query, "seed": seed}

# %% [markdown]
# ## 1. Splits are made of classes
#
# **Explain.** In ordinary learning, the test set holds new *images*. Here it holds new *classes*: meta-training never
# sees them in any form.
#
# **Predict.** Must the *scripts* (Greek, Armenian, ...) of the test set be new as well?
#
# **Run.**

# %%
script = [name.split("/")[0] for name in store.class_names]
scripts = {}
for split, classes in store.splits.items():
    scripts[split] = {script[c] for c in classes}
    print(f"{split:5} {len(classes):4} classes from {len(scripts[split])} scripts")
shared = len(scripts["train"] & scripts["test"])
print(f"scripts with classes in both train and test: {shared} of {len(set(script))}")

# %% [markdown]
# That depends on the protocol. For Omniglot the paper shuffles all 1,623 characters and takes 1,150 to train, 50 to
# validate and 423 to test. So its scripts are shared, and a test task is probably easier than one in a new script. For
# Mini-ImageNet the paper's text says 64, 12 and 24 classes; the split it cites, and the code, have 64, 16 and 20.
#
# **Check.** No class is in two splits.

# %%
members = [set(classes.tolist()) for classes in store.splits.values()]
assert all(a.isdisjoint(b) for a, b in itertools.combinations(members, 2))
assert set.union(*members) == set(range(len(store.class_names)))
print("disjoint, and complete")

# %% [markdown]
# ## 2. One episode
#
# **Explain.** Draw $N$ classes; of each, draw $K$ support and $q$ query images, none of them twice. So
#
# $$S = N \cdot K, \qquad Q = N \cdot q$$
#
# ($K$ counts pictures here. In the inner loop it counts steps. Both habits are old.)

# %%
sampler = EpisodeSampler(store, "train", **sizes)
episode = sampler.episode(0)
assert len(episode.support_x) == n_way * k_shot  # S = N K
assert len(episode.query_x) == n_way * q_query  # Q = N q
for name, part in zip(episode._fields, episode):
    print(f"{name:10} {list(part.shape)}")

# %% [markdown]
# An episode does not say which classes it holds; to the learner they are numbers. We look the names up by picture.
#
# **Predict.** Move through the episodes below. How often will the same class come back? There are hundreds of classes.
#
# **Run and explore.**

# %%
owner = {image.tobytes(): c for c in range(len(store.class_names)) for image in store.class_images(c)}


def as_stored(image):
    return (image * 255).round().byte().movedim(0, -1).squeeze(-1).numpy().tobytes()  # [C, H, W] -> [H, W(, C)]


def class_of(image):
    return owner[as_stored(image)]


def class_names(episode):
    return [store.class_names[class_of(image)].split(" ", 1)[-1].lower() for image in episode.support_x[::k_shot]]


shown = [sampler.episode(index) for index in range(n_places)]
EpisodeExplorer(shown, names=[class_names(episode) for episode in shown], title=f"{n_way}-way {k_shot}-shot episodes")

# %% [markdown]
# **Check.** Over 200 episodes: no image is in both sets, the labels are right, and the classes come from the split.

# %%
train_classes = set(store.splits["train"].tolist())
for index in range(200):
    support_x, support_y, query_x, query_y = sampler.episode(index)
    support = {image.numpy().tobytes() for image in support_x}
    assert not any(image.numpy().tobytes() in support for image in query_x)
    owners = [class_of(image) for image in support_x[::k_shot]]
    assert len(set(owners)) == n_way and set(owners) <= train_classes
    assert [class_of(image) for image in query_x] == [owners[label] for label in query_y]
print("200 episodes, no leak")


# %% [markdown]
# ### Exercise 2.1
#
# Given `images` of shape `[N, M, C, H, W]` (N classes with M images each), make an episode: the first `k_shot` images
# of each class are support, the others query. Return `support_x, support_y, query_x, query_y`, ordered by class.


# %%
def split_classes(images, k_shot):
    # answer: four tensors
    n_way, per_class = images.shape[:2]
    support_x = images[:, :k_shot].flatten(0, 1)
    query_x = images[:, k_shot:].flatten(0, 1)
    support_y = torch.arange(n_way).repeat_interleave(k_shot)
    query_y = torch.arange(n_way).repeat_interleave(per_class - k_shot)
    return support_x, support_y, query_x, query_y
    # end of answer


check("2.1", split_classes)
# hint("2.1")

# %% [markdown]
# ## 3. Labels are local
#
# **Explain.** A class is label 0 in one episode and label 3 in another. The order is drawn with the classes. Were it
# fixed, the network could learn the classes by heart and would need no support set.
#
# **Run.** Follow the one class that is drawn most often through many episodes.

# %%
seen = {}
for index in range(500 if fast else 5000):
    for label, image in enumerate(sampler.episode(index).support_x[::k_shot]):
        seen.setdefault(class_of(image), []).append(label)
most = max(seen, key=lambda c: len(seen[c]))
print(f"{store.class_names[most]}: drawn {len(seen[most])} times, with labels {sorted(set(seen[most]))}")

# %% [markdown]
# **Predict.** Take one episode and rename its labels in many orders: the same pictures, the same network, the same
# start. Does the accuracy after adaptation change? The task is the same.
#
# **Run.** An untrained network takes 5 inner steps under 24 random orders of the labels. Then the same again with the
# weights of its last layer set to zero.

# %%
torch.manual_seed(seed)
model = Conv4(sampler.image_shape[0], sampler.image_shape[1], n_way, filters=8)
problem = Problem(model, rule=SGD(0.1, n_steps=5))  # the loss is the cross-entropy unless another is given
meta, buffers = problem.start()
five_steps = StepConfig(last_step_only(5), second_order=False)

many_queries = EpisodeSampler(store, "train", **{**sizes, "q_query": 10})
support_x, support_y, query_x, query_y = many_queries.episode(0)
orders = [torch.randperm(n_way) for _ in range(24)]
batch = Episode(
    torch.stack([support_x.double()] * len(orders)),
    torch.stack([order[support_y] for order in orders]),  # new label = order[old label]
    torch.stack([query_x.double()] * len(orders)),
    torch.stack([order[query_y] for order in orders]),
)


def accuracies(params):
    with torch.no_grad():
        _, trace = run_tasks(problem, meta._replace(model=params), buffers, batch, five_steps)
    return trace.query_metric[:, -1]  # the accuracy, [orders, K] -> [orders]


spread = accuracies(meta.model)
level = accuracies({**meta.model, "head.weight": torch.zeros_like(meta.model["head.weight"])})
print(f"{len(orders)} orders of the labels: accuracy {spread.min():.2f} to {spread.max():.2f}")
print(f"last layer zero:         accuracy {level.min():.2f} to {level.max():.2f}")

# %% [markdown]
# The rows of the last layer start from different values, so a class with label 0 starts from other weights than a class
# with label 3. With equal rows nothing distinguishes the labels, and the order cannot matter. Ye and Chao found that
# the order matters for trained MAML too, and that one row shared by all labels removes the effect. Here the zeros also
# cost accuracy: with zero rows, the layers below get no gradient in the first step, and this network was not trained
# for it.
#
# **Check.**

# %%
assert spread.max() - spread.min() > 0
assert level.max() - level.min() < 1e-9
print("the order matters, unless the last layer starts alike for all labels")


# %% [markdown]
# ### Exercise 2.2
#
# Rename the labels of an episode. `permutation[label]` is the new label. Support and query must still belong together.


# %%
def relabel(support_y, query_y, permutation):
    # answer: two tensors
    return permutation[support_y], permutation[query_y]
    # end of answer


check("2.2", relabel)
# hint("2.2")

# %% [markdown]
# ## 4. Two ways to rotate
#
# **Explain.** Turned by 90°, a character becomes something new. The paper and its code use this differently.
#
# | `rotation=` | a quarter turn is | where | from |
# |---|---|---|---|
# | `"none"` | not used | - | - |
# | `"classes"` | a class of its own: four times as many classes | train, val **and** test | the paper's text |
# | `"episodes"` | drawn for each class in each episode; the class stays one | train only | the authors' code |
#
# So the code's test tasks are upright, and three quarters of the paper's are not. The first release of the code had a
# slip: it turned by 0° and 180° only.
#
# **Predict.** With `"classes"`, an episode can hold one character twice, in two positions, under two labels. How likely
# is that?
#
# **Run.** Of $4C$ classes we draw $N$. The draw after $i$ distinct characters must avoid $3i$ of the $4C - i$ left:
#
# $$p = 1 - \prod_{i=0}^{N-1} \left(1 - \frac{3i}{4C - i}\right)$$

# %%
print("rotation  split  classes  same character twice")
for rotation in ("none", "classes", "episodes"):
    for split in ("train", "val", "test"):
        turned = EpisodeSampler(store, split, rotation=rotation, **sizes)
        C = len(store.splits[split])
        p = 1 - math.prod(1 - 3 * i / (4 * C - i) for i in range(n_way)) if rotation == "classes" else 0.0  # p above
        print(f"{rotation:9} {split:5} {turned.n_classes:7}  {100 * p:.1f} %")

# %% [markdown]
# **Check.** `"episodes"` leaves the test split as it is, bit for bit; `"classes"` does not.

# %%
upright = EpisodeSampler(store, "test", **sizes).episode(0)
by_code = EpisodeSampler(store, "test", rotation="episodes", **sizes).episode(0)
by_paper = EpisodeSampler(store, "test", rotation="classes", **sizes)
assert torch.equal(upright.support_x, by_code.support_x)
in_store = [as_stored(image) in owner for index in range(20) for image in by_paper.episode(index).support_x]
assert 0.05 < np.mean(in_store) < 0.6  # a quarter of them are turned by 0 degrees
print(f"the code's test images are upright; of the paper's, {100 * np.mean(in_store):.0f} % are")

# %% [markdown]
# ## 5. The same episode again
#
# **Explain.** Here an episode depends, besides its sizes, on three things alone: the seed, the split and its index. No
# generator moves on in the background. A run that stops at episode 12,345 resumes there; the validation episodes stay
# the same in every epoch.
#
# In the authors' code the three "seeds" of an experiment share their first weights and their test tasks. On Omniglot,
# runs 0 and 2 share 72 % of their training episodes. The spread over such seeds can look smaller than it is.
#
# **Predict.** Is episode 7 of seed 0 the same as episode 7 of the next seed?
#
# **Run and check.**

# %%
again = EpisodeSampler(store, "train", **sizes)
other = EpisodeSampler(store, "train", **{**sizes, "seed": seed + 1})
again.episode(3)  # asking for another one first changes nothing
assert torch.equal(sampler.episode(7).query_x, again.episode(7).query_x)
assert not torch.equal(sampler.episode(7).query_x, other.episode(7).query_x)
print("same seed: equal; next seed: not")

# %% [markdown]
# ## Recap
#
# - Splits are made of classes; support and query share classes, never images.
# - Labels are local. Their order matters as long as the last layer treats labels differently.
# - Say which rotation protocol you used: the paper's text and its code differ.
# - An episode is a function of seed, split and index.
#
# ## References
#
# - A. Antoniou, H. Edwards, A. Storkey, *How to train your MAML*, ICLR 2019, section 4.1,
#   [arXiv:1810.09502](https://arxiv.org/abs/1810.09502), and the authors' code,
#   [HowToTrainYourMAMLPytorch](https://github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch).
# - H.-J. Ye, W.-L. Chao, *How to Train Your MAML to Excel in Few-Shot Classification*, ICLR 2022,
#   [arXiv:2106.16245](https://arxiv.org/abs/2106.16245).
# - B. Lake, R. Salakhutdinov, J. Tenenbaum, *Human-level concept learning through probabilistic program induction*,
#   Science 2015, [doi:10.1126/science.aab3050](https://doi.org/10.1126/science.aab3050).
