"""Update rules of the inner loop, as pairs of ``init`` and ``update`` like in Optax.

A rule updates parameters: ``SGD`` (with learned rates: LSLR) or ``MetaSGD``. ``chain`` puts transforms of the gradient
before a rule, see ``mamlkit.core.transforms``. The outer derivative goes through all of them, including their state.

To add a fix of the inner loop: add a field to ``mamlkit.core.config`` and read it in ``rule_of``; the fix may need its
own transform or rule. An engine rejects fields and rules that it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError, described
from mamlkit.core.transforms import AdamScaling, Momentum, Params, Transform, WeightDecay, check_returned

Tensors = dict[str, Any]  # name -> a tensor, or a dictionary of tensors by parameter
RESERVED = {"model", "buffers", "adam"}  # names of the other parts of a checkpoint


class Rule:
    """The update of the adapted parameters in an inner step. A new rule defines at least ``update``.

    Attributes:
        learned: names of the ``tensors`` that the outer loop learns.
    """

    learned: tuple[str, ...] = ()

    def tensors(self, params: Params) -> Tensors:
        """Return the rule's tensors at the start of meta-training, by name.

        Args:
            params: the adapted parameters, in the order of the network.
        """
        return {}

    def init(self, params: Params) -> Any:
        """Return the state before the first step, any pytree of tensors."""
        return ()

    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        """Return the parameters and the state after an inner step.

        Args:
            tensors: the rule's tensors, some of them changed by the outer loop.
            gradients: gradients of the support loss, by the names of ``params``.
            state: the state after the previous step.
            params: the adapted parameters before the step.
            step: the inner step, from 0.
        """
        raise NotImplementedError

    def check(self, tensors: Tensors, names: Sequence[str], n_steps: int) -> None:
        """Raise InputError unless ``tensors`` match the parameters ``names`` and suffice for ``n_steps`` steps."""


@dataclass(frozen=True)
class SGD(Rule):
    """Gradient descent with one rate for each tensor and step.

        theta_k+1 = theta_k - inner_lrs[:, k] * gradient_k

    Args:
        rate: initial value of all rates.
        n_steps: K, columns of the table ``inner_lrs`` [n_adapted, K].
        learn: the outer loop learns the rates, sign included: LSLR.

    Source: section 3 of the paper; learned per layer and step: section 4.
    """

    rate: float
    n_steps: int
    learn: bool = False

    @property
    def learned(self) -> tuple[str, ...]:  # type: ignore[override]
        """``("inner_lrs",)`` if the rates are learned."""
        return ("inner_lrs",) if self.learn else ()

    def tensors(self, params: Params) -> Tensors:
        """Return ``inner_lrs``, [n_adapted, K]."""
        like = next(iter(params.values()))
        return {"inner_lrs": like.new_full((len(params), self.n_steps), self.rate)}

    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        """Take a gradient step with each tensor's rate for this step."""
        rates = tensors["inner_lrs"][:, step]  # [n_adapted, K] -> [n_adapted]
        return {name: params[name] - rate * gradients[name] for name, rate in zip(params, rates)}, state

    def check(self, tensors: Tensors, names: Sequence[str], n_steps: int) -> None:
        """Raise unless ``inner_lrs`` has one row per adapted tensor and at least ``n_steps`` columns."""
        rows, columns = tensors["inner_lrs"].shape
        if rows != len(names):
            raise InputError(f"inner_lrs has {rows} rows; the {len(names)} adapted tensors are {', '.join(names)}")
        if n_steps > columns:
            raise InputError(
                f"{n_steps} inner steps are more than the {columns} of the per-step tables; use 1 to {columns}"
            )


@dataclass(frozen=True)
class MetaSGD(Rule):
    """Gradient descent with a learned rate for each number of each tensor, the same at every step.

        theta_k+1 = theta_k - inner_lrs * gradient_k,    inner_lrs shaped as theta

    Args:
        rate: initial value of all rates.

    Source: Li et al. 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", arXiv:1707.09835.
    """

    rate: float
    learned = ("inner_lrs",)

    def tensors(self, params: Params) -> Tensors:
        """Return ``inner_lrs``, a rate for each number of each parameter."""
        return {"inner_lrs": {name: torch.full_like(value, self.rate) for name, value in params.items()}}

    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        """Take a gradient step with each number's rate."""
        rates = tensors["inner_lrs"]
        return {name: value - rates[name] * gradients[name] for name, value in params.items()}, state

    def check(self, tensors: Tensors, names: Sequence[str], n_steps: int) -> None:
        """Raise unless ``inner_lrs`` has rates for exactly the adapted tensors."""
        odd = ", ".join(sorted(set(names) ^ tensors["inner_lrs"].keys()))
        if odd:
            raise InputError(f"inner_lrs and the adapted tensors do not match: only one of them has {odd}")


