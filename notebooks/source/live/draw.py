# %% [markdown]
# # Draw
#
# **Minutes:** 10. Draw one example each of a few characters of your own, then one of them again. A network that has
# never seen them looks at your examples, takes five steps of gradient descent, and says which one it was.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 5

# %%
import numpy as np
import torch

from mamlkit.datasets.drawings import Sheet
from mamlkit.show.live.pictures import as_drawing, load_characters
from mamlkit.show.widgets import DrawingPad
from mamlkit.study import stored
from mamlkit.training.learner import MetaLearner

torch.set_num_threads(1)
maml, mamlpp = (stored.start(f"drawings-{name}") for name in ("maml", "mamlpp"))
starts = {"random start": MetaLearner.from_config(maml.config, (1, 28, 28)), "MAML": maml, "MAML++": mamlpp}

# %%
store = load_characters(dataset)
rng = np.random.default_rng(seed)


def example():
    """Return a sheet of test characters, as drawn by one hand, and one of them as drawn by another."""
    chosen = rng.choice(store.splits["test"], n_way, replace=False)
    pairs = [[as_drawing(image) for image in rng.permutation(store.class_images(label))[:2]] for label in chosen]
    return Sheet({f"{i + 1}": drawn for i, (drawn, _) in enumerate(pairs)}, pairs[rng.integers(n_way)][1])


examples = [example() for _ in range(3 if fast else 20)]
DrawingPad(starts, sheet=examples[0], examples=examples[1:])

# %% [markdown]
# **Draw.** The pad opens with examples. Press *Clear all*, and draw a character of your own with mouse, pen or
# finger; go on with the other classes, and then with *query*: one of your characters once more. *Add a class* makes up
# to ten, *Fill with examples* brings others. The bars answer as you lift the pen. Place and size do not count: each
# drawing is moved to the middle and scaled, as the characters of the training were.
#
# **Scrub.** The step slider goes through the adaptation, from the start that knows none of your characters to the
# network after five steps. All bars are of the query: a row is a class, a column a step.
#
# **Compare.** *random start* takes the same five steps from weights that nobody trained. *MAML* and *MAML++* start from
# weights that were trained to be adapted. The statistics are those of batch norm (notebook 06): with *batch*
# the query is normalised together with your examples, with *running* by the mean and spread recorded in training. The
# random start has recorded none; there, only *batch* makes sense.
#
# **Break it.** Draw the query badly, turned, or with your other hand. Draw two classes that look alike. Draw something
# that is none of them: the bars still add up to 100 %, and one of them may have it all.
#
# **Keep it.** *Export* saves your drawings as a small text file; *Import* brings one back. The drawings of everybody in
# the room become a data set on the page [wall](wall.ipynb). For it, give each character a name that all of you use:
# click its class and type into *name*.
