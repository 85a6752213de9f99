# %% [markdown]
# # You against MAML
#
# **Minutes:** 10. You play twenty rounds. Each shows the picture of a character, and twenty more of twenty different
# characters. One of them is the same character by another hand: find it, by mouse, touch or keyboard. MAML, MAML++,
# nearest neighbour and *chance*, a blind guess, answer the same rounds.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_rounds = 20
n_way = 20

# %%
import torch

from mamlkit.show.live.game import make_game
from mamlkit.show.live.pictures import as_drawn, load_characters
from mamlkit.show.widgets import GamePlayer, show_progress
from mamlkit.study import stored

torch.set_num_threads(1)
names = {"MAML": "drawings-maml", "MAML++": "drawings-mamlpp"}
starts = {label: stored.start(name, dtype="float64") for label, name in names.items()}
store = load_characters(dataset)


def deal(seed, on_round):
    return make_game(store, starts, as_drawn, n_rounds=n_rounds, n_way=n_way, seed=seed, on_round=on_round)


# %%
game = deal(seed, show_progress(n_rounds))
GamePlayer(game, deal)

# %% [markdown]
# **Who knows what.** The characters come from the test part of the data set: neither start has seen them, and you may
# not read all of these scripts either. But you have years of reading and drawing behind you. The starts have
# 16,000 tasks like this one behind them, on other characters; in each round they adapt to the twenty pictures in five
# gradient steps. Nearest neighbour has learned nothing: it takes the picture whose pixels differ least. The page
# shows the pictures in black and white; the rivals get them with the gray edges of the pen.
#
# **What to look for.** Are the rounds that you lose those that the networks lose? Some rounds deceive everybody, some
# only nearest neighbour: which strokes make the difference? Play once for a high score and once as fast as you can, and
# see what a second is worth to you.
#
# **How much a game says.** Twenty rounds are few: the page gives one standard error with your score, and only a lead of
# about three standard errors is more than luck. *Another game* deals other rounds; it needs a running kernel. In
# JupyterLab, set `fast = False` in the first code cell and run all: then the rivals also play thirty games by
# themselves.

# %%
if not fast:
    games = [deal(seed + 1 + number, show_progress(n_rounds)) for number in range(30)]
    for name in game.rivals:
        share = sum(played.scores()[name] for played in games) / (30 * n_rounds)
        error = (share * (1 - share) / (30 * n_rounds)) ** 0.5
        print(f"{name}: {100 * share:.1f} % of {30 * n_rounds} rounds, one standard error {100 * error:.1f}")
