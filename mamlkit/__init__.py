"""Learn, see and reproduce MAML and MAML++ ("How to train your MAML", Antoniou, Edwards, Storkey, ICLR 2019).

    from mamlkit import Trainer, configure
    from mamlkit.datasets import load

    trainer = Trainer.from_config(configure("mamlpp", n_way=5, k_shot=1), load("glyphs"))
    for record in trainer.epochs():
        print(record.epoch, record.validation.accuracy)

The paper's terms and the names in this package:

    target set                      query set: ``query_x``, ``query_y``
    LSLR, learned inner rates       ``inner_lrs``, a row for each adapted tensor, a column for each inner step
    BNRS, per-step statistics       ``per_step_stats``; buffers ``norms.{i}.running_mean`` and ``running_var`` [K, C]
    BNWB, per-step weights, biases  ``per_step_bn``; parameters ``norms.{i}.weight`` and ``bias`` [K, C]
    MSL, multi-step loss            ``loss_weights``, one for each inner step
    DA, derivative-order annealing  ``second_order``, by epoch
    CA, cosine annealing            ``cosine_lr``
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mamlkit.core.system.imports import Lazy, load
from mamlkit.core.system.openmp import wait_briefly

if TYPE_CHECKING:
    from mamlkit.training.api import *  # noqa: F403

__version__ = "0.1.0"
_api = Lazy("mamlkit.training.api")  # with torch, which takes seconds to load

wait_briefly()  # before torch is loaded


def __getattr__(name: str) -> Any:
    """Return a public name, or import a room of the package."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'mamlkit' has no attribute {name!r}")
    return load(f"mamlkit.{name}") if find_spec(f"mamlkit.{name}") else getattr(_api, name)


def __dir__() -> list[str]:
    return [*globals(), *_api.__all__]
