# %% [markdown]
# # 10 Your own data
#
# **Minutes:** 30 · **Prerequisites:** notebooks [00](00_welcome.ipynb) and [02](02_episodes.ipynb).
#
# **Objectives.** After this notebook you can
# - lay out a folder of pictures so that the kit reads it;
# - bring pictures into the form that a start was trained on, and measure what it costs not to;
# - adapt a stored start to classes of your own, and see which pictures go wrong;
# - compare it with a random start and with nearest neighbour, with intervals, and say what the intervals leave out.

# %% tags=["parameters"]
seed = 0
fast = True
folder = ""
k_shot = 1
q_query = 4
n_places = 4

# %% [markdown]
# Put the path of your own pictures into `folder`. While it is empty, a small stand-in is drawn.
#
# ## Set-up

# %%
import contextlib
import io
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw

from mamlkit.core.episodes import EpisodeSampler
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import adapt
from mamlkit.core.schedules import eval_config
from mamlkit.datasets import load
from mamlkit.show.course import check, hint
from mamlkit.show.widgets import WallExplorer
from mamlkit.study import stored
from mamlkit.training.evaluation import evaluate, mean_ci95
from mamlkit.training.learner import MetaLearner

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the printed digits are the same on every machine
n_way = 5  # what the stored start was trained for
n_episodes = 30 if fast else 300

# %% [markdown]
# ## 1. A folder of pictures
#
# **Explain.** One folder for each class, its name is the name of the class, and in it the pictures: any size, gray or
# colour, PNG or JPEG or another usual format.
#
# ```
# pictures/
#     cup/    IMG_01.jpg  IMG_02.jpg ...
#     key/    IMG_17.jpg ...
# ```
#
# Five classes are the least for 5-way tasks. One picture of a class is shown to the network, the others are asked for.
#
# The stand-in is eight doodles, drawn with a shaky hand, pens of all colours, and on sheets of all sizes:

# %%
turn = 2 * np.pi * np.linspace(0, 1, 13)[:, None]
DOODLES = {
    "circle": np.hstack([np.cos(turn), np.sin(turn)]),
    "cross": [(-1, 0), (1, 0), (0, 0), (0, 1), (0, -1)],
    "fish": [(1, -0.6), (-0.6, 0.5), (-1, 0), (-0.6, -0.5), (1, 0.6), (1, -0.6)],
    "house": [(-0.8, 1), (-0.8, -0.2), (0, -1), (0.8, -0.2), (0.8, 1), (-0.8, 1)],
    "spiral": np.hstack([np.cos(2 * turn), np.sin(2 * turn)]) * np.linspace(0.1, 1, 13)[:, None],
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9), (-0.9, -0.9)],
    "triangle": [(0, -1), (0.9, 0.8), (-0.9, 0.8), (0, -1)],
    "zigzag": [(-1, 0.6), (-0.5, -0.6), (0, 0.6), (0.5, -0.6), (1, 0.6)],
}


def doodle(corners, rng):
    """Draw one doodle: shaken, turned, stretched, in a dark colour on light paper."""
    size = rng.integers(60, 140, 2)  # width and height in pixels
    angle = rng.normal(0, 0.25)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (np.array(corners) + rng.normal(0, 0.08, np.shape(corners))) @ rotation
    points = (0.5 + rng.uniform(0.25, 0.4, 2) * points + rng.normal(0, 0.04, 2)) * size
    image = Image.new("RGB", tuple(size.tolist()), "ivory")
    pen = {"fill": tuple(rng.integers(0, 140, 3).tolist()), "width": int(rng.integers(3, 8))}
    ImageDraw.Draw(image).line([tuple(point) for point in points.tolist()], joint="curve", **pen)
    return image