@dataclass(frozen=True)
class Chain(Rule):
    """Transforms of the gradient, one after the other, and then a rule; see ``chain``."""

    transforms: tuple[Transform, ...]
    rule: Rule

    @property
    def learned(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the rule's learned tensors."""
        return self.rule.learned

    def tensors(self, params: Params) -> Tensors:
        """Return the rule's tensors."""
        return self.rule.tensors(params)

    def init(self, params: Params) -> Any:
        """Return the states of the transforms, and of the rule."""
        return [transform.init(params) for transform in self.transforms], self.rule.init(params)

    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        """Transform the gradients, then update the parameters."""
        states = []
        for transform, before in zip(self.transforms, state[0]):
            gradients, after = transform.update(gradients, before, params, step)
            check_returned(f"the transform {transform!r}", "gradients", gradients, params)
            states.append(after)
        moved, last = self.rule.update(tensors, gradients, state[1], params, step)
        return moved, (states, last)

    def check(self, tensors: Tensors, names: Sequence[str], n_steps: int) -> None:
        """Raise unless the tensors match the rule; see its ``check``."""
        self.rule.check(tensors, names, n_steps)


def chain(*parts: Transform | Rule) -> Rule:
    """Return a rule that applies the transforms in order and then the last part, a rule.

    Raises:
        InputError: the last part is not a rule, or another part is not a transform.

    >>> chain(WeightDecay(1e-2), SGD(0.1, n_steps=5)).rule.rate
    0.1
    """
    *transforms, rule = parts or (None,)
    for part, kind in (*((part, Transform) for part in transforms), (rule, Rule)):
        if not isinstance(part, kind):
            raise InputError(f"{part!r} of chain is not a {kind.__name__}; transforms come first, and one rule last")
    return Chain(tuple(transforms), rule) if transforms else rule  # type: ignore[arg-type, return-value]


def rule_of(config: Config) -> Rule:
    """Return the rule that a configuration names."""
    n_steps = max(config.n_steps, config.eval_steps)
    if config.inner_lr_per == "number":
        rule: Rule = MetaSGD(config.inner_lr)
    else:
        rule = SGD(config.inner_lr, n_steps, learn=config.learn_inner_lrs)
    transforms: dict[str, list[Transform]] = {"sgd": [], "momentum": [Momentum()], "adam": [AdamScaling()]}
    decay = [WeightDecay(config.inner_decay)] if config.inner_decay else []
    return chain(*decay, *transforms[config.inner_rule], rule)


SHIPPED = (SGD, MetaSGD, Momentum, AdamScaling, WeightDecay)


def is_shipped(part: Rule | Transform | None) -> bool:
    """Return whether a rule has only parts of mamlkit, which draw no random numbers; None is the configuration's."""
    if type(part) is Chain:
        return is_shipped(part.rule) and all(map(is_shipped, part.transforms))
    return part is None or type(part) in SHIPPED


def start(rule: Rule, params: Params) -> Tensors:
    """Return copies of a rule's tensors at the start of meta-training.

    Args:
        rule: the update rule.
        params: the adapted parameters; a rule that returns one of them gets a copy, which does not follow it.

    Raises:
        InputError: ``rule`` is not a rule, or fails; one of its tensors is not a tensor of real numbers, or has the
            name of another part of a checkpoint; it learns a tensor that it does not have.
    """
    if not isinstance(rule, Rule):
        raise InputError(f"the rule {rule!r} is not a Rule; give Problem(rule=...), such as SGD(0.1, n_steps=5)")
    try:
        tensors = rule.tensors(params)
    except Exception as error:
        raise InputError(f"the rule {rule!r} has no tensors for this network ({described(error)})") from error
    for name, value in flat(tensors).items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise InputError(f"the rule {rule!r} has {name} = {value!r}; a tensor of real numbers is needed")
    for name in sorted(set(rule.learned) - tensors.keys()):
        raise InputError(f"the rule {rule!r} learns {name!r}; its tensors are {', '.join(tensors) or 'none'}")
    for name in sorted(tensors.keys() & RESERVED):
        raise InputError(f"the rule {rule!r} has a tensor {name!r}; this name is taken in checkpoints, choose another")
    copies: Tensors = pytree.tree_map(lambda x: x.detach().clone(memory_format=torch.contiguous_format), tensors)
    return copies


def flat(tree: Tensor | Tensors, prefix: str = "") -> dict[str, Tensor]:
    """Return a rule's tensors by their path, such as ``inner_lrs/head.weight``."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {name: x for key in tree for name, x in flat(tree[key], f"{prefix}/{key}" if prefix else key).items()}
