"""The learning problem as a value: a network, a loss, the rule of the inner loop, and a metric.

Axis letters: ``N`` way, ``Q`` query images.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mamlkit.core.batch_norm import NORM_LAYERS, check_tables
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.forward import SHIPPED_FUNCTIONS, apply, call_network, check, check_network, own_modules
from mamlkit.core.metrics import accuracy
from mamlkit.core.networks import SHIPPED, build
from mamlkit.core.rules import Rule, Tensors, is_shipped, rule_of, start
from mamlkit.core.transforms import Params

Loss = Callable[[Any, Any], Tensor]  # (outputs, targets) -> scalar
Metric = Callable[[Any, Any], Tensor]  # (outputs, targets) of one task -> scalar in [0, 1], or NaN


class MetaParams(NamedTuple):
    """The tensors that the outer loop learns.

    Attributes:
        model: every parameter of the network that requires a gradient, by name; each inner loop starts from them.
        rule: the rule's tensors by name; for ``SGD``, ``inner_lrs`` [n_adapted, K] with the rows ``Problem.adapted``; a
            negative rate ascends.
    """

    model: Params
    rule: Tensors

    @property
    def inner_lrs(self) -> Tensor:
        """The rule's table of inner rates, [n_adapted, K]."""
        return self.rule["inner_lrs"]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Problem:
    """A network with its loss, rule and metric.

    Args:
        network: any module of one input, ``network(x) -> outputs``; or a module that takes the inner step,
            ``network(x, step, norm) -> (outputs, statistics)``, see ``mamlkit.core.networks``. Parameters that require
            no gradient stay constant. Meta-training starts from a copy of the network's weights.
        loss: ``(outputs, targets) -> scalar``; tensors of its own stay constant.
        rule: the update rule of the inner loop; None: the configuration's, see ``mamlkit.core.rules.rule_of``.
        metric: ``(outputs, targets) -> scalar`` in [0, 1] for one task; NaN if the task has none.
        adapt: tensors that the inner loop updates: ``"all"`` (MAML), ``"head"`` (ANIL) or ``"body"`` (BOIL); the last
            two need a last layer called ``head``; None: the configuration's ``adapt``.
        adapt_norms: whether normalisation layers adapt too; None: the configuration's ``adapt_norms``.

    Raises:
        InputError: see ``mamlkit.core.forward.check_network``.
    """

    network: nn.Module
    loss: Loss = F.cross_entropy
    rule: Rule | None = None
    metric: Metric = accuracy
    adapt: str | None = None
    adapt_norms: bool | None = None

    def __post_init__(self) -> None:
        """Check the network."""
        check_network(self.network)

    @classmethod
    def from_config(cls, config: Config, image_shape: tuple[int, int, int]) -> Problem:
        """Build the network of a configuration, initialised from its seed; torch's generator stays unchanged.

        The user's own function, ``backbone = "module:function"``, returns a network or a whole problem. For
        prototypical networks a layer called ``head`` becomes an identity: the outputs are the embeddings.

        Args:
            config: see ``mamlkit.core.config.Config``.
            image_shape: (C, H, W) of the data.

        Raises:
            InputError: the function cannot be imported, fails, or returns anything else.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)  # torch.manual_seed would reseed every GPU too
            made = build(config, image_shape)
        if not isinstance(made, (Problem, nn.Module)):
            raise InputError(f"backbone = {config.backbone!r} returns {made!r}; a torch.nn.Module is needed")
        problem = made if isinstance(made, Problem) else cls(made)
        if config.method == "protonet" and isinstance(getattr(problem.network, "head", None), nn.Module):
            problem.network.head = nn.Identity()
        return problem

    @property
    def name(self) -> str:
        """The name of the network's class."""
        return type(self.network).__name__

    @property
    def need_rule(self) -> Rule:
        """The rule.

        Raises:
            InputError: the problem has no rule yet.
        """
        if self.rule is None:
            raise InputError("the problem has no rule; give Problem(rule=...), such as SGD(0.1, n_steps=5)")
        return self.rule

    @functools.cached_property
    def trained(self) -> tuple[str, ...]:
        """Names of the parameters that require a gradient."""
        return tuple(name for name, parameter in self.network.named_parameters() if parameter.requires_grad)

    @functools.cached_property
    def adapted(self) -> tuple[str, ...]:
        """Names of the tensors that the inner loop updates, in the network's order.

        Raises:
            InputError: no tensor is left, or ``"head"`` or ``"body"`` is set for a network without a ``head``.

        Source: the paper's inner loop leaves batch norm alone; Raghu et al. 2020 (ANIL); Oh et al. 2021 (BOIL).
        """
        norms = tuple(f"{n}." for n, layer in self.network.named_modules() if isinstance(layer, NORM_LAYERS) and n)
        fixed = () if self.adapt_norms else norms
        names = [name for name in self.trained if not name.startswith(fixed)]
        heads = {name for name in names if "head" in name.split(".")[:-1]}
        adapt = self.adapt or "all"
        chosen = tuple(name for name in names if adapt == "all" or (name in heads) == (adapt == "head"))
        if adapt == "all" and not chosen:
            raise InputError(
                f"the network {self.name} has no parameter that may adapt; at least one must require a gradient, "
                "outside the normalisation layers"
            )
        if not chosen or (adapt != "all" and not heads):
            there = ", ".join(names) or "no tensors that may adapt"
            raise InputError(f"adapt = {adapt!r} needs a layer called head and others; the network has {there}")
        return chosen

    @property
    def may_draw(self) -> bool:
        """Whether network, loss or rule may draw random numbers: only the user's own may, for example with dropout."""
        own = type(self.network) not in SHIPPED or self.loss not in SHIPPED_FUNCTIONS
        return own or not is_shipped(self.rule)

    @functools.cached_property
    def at_evaluation(self) -> Problem:
        """The problem with its network in evaluation mode, which switches dropout off; the tensors are shared."""
        return dataclasses.replace(self, network=own_modules(self.network).eval())

    def with_network(self, network: nn.Module) -> Problem:
        """Return the problem with another copy of its network."""
        return self if network is self.network else dataclasses.replace(self, network=network)

    def forward(self, params: Params, buffers: Params, x: Any, step: int, norm: str = "batch") -> tuple[Any, Any]:
        """Return outputs and statistics of the network with these tensors; see ``mamlkit.core.forward``."""
        return call_network(self.network, {**params, **buffers}, x, step, norm)

    def check_forward(self, meta: MetaParams, buffers: Params, batch: Episode) -> None:
        """Pass the support set of the first task through the network once; see ``mamlkit.core.forward.check``."""
        check(self.network, {**meta.model, **buffers}, pytree.tree_map(itemgetter(0), batch.support_x))

    def cost(self, outputs: Any, targets: Any) -> Tensor:
        """Return the loss of one task.

        Raises:
            InputError: the loss is not a scalar tensor of real numbers.
        """
        loss: Any = apply(self.loss, outputs, targets)
        if not isinstance(loss, Tensor) or not (loss.dim() or loss.is_floating_point()):
            found = str(loss.dtype) if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise InputError(f"the loss returns {found}; a scalar tensor of real numbers is needed")
        if loss.dim():
            raise InputError(f"the loss returns a tensor of shape {list(loss.shape)}; a scalar is needed")
        return loss

    def score(self, outputs: Any, targets: Any) -> Tensor:
        """Return the metric of one task as a scalar tensor.

        Raises:
            InputError: the metric is not a scalar.
        """
        like = pytree.tree_leaves(outputs)[0]
        found = apply(self.metric, outputs, targets)
        value = torch.as_tensor(found, dtype=like.dtype, device=like.device)
        if value.dim():
            raise InputError(f"the metric returns a tensor of shape {list(value.shape)}; a scalar is needed")
        return value.detach()

    def configured(self, config: Config) -> Problem:
        """Return the problem with its open fields set from a configuration.

        Raises:
            InputError: the configuration contradicts the problem, or needs a layer that the network does not have.
        """
        wanted: dict[str, Any] = {"rule": rule_of(config), "adapt": config.adapt, "adapt_norms": config.adapt_norms}
        open_fields = {key: value for key, value in wanted.items() if getattr(self, key) is None}
        default = Config()
        for key, fields in SETTLED_BY.items():
            given = {name: getattr(config, name) for name in fields if getattr(config, name) != getattr(default, name)}
            if key not in open_fields and given and getattr(self, key) != wanted[key]:
                name, value = next(iter(given.items()))
                raise InputError(f"{name} = {value!r} has no meaning: the problem has {key} = {getattr(self, key)!r}")
        check_tables(self.network, config)
        return dataclasses.replace(self, **open_fields)

    def start(self, **place: Any) -> tuple[MetaParams, Params]:
        """Return copies of the initial meta-parameters and of the tensors that meta-training does not learn.

        Args:
            place: ``device`` and ``dtype`` of the copies; integers keep their dtype.

        Returns:
            The network's parameters that require a gradient and the rule's tensors; its other parameters and buffers.

        Raises:
            InputError: a tensor has no values, and the copies are not for torch's ``meta`` device.
        """
        tensors = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        for name, tensor in tensors.items():
            if tensor.is_meta and place.get("device") not in (None, tensor.device):
                raise InputError(f"tensor {name!r} of the network {self.name} has no values yet; give its values")
        copies = {name: _copy(tensor, **place) for name, tensor in tensors.items()}
        params = {name: copies.pop(name) for name in self.trained}
        return MetaParams(params, start(self.need_rule, {name: params[name] for name in self.adapted})), copies


# Field of the problem -> the fields of the configuration that it replaces.
SETTLED_BY = {
    "rule": ("inner_rule", "inner_lr", "inner_lr_per", "learn_inner_lrs", "inner_decay"),
    "adapt": ("adapt",),
    "adapt_norms": ("adapt_norms",),
}


def _copy(tensor: Tensor, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
    return tensor.detach().clone().to(device=device, dtype=dtype if tensor.is_floating_point() else None)
