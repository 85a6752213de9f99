"""Named recipes: each is a function that returns a configuration with the changes in its docstring.

To add a fix: add a field to ``mamlkit.core.config``, implement it in its module (a schedule in ``schedules``, a network
layer in ``networks``, a step of the loops in ``inner_loop`` or ``outer_loop``), write its recipe here, and list it in
``RECIPES``. The command line and its help then include it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from mamlkit.core.baselines import meta_sgd, protonet, reptile
from mamlkit.core.config import Config
from mamlkit.core.errors import check_choice

# The fixes, as changes of plain MAML. A recipe has one or several of them.
MSL: dict[str, Any] = {"multi_step_loss": True, "msl_share": 0.1}
DA: dict[str, Any] = {"first_order_share": 1 / 3}
BN: dict[str, Any] = {"per_step_bn": True, "per_step_stats": True}
LSLR: dict[str, Any] = {"learn_inner_lrs": True}
CA: dict[str, Any] = {"cosine_lr": True, "min_outer_lr": 1e-5}


def maml(base: Config) -> Config:
    """Plain MAML, second order, with the protocol of the paper: the base of every other recipe.

    Text: Adam with a second-moment decay of 0.99, an ensemble of the best 3 epochs, and for Omniglot rotated
    characters as separate classes in every split; mini-ImageNet at 84x84 with 4 tasks (1-shot) or 2 (5-shot).
    Code: all details that the text leaves open. Inner rate 0.1, 64 filters (48 on mini-ImageNet, with the gradient
    clamped to +-10 there), batch-norm weights and biases learned and shared by all steps, and always the batch's own
    statistics.
    Neither: a budget for a laptop. 25 epochs of 100 iterations, where the text has 150 of 500; on Omniglot 4 tasks and
    5 query images per class, where the text has 16 tasks and the code 8 and 1, because the network then learns more in
    a minute. ``mamlpp-authors`` has the code's tasks and query images.
    """
    off = replace(
        base,
        multi_step_loss=False,
        second_order=True,
        first_order_share=0.0,
        per_step_bn=False,
        per_step_stats=False,
        norm_train="batch",
        norm_eval="batch",
        learn_inner_lrs=False,
        cosine_lr=False,
        adapt="all",
        beta2=0.99,
        ensemble=3,
    )
    if base.dataset == "omniglot":
        return replace(off, rotation="classes")
    if base.dataset == "mini-imagenet":
        n_tasks = 4 if base.k_shot == 1 else 2
        return replace(off, image_size=84, filters=48, q_query=15, eval_query=15, n_tasks=n_tasks, grad_clamp=10.0)
    return off


def fomaml(base: Config) -> Config:
    """First-order MAML: the outer derivative treats the inner gradient as a constant.

    Text: the approximation of the original MAML paper, discussed in section 3.1.
    """
    return replace(base, second_order=False)


def maml_msl(base: Config) -> Config:
    """Add the multi-step loss: the query loss after every inner step counts; the weights of early steps decrease.

    Text: a weighted sum, weights equal at first and then annealed towards the last step; no formula, no length.
    Code: the ramp of ``mamlkit.core.schedules.msl_weights`` over the first tenth of the epochs (10 of 100; 15 on
    mini-ImageNet), then only the last step. No loss of the unadapted network (the equation's i = 0), as in the code.
    """
    return replace(base, **MSL)


def maml_da(base: Config) -> Config:
    """Add derivative-order annealing: first-order epochs, then second-order epochs.

    Text: first-order for the first 50 of 150 epochs, here the first third. Code: switched off in every
    configuration of the last commit; the first release switched after 80 of 150 epochs, in MAML too.
    """
    return replace(base, **DA)


def maml_bn(base: Config) -> Config:
    """Add per-step batch norm: separate running statistics, weights and biases for each inner step.

    Text: the recorded statistics of each step normalise. Code: statistics are recorded, but the batch's own always
    normalise. Here: as in the code; each test also reports the accuracy with the recorded statistics on the query set,
    and ``norm_eval = "running"`` selects epochs, validates and reports with them.
    """
    return replace(base, **BN)


def maml_lslr(base: Config) -> Config:
    """Add learned inner rates, one for each adapted tensor and step; they may become negative.

    Text: one per layer and step. Code: one per tensor, so that a layer's weight and bias have one each, as here.
    """
    return replace(base, **LSLR)


def maml_ca(base: Config) -> Config:
    """Add cosine annealing of the outer rate.

    Text: cosine annealing, without a minimum. Code: down to 1e-5 on Omniglot, constant within an epoch, as here; its
    configurations of plain MAML on Omniglot anneal too.
    """
    return replace(base, **CA)


def mamlpp(base: Config) -> Config:
    """MAML++: all six fixes of the paper, so ``maml+msl``, ``da``, ``bn``, ``lslr`` and ``ca`` together.

    Text: the list of fixes, which includes first-order epochs. Code: the details that the text leaves open, and batch
    statistics at evaluation; each fix as in its own recipe. Budget as ``maml``.
    In first-order epochs after the end of the multi-step loss, only the last step's batch-norm rows learn.
    """
    return replace(base, **MSL, **DA, **BN, **LSLR, **CA)


def mamlpp_text(base: Config) -> Config:
    """MAML++ whose query sets are normalised by the recorded statistics, in training and at evaluation.

    Text: the statistics recorded for each inner step normalise. Code: they are recorded and never used, so nobody ran
    this variant. Here: support sets keep their own statistics, because an inner step needs some before any are
    recorded; the recorded statistics are constants of the meta-gradient. Otherwise as ``mamlpp``.
    """
    return replace(base, norm_train="running", norm_eval="running")


def mamlpp_authors(base: Config) -> Config:
    """MAML++ as in the last commit of the authors' code (86964701, November 2021), except for budget and pixels.

    Code: second order from the start, Adam's usual 0.999, an ensemble of the best 5 epochs, 8 tasks, 1 query image
    per class, and on Omniglot a random quarter turn per class and episode, in training only. On mini-ImageNet 2 tasks,
    15 query images, and a constant outer rate: the cosine ends where it starts.
    Text: differs in all of these, or does not mention them.
    Not taken from the code: its 100 epochs of 500 iterations and 600 validation episodes (set them as options), and
    its images, which are resized without smoothing and stay dark on light.
    """
    code = replace(base, first_order_share=0.0, beta2=0.999, ensemble=5)
    if base.dataset == "mini-imagenet":
        return replace(code, n_tasks=2, msl_share=0.15, cosine_lr=False)
    rotation = "episodes" if base.dataset == "omniglot" else base.rotation
    return replace(code, n_tasks=8, q_query=1, eval_query=1, rotation=rotation)


def anil(base: Config) -> Config:
    """Almost no inner loop: only the head adapts. Raghu et al., ICLR 2020; protocol as ``maml``."""
    return replace(base, adapt="head")


def boil(base: Config) -> Config:
    """Body only in the inner loop: all layers except the head adapt. Oh et al., ICLR 2021; protocol as ``maml``."""
    return replace(base, adapt="body")


def maml_wd(base: Config) -> Config:
    """Add weight decay in the inner loop: each step also pulls the adapted tensors towards 0.

    Not in the paper: notebook 11 adds this seventh fix, from idea to ablation; protocol as ``maml``.
    """
    return replace(base, inner_decay=1e-3)


class Recipe(NamedTuple):
    """A named recipe, its base recipe, and its changes as a function of a configuration."""

    name: str
    base: str
    change: Callable[[Config], Config]

    @property
    def doc(self) -> str:
        """The function's docstring: the settings from the paper's text, and those from the authors' code."""
        return inspect.getdoc(self.change) or ""

    def apply(self, config: Config) -> Config:
        """Return a configuration with the base recipe and then this recipe applied."""
        return self.change(self._start(config))

    def changes(self, config: Config) -> dict[str, Any]:
        """Return the fields that this recipe sets differently from its base, for the data set of ``config``."""
        start = self._start(config)
        return self.change(start).difference(start)

    def _start(self, config: Config) -> Config:
        return RECIPES[self.base].apply(config) if self.base else config


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("maml", "", maml),
        Recipe("fomaml", "maml", fomaml),
        Recipe("maml+msl", "maml", maml_msl),
        Recipe("maml+da", "maml", maml_da),
        Recipe("maml+bn", "maml", maml_bn),
        Recipe("maml+lslr", "maml", maml_lslr),
        Recipe("maml+ca", "maml", maml_ca),
        Recipe("mamlpp", "maml", mamlpp),
        Recipe("mamlpp-text", "mamlpp", mamlpp_text),
        Recipe("mamlpp-authors", "mamlpp", mamlpp_authors),
        Recipe("anil", "maml", anil),
        Recipe("boil", "maml", boil),
        Recipe("maml+wd", "maml", maml_wd),
        Recipe("meta-sgd", "maml", meta_sgd),
        Recipe("reptile", "maml", reptile),
        Recipe("protonet", "maml", protonet),
    )
}


def configure(recipe: str, **values: Any) -> Config:
    """Return the configuration of a recipe; the given values override the recipe's own.

    Args:
        recipe: a name in ``RECIPES``.
        values: fields of ``mamlkit.core.config.Config``.

    Raises:
        InputError: the recipe or a key is unknown, or a value is not allowed.

    >>> configure("mamlpp", n_way=20, n_steps=3).learn_inner_lrs
    True
    """
    check_choice("recipe", recipe, tuple(RECIPES))
    return Config.from_dict(values, RECIPES[recipe].apply(_before_recipe(values)))


def _before_recipe(values: dict[str, Any]) -> Config:
    """Return the settings that a recipe may depend on: the data set and the shots."""
    return Config.from_dict({key: values[key] for key in ("dataset", "k_shot") if key in values})
