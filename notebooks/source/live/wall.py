# %% [markdown]
# # Class wall
#
# **Minutes:** 15. A whole class draws the same few characters, and the class's own alphabet becomes a test. Agree on
# the characters and on one name for each. On the page [draw](draw.ipynb) each of you draws them, types the names into
# *name*, and presses *Export*. Rename the file to your own name, and put all files into one folder. Which of your
# characters does a network recognise that has never seen any of them, from one example each?

# %% tags=["parameters"]
seed = 0
fast = True
folder = ""
n_way = 5

# %%
import html
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown

from mamlkit import InputError
from mamlkit.show.live.game import NEAREST
from mamlkit.show.live.wall import answer, open_wall, write_sample
from mamlkit.show.numbers import percent
from mamlkit.show.widgets import WallExplorer, show_progress
from mamlkit.study import stored

torch.set_num_threads(1)
warnings.filterwarnings("ignore", "Glyph .* missing")  # in a still; the name of a character may be in any script
names = {"MAML": "drawings-maml", "MAML++": "drawings-mamlpp"}
starts = {label: stored.start(name, dtype="float64") for label, name in names.items()}
n_episodes = 24 if fast else 200

# %% [markdown]
# ## Who drew what
#
# Without a folder, this is an invented class: the sheets of its twelve students are traced from pictures of ten test
# characters of the data set *glyphs*. For your own drawings run `mamlkit dash wall --sheets FOLDER`; or, in JupyterLab,
# set `folder` in the first code cell and run all. A row is a file, a column the name of a character; where somebody
# drew nothing, it is gray.

# %%
sample = tempfile.TemporaryDirectory()
write_sample(Path(sample.name), seed=seed)
try:
    wall = open_wall(folder or sample.name, n_way=n_way, seed=seed)
except InputError as error:
    folder = ""
    wall = open_wall(sample.name, n_way=n_way, seed=seed)
    print(f"{error}. So this is the invented class.")

alphabet, drawers = wall.store.class_names, list(wall.sheets)
whose = f"the sheets in {folder}" if folder else "the invented class"
fig, ax = plt.subplots(figsize=(1.2 + 0.45 * len(alphabet), 0.8 + 0.45 * len(drawers)), dpi=110)
ax.imshow(wall.contact_sheet(), cmap="gray", vmin=0, vmax=255)
ax.set_xticks([28 * i + 14 for i in range(len(alphabet))], alphabet, parse_math=False)
ax.set_yticks([28 * i + 14 for i in range(len(drawers))], drawers, parse_math=False)
ax.tick_params(length=0, labeltop=True, labelbottom=False)
ax.set_title(f"{len(drawers)} drawers, {len(alphabet)} characters: {whose}", fontsize="medium")
plt.show()
if wall.copies:
    print(f"Left out, because an earlier sheet has the very same drawing: {', '.join(wall.copies)}")
if wall.lonely:
    print(f"Drawn by one person alone, and so not asked: {', '.join(wall.lonely)}")

# %% [markdown]
# ## Who recognises it
#
# An episode takes a few of the characters, one drawing of each as the example, and asks for another drawing of each.
# MAML and MAML++ adapt to the examples in five gradient steps. Nearest neighbour takes the example whose pixels differ
# least. Each question is asked by itself: a query picture is normalised together with the examples alone.

# %%
answers = answer(wall, starts, episodes=n_episodes, on_episode=show_progress(n_episodes))
way = wall.sampler.n_way
rows = [f"| {method} | {percent(*answers.accuracy(method))} |" for method in answers.labels]
basis = (
    f"{n_episodes} episodes of {way} characters with one example each, {n_episodes * way} questions, "
    f"out of {len(wall.store.images)} drawings: {len(alphabet)} characters by {len(drawers)} drawers"
)
Markdown(
    "\n".join(["| method | right (%) |", "|---|---|", *rows, f"| guessing | {percent(1 / way)} |", "", basis + "."])
)

# %% [markdown]
# The ± is a 95 % interval over these episodes; near 100 % it is a rough guide. The episodes are drawn from the same
# drawings again and again, so it says how well this class's alphabet is known, not how the next class would fare: for
# that, the number of characters and of drawers counts, and both are small. Two methods whose intervals overlap are not
# told apart here. The invented class is an easy one: the starts have been trained on other characters of *glyphs*,
# traced in the same way. Real hands differ more.
#
# ## Which questions went wrong
#
# Move *episode* to see other questions, and *inner step* to see the answers settle. Choose another *method* and see
# whether it stumbles over the same drawings. Nearest neighbour takes no step.

# %%
n_places = 4 if fast else 12
WallExplorer(
    answers.episodes[:n_places],
    {method: labels[:, :n_places] for method, labels in answers.labels.items()},
    names=answers.names[:n_places],
    title="What each drawing was taken for",
    series="method",
    stepless=[NEAREST],
    at=(0, 5, 1),
)

# %% [markdown]
# ## What is confused most
#
# The pairs that all methods together confuse most, after the last step. *Asked* counts the questions in which the other
# character stood there to be chosen.

# %%
head = ["character", "taken for", "asked", *answers.labels]
worst = [[c.true, c.given, c.asked, *c.times.values()] for c in answers.confusions()[:6]]
lines = [head, ["---"] * len(head), *worst]
Markdown(
    "\n".join(f"| {' | '.join(html.escape(str(cell)).replace('|', '&#124;') for cell in line)} |" for line in lines)
)

# %% [markdown]
# **Try.** Before you look: which two characters of your alphabet would you expect to be confused? Are they, and by
# which method? Find a drawing that nearest neighbour gets wrong: do the others? Look for it in the table of drawings
# above.
#
# **Make it harder.** Invent a second alphabet whose characters look alike, or agree on a character that each of you
# draws in another way. Set `n_way` to the whole alphabet: more to choose from is more to confuse.
#
# **Be fair.** A class that knows what it is tested on draws neatly. Let half of you draw fast.
