# %% [markdown]
# # Training theatre
#
# **Minutes:** 10. Press Start: a network is meta-trained while you watch. Pause it, move its inner rate while it runs,
# and start over with the other recipe.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"
n_way = 5
filters = 16

# %%
import torch

from mamlkit.datasets import load
from mamlkit.experiments import configure
from mamlkit.live.theatre import Theatre
from mamlkit.widgets import TrainingTheatre

torch.set_num_threads(1)
store = load(dataset)
length = {"epochs": 30 if fast else 100, "iterations_per_epoch": 50}
network = {"n_way": n_way, "filters": filters, "engine": "vmap", "device": "cpu"}


def make(recipe, rate):
    config = configure(recipe, inner_lr=rate, seed=seed, on_nonfinite="skip", **network, **length)
    return Theatre(config, store)


# %%
TrainingTheatre(make, {"maml": "MAML", "mamlpp": "MAML++"}, ahead=20)

# %% [markdown]
# **Watch.** The words are those of notebooks 03 (gradients), 06 (batch norm) and 07 (rates). A thin line is one
# meta-iteration of four tasks, a thick one the mean of the last twenty. The rest is measured every ten meta-iterations
# on one fixed task, of characters that are not trained on. Its *meta-gradient* after an inner step is the gradient,
# with respect to the start, of the query loss after that step. Its *batch-norm drift* is how far the statistics after
# the last step are from those before any, in standard deviations: the line is the mean of the four layers, the band
# goes from the lowest to the highest. The *fixed drawing* is classified by a network that is adapted to the five given
# ones anew each time: the bars show what the start is worth to this one task.
#
# **Move the rate while it trains.** With MAML every inner rate becomes the slider's. MAML++ learns a rate for each
# tensor and step: moved from 0.1 to 1, the slider multiplies all of them by 10. A dashed line marks when. Try 1 instead
# of 0.1. In one run, 150 meta-iterations after the change, query accuracy was down from 82 to 57 %, the drift up five
# times or more in every layer, and the norm of the meta-gradient after five steps up from 3 to 25. At 4 it was 35 %,
# and the norm above 1000: each inner step is one more factor in that gradient. At 0.01 it was 77 %. MAML++ with its
# rates times ten fared no better, from 84 to 49 %.
#
# **Start over with the other recipe.** Choose it, then press *Start over*. At 0.1 and to the end, MAML and MAML++ both
# came to 96 % query accuracy (mean of the last fifty, one run each): in this easy setting the fixes made no difference.
# See whether they do at 0.4; the slider's place is also where a new training begins. MAML++ trains with first order in
# its first third, up to meta-iteration 500: see whether the curves change when that ends.
#
# **What it does not show.** Loss and accuracy are of training tasks, and of one run; each query set is normalised as a
# whole. A result needs several seeds and test tasks. The fixed task is one task: its bars jump. Where a number is not
# finite, the curve has a gap and a red cross, the step is skipped, and the training goes on. It has one core, in a
# thread of the kernel: while another cell runs the figure waits, and the training does not. Only one theatre trains at
# a time.