stand_in = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # gone when the kernel is
if not folder:
    os.environ["MAMLKIT_CACHE"] = str(Path(stand_in.name, "cache"))  # so that nothing is left behind
    rng = np.random.default_rng(seed)
    for label, corners in DOODLES.items():
        for number in range(20):
            file = Path(stand_in.name, "pictures", label, f"{number:02}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            doodle(corners, rng).save(file)

# %% [markdown]
# **Predict.** The network wants 28 x 28 pixels. What will a tall sheet look like after that?
#
# **Run.** Every picture is turned upright, laid on white and resized; its proportions are not kept.

# %%
place = folder or str(Path(stand_in.name, "pictures"))
with contextlib.redirect_stderr(io.StringIO()):  # a progress bar, while the pictures are read for the first time
    store = load("folder", path=place, image_size=28)
print(f"{len(store.class_names)} classes, {len(store.images)} pictures of {store.images.shape[1:]}")
for number, name in enumerate(store.class_names[:8]):
    print(f"{name:10} {len(store.class_images(number))} pictures")

# %%
rows = min(8, len(store.class_names))
figure, axes = plt.subplots(2, rows, figsize=(7, 2), squeeze=False)
for (row, column), ax in np.ndenumerate(axes):
    pictures = store.class_images(column)
    ax.imshow(pictures[row % len(pictures)], cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    if row == 0:
        ax.set_title(store.class_names[column][:10], fontsize="small")
plt.show()

# %% [markdown]
# **Check.** A wrong path is one clear sentence, not a traceback.

# %%
try:
    load("folder", path="no-such-folder")
except InputError as error:
    print(error)

# %% [markdown]
# ## 2. The form that the start knows
#
# **Explain.** A start is only as good as the likeness of your pictures to those it was trained on. The stored one saw
# characters of 28 x 28 pixels: one channel, and **light ink on dark**. Pen on paper is the other way round, and a
# photograph is in colour.
#
# ### Exercise 10.1
#
# Write the translation for one picture, `[H, W]` or `[H, W, 3]` in 0..255: gray, in 0..1, light ink on dark. A picture
# with dark paper stays as it is.


# %%
def as_ink(image):
    # answer: [H, W] in 0..1
    gray = image.mean(-1) / 255 if image.ndim == 3 else image / 255
    return 1 - gray if gray.mean() > 0.5 else gray
    # end of answer


check("10.1", as_ink)
# hint("10.1")

# %% [markdown]
# **Run.** The same for a whole store at once. Your classes were in nobody's training, so all of them may be test
# classes: the split of 64, 16 and 20 % is not needed here.


# %%
def prepare(store, *, gray=True, invert=True):
    """Return a store with pictures in gray, inverted, and with every class in the test split."""
    images = store.images
    if gray and images.ndim == 4:
        images = images.mean(-1).round().astype(np.uint8)  # [n, H, W, 3] -> [n, H, W]
    images = 255 - images if invert else np.array(images)
    none = np.array([], dtype=np.int64)
    everything = {"train": none, "val": none, "test": np.arange(len(store.class_names))}
    return replace(store, images=images, splits=everything)


light_paper = store.images.mean() > 127.5
ink = prepare(store, invert=light_paper)
sizes = {"n_way": n_way, "k_shot": k_shot, "q_query": q_query, "seed": seed}
sampler = EpisodeSampler(ink, "test", **sizes)
paper = np.median(ink.images)
print(f"{'inverted' if light_paper else 'left as it was'}; the usual pixel is now {paper:.0f} of 255")

# %% [markdown]
# **Check.** Dark is the rule, ink the exception.

# %%
assert ink.images.shape[1:] == (28, 28)
assert ink.images.mean() < 127.5
print("gray, light on dark")

# %% [markdown]
# ## 3. Three ways to learn from a few pictures
#
# **Explain.** *Nearest neighbour*: the label of the nearest support picture, by its pixels; nothing is learned. *Random
# start*: the inner loop from fresh weights. *MAML's start*: the same inner loop from the weights that MAML found on
# characters.
#
# $$\theta_{k+1} = \theta_k - \alpha \nabla L_{\text{support}}(\theta_k), \qquad k = 0 \dots K - 1$$
#
# **Predict.** The start was trained on characters of many scripts, never on doodles or on your pictures. Will it beat
# nearest neighbour? Which classes will be confused with each other?
#
# **Run.**

# %%
learner = stored.start("maml", dtype="float64")
random_learner = MetaLearner.from_config(learner.config, sampler.image_shape)
K = learner.config.n_steps


def labels_by_step(learner, task):
    """Return the label of each query picture after 0..K inner steps, [K + 1, Q]."""
    task = learner.to_device(task)
    with torch.no_grad():
        steps = adapt(learner.problem, learner.meta, learner.buffers, task, eval_config(learner.config, "batch"))
        starts = [learner.params, *(step.params for step in steps)]  # theta_0 .. theta_K
        logits = [
            learner.problem.forward(params, learner.buffers, task.query_x, max(k - 1, 0))[0]
            for k, params in enumerate(starts)
        ]
    return torch.stack(logits).argmax(-1)


def nearest_labels(task):
    distances = torch.cdist(task.query_x.double().flatten(1), task.support_x.double().flatten(1))  # [Q, S]
    return task.support_y[distances.argmin(1)]


exam = [sampler.episode(index) for index in range(n_episodes)]
true = exam[0].query_y  # [Q]: ordered by class in every episode
given = {
    "random start": torch.stack([labels_by_step(random_learner, task) for task in exam]),  # [E, K + 1, Q]
    "MAML's start": torch.stack([labels_by_step(learner, task) for task in exam]),
}


# %%
def report(name, labels):
    mean, half = mean_ci95((labels == true).double().mean(-1))  # [E, Q] -> [E]
    print(f"{name:28} {100 * mean:3.0f} +- {100 * half:.0f} %")
    return mean


neighbours = torch.stack([nearest_labels(task) for task in exam])
neighbour = report("nearest neighbour", neighbours)
fresh = report(f"random start, {K} steps", given["random start"][:, K])
unadapted = report("MAML's start, 0 steps", given["MAML's start"][:, 0])
adapted = report(f"MAML's start, {K} steps", given["MAML's start"][:, K])

# %% [markdown]
# **Check.** Without a step the start knows nothing about your classes; with the steps it does.

# %%
assert adapted > unadapted
in_library = evaluate([learner], sampler, 4)
by_hand = (given["MAML's start"][:4, K] == true).double().mean()
assert abs(in_library.accuracy - float(by_hand)) < 1e-6
scores = {"nearest neighbour": neighbour, "random start": fresh, "MAML's start": adapted}
print(f"the library's evaluate() agrees; the best here: {max(scores, key=scores.get)}")

# %% [markdown]
# ## 4. The class wall
#
# **Run and explore.** Each row is a class, its support pictures left. Below each query picture stands the label it was
# given, with ✓ or ✗. Move the inner step, change the start, and look for the pictures that stay wrong.

# %%
shown = exam[:n_places]
by_step = {name: labels[:n_places].movedim(0, 1).numpy() for name, labels in given.items()}  # -> [K + 1, E, Q]
WallExplorer(
    shown,
    by_step,
    names=[sampler.class_names(index) for index in range(len(shown))],
    title="Which of your pictures are recognised",
    at=(0, K, 1),
)


# %% [markdown]
# ### Exercise 10.2
#
# A single percentage hides *which* classes are mistaken. Count it: row = true label, column = the label given.


# %%
def confusion(given, true, n_way):
    # answer: [n_way, n_way] counts
    table = torch.zeros(n_way, n_way, dtype=torch.int64)
    for t, g in zip(true, given):
        table[t, g] += 1
    return table
    # end of answer


check("10.2", confusion)
# hint("10.2")

# %% [markdown]
# **Run.** The labels are local to an episode, so the counts go by the names of the classes:

# %%
wrong = {}
for index, labels in enumerate(given["MAML's start"][:, K]):
    names = sampler.class_names(index)
    for t, g in zip(true[labels != true].tolist(), labels[labels != true].tolist()):
        wrong[names[t], names[g]] = wrong.get((names[t], names[g]), 0) + 1
for (one, other), count in sorted(wrong.items(), key=lambda item: -item[1])[:3]:
    print(f"{one} taken for {other}: {count} times")
print(f"{sum(wrong.values())} of {len(exam) * len(true)} query pictures wrong")

# %% [markdown]
# ## 5. What can go wrong
#
# **Ink on paper.** **Predict.** Leave the pictures as they are, dark on light. What happens to nearest neighbour, and
# what to the network? **Run both.**

# %%
turned = EpisodeSampler(prepare(store, invert=not light_paper), "test", **sizes)
wrong_way = [turned.episode(index) for index in range(n_episodes)]
neighbour_turned = report("nearest, dark on light", torch.stack([nearest_labels(task) for task in wrong_way]))
final = torch.stack([labels_by_step(learner, task)[K] for task in wrong_way])
adapted_turned = report("MAML's start, dark on light", final)

# %% [markdown]
# A distance between two pictures stays the same when both are inverted, so nearest neighbour cannot notice. A network
# can: its weights, and the zeros around the picture's edge, mean light ink on dark. **Check.**

# %%
assert abs(neighbour_turned - neighbour) < 0.01
print(f"nearest neighbour: the same; MAML's start: {100 * (adapted_turned - adapted):+.0f} points")

# %% [markdown]
# **Colour.** The stored start has one channel; a picture with three does not fit. Is much lost by going gray? Nearest
# neighbour can tell. **Predict:** does colour help it, or lead it astray?

# %%
full = EpisodeSampler(prepare(store, gray=False, invert=light_paper), "test", **sizes)
in_colour = torch.stack([nearest_labels(full.episode(index)) for index in range(n_episodes)])
difference = report(f"nearest, {full.image_shape[0]} channels", in_colour) - report("nearest, gray", neighbours)
print(f"colour instead of gray: {100 * difference:+.0f} points")

# %% [markdown]
# The doodles' pens have random colours, so there colour says nothing about the class. For flags it would.
#
# **Faint ink.** The characters of the training are pure black and white. A pencil is gray, and a thin line fades when
# the picture shrinks. **Predict:** does it help to make all ink full, that is every pixel above half of the picture's
# brightest? **Run both.**

# %%
strongest = ink.images.max((1, 2), keepdims=True)  # [n, 1, 1]
bold = replace(ink, images=np.where(ink.images > strongest / 2, 255, 0).astype(np.uint8))
bold_sampler = EpisodeSampler(bold, "test", **sizes)
full_ink = torch.stack([labels_by_step(learner, bold_sampler.episode(index))[K] for index in range(n_episodes)])
drawn = given["MAML's start"][:, K]
report("MAML's start, as drawn", drawn)
report("MAML's start, full ink", full_ink)
gain, half = mean_ci95((full_ink == true).double().mean(1) - (drawn == true).double().mean(1))
print(f"on the same episodes: {100 * gain:+.0f} +- {100 * half:.0f} points")

# %% [markdown]
# **Too few pictures.** A class needs `k_shot + q_query` of them. The message names the class.

# %%
try:
    EpisodeSampler(ink, "test", n_way=n_way, k_shot=10_000, q_query=q_query, seed=seed)
except InputError as error:
    print(str(error).split(" images of")[0], "images of a class")

# %% [markdown]
# **Pictures that help each other.** The query pictures above were normalised together, as in the authors' code: each
# answer depends on the others (*transductive*; notebook [06](06_batch_norm.ipynb)). In use, pictures come one at a
# time. With the statistics recorded on characters, no answer depends on another:

# %%
recorded = evaluate([learner], sampler, n_episodes, norm="running")
print(f"normalised together          {100 * adapted:.0f} %")
print(f"recorded statistics          {100 * recorded.accuracy:.0f} +- {100 * recorded.ci95:.0f} %")

# %% [markdown]
# **What the interval leaves out.** It is over episodes, that is over draws from *these* classes and *these* pictures.
# It does not know how other classes, or another person's pictures, would do. With a handful of classes that is the
# larger doubt: name the number of classes beside every percentage.
#
# ## Recap
#
# - One folder for each class; the kit does the rest.
# - First the form: channels, size, and ink light on dark. Measure what each step of it changes.
# - Compare with nearest neighbour and with a random start, on the same episodes.
# - Look at the wall before you trust the percentage.
# - To train on your pictures: `mamlkit train --dataset folder --data-path pictures`; that needs many classes.
# - Next: [11 Extend it](11_extend_it.ipynb).
#
# ## References
#
# - C. Finn, P. Abbeel, S. Levine, *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*, ICML 2017,
#   [arXiv:1703.03400](https://arxiv.org/abs/1703.03400).
# - J. Bronskill and others, *TaskNorm: Rethinking Batch Normalization for Meta-Learning*, ICML 2020,
#   [arXiv:2003.03284](https://arxiv.org/abs/2003.03284).
