# %% [markdown]
# # Time travel
#
# **Minutes:** 10. Walk through one inner loop. Point at a step of gradient descent, and everything about it is shown:
# where it stands on the loss surface, how far each tensor moves, and what the network makes of the query pictures.

# %% tags=["parameters"]
seed = 0
fast = True
dataset = "glyphs"

# %%
import torch

from mamlkit import MetaLearner
from mamlkit.core.episodes import EpisodeSampler
from mamlkit.datasets import load
from mamlkit.show.live.travel import travel
from mamlkit.show.widgets import TravelExplorer, show_progress
from mamlkit.study import stored

torch.set_num_threads(1)
maml, mamlpp = stored.start("maml"), stored.start("mamlpp")  # 5-way 1-shot
starts = {"random": MetaLearner.from_config(maml.config, (1, 28, 28)), "MAML": maml, "MAML++": mamlpp}
episode = EpisodeSampler(load(dataset), "test", n_way=5, k_shot=1, q_query=5, seed=seed).episode(0)
grid = 13 if fast else 21

# %%
done, travels = show_progress(len(starts)), {}
for name, learner in starts.items():
    done(len(travels))
    travels[name] = travel(learner, episode, grid=grid, seed=seed)
done(len(starts))
TravelExplorer(travels)

# %% [markdown]
# **Travel.** Point at a number in the top row, at a white point of the path, or anywhere on the curves; or move the
# slider with the arrow keys. Then choose another start: all three adapt to the same five pictures.
#
# **The surface** is the support loss around the orange point, in a plane of two directions. To the right goes the next
# step: minus the gradient times the rates. At the last point it is the step that was made. Upwards goes a random
# direction, at a right angle to the step and as long as it in every tensor, after [Li and others,
# 2018](https://arxiv.org/abs/1712.09913). The colours have a logarithmic scale of their own at each step, so read the
# numbers beside them. The two ends of the arrow lie in the plane. The other points are only projected onto it: the
# colour below them is not their loss, and one that looks near may be far off the plane.
#
# **One stride or five.** The numbers are those of this task, with seed 0. From the random start the five steps get
# shorter one by one, from a length of 1.5 to 0.085, and the query accuracy climbs from 20 to 64 %. From MAML's start
# the first step does it all: 1.3 long, from a loss of 1.8 to 0.002 and from 24 to 100 % of the query. The second is 200
# times shorter. MAML++ makes one stride of 3.3, nearly all of it in the last convolution, and then takes care of what
# is left.
#
# **Uphill.** A negative rate is framed: there the step climbs. In its first step MAML++ has two, both small, in its
# second three. After each step it also changes its batch norm, so the next step does not begin with the loss at the
# arrow's end; below the bars stand both. The biases of the convolutions stay where they are: the batch norm that
# follows takes every constant away, and what is left of their gradient is rounding.
#
# **Sideways.** From step 1 on, with MAML and MAML++, the contours stand nearly upright: along the step the loss
# changes, along the random direction hardly. That says little about the surface: of 7,205 parameters only a few
# combinations matter to one task, and a random direction is nearly at a right angle to all of them.
