"""The one owner of what meta-training changes: parameters, inner rates, buffers and Adam's moments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit import engines
from mamlkit.core import networks
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import LossFn, MetaParams, Params, adapted_names
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.schedules import StepConfig, eval_config, outer_lr, step_config
from mamlkit.engines import Engine, Judge


def pick_device(name: str) -> torch.device:
    """Return the device of ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; auto is CUDA if it is present, else the CPU.

    Raises:
        InputError: the named device is not on this machine.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present[name]:
        there = ", ".join(kind for kind in present if present[kind])
        raise InputError(f"device = {name!r} is not on this machine; it has {there}")
    return torch.device(name)


class MetaLearner:
    """A network under meta-training.

    Args:
        model: ``model(x, step, norm) -> (outputs, statistics)``; see ``mamlkit.core.networks.Plain`` for any other
            module. Its weights are copied; the module itself stays as it is.
        config: see ``mamlkit.core.config.Config``.
        loss_fn: ``(outputs, targets) -> scalar``.

    Attributes:
        params: every parameter by name, moved by Adam alone.
        inner_lrs: [n_adapted, K]; see ``MetaParams``.
        buffers: the model's buffers, with the recorded batch-norm statistics.
        rows: names of the rows of ``inner_lrs``.
        engine: what computes meta-gradients, see ``mamlkit.engines``; chosen at the first step.

    Source: section 3 of the paper; Adam as in section 4.2.
    """

    def __init__(self, model: nn.Module, config: Config, *, loss_fn: LossFn = F.cross_entropy) -> None:
        self.model = model
        self.config = config
        self.loss_fn = loss_fn
        self.engine: Engine = self._first_step
        self._judges: dict[tuple[int, ...], Judge] = {}  # by shape of the support sets
        self.rows = adapted_names(model, config.adapt)
        place = {"device": pick_device(config.device), "dtype": getattr(torch, config.dtype)}
        self.params: Params = {name: p.detach().clone().to(**place) for name, p in model.named_parameters()}
        self.buffers: Params = {
            name: b.detach().clone().to(place["device"], place["dtype"] if b.is_floating_point() else b.dtype)
            for name, b in model.named_buffers()
        }
        columns = max(config.n_steps, config.eval_steps)
        self.inner_lrs = torch.full((len(self.rows), columns), config.inner_lr, **place)
        self.optimizer = torch.optim.Adam(
            self.learned(self.meta), lr=config.outer_lr, betas=(0.9, config.beta2), eps=1e-8
        )

    @classmethod
    def from_config(cls, config: Config, image_shape: tuple[int, int, int]) -> MetaLearner:
        """Build the network that the configuration names, with the weights of its seed, without torch's own state.

        Args:
            config: see ``mamlkit.core.config.Config``.
            image_shape: (C, H, W) of the data.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)  # torch.manual_seed would reseed every GPU too
            model = networks.build(config, image_shape)
        return cls(model, config)

    def reconfigure(self, config: Config) -> MetaLearner:
        """Return a learner with these tensors, copied, that is evaluated as ``config`` says.

        Args:
            config: of the same network; may differ in all that concerns evaluation alone, as ``eval_steps``.
        """
        other = MetaLearner(self.model, config, loss_fn=self.loss_fn)
        columns = min(self.inner_lrs.shape[1], other.inner_lrs.shape[1])
        rates = other.inner_lrs.clone()
        rates[:, :columns] = self.inner_lrs[:, :columns]
        other.load_state({**self.state(), "inner_lrs": rates})
        return other

    @property
    def meta(self) -> MetaParams:
        """Return what the outer loop learns, without a copy."""
        return MetaParams(self.params, self.inner_lrs)

    def to_device(self, batch: Episode) -> Episode:
        """Return a meta-batch on the learner's device, its real numbers in the learner's precision."""
        like = self.inner_lrs
        return Episode(*(x.to(like.device, like.dtype if x.is_floating_point() else x.dtype) for x in batch))

    def meta_step(self, batch: Episode, epoch: int) -> MetaStep:
        """Return the meta-gradient of a batch in an epoch.

        Nothing that is learned is changed; ``apply`` takes the step. The first call chooses the engine.
        """
        return self.engine(self.meta, self.buffers, self.to_device(batch), step_config(self.config, epoch))

    def query_logits(self, batch: Episode, norms: Sequence[str]) -> Tensor:
        """Return the query logits [M, T, Q, N] after adapting to each task, as at evaluation.

        Args:
            batch: a meta-batch on the learner's device.
            norms: M statistics of the query pass, each ``"batch"`` or ``"running"``.
        """
        shapes = tuple(batch.support_x.shape)
        if shapes not in self._judges:
            self._judges[shapes] = engines.make_judge(self.config, self.model, self.loss_fn, batch)
        settings = [eval_config(self.config, norm) for norm in norms]
        return self._judges[shapes](self.meta, self.buffers, batch, settings)

    def _first_step(self, meta: MetaParams, buffers: Params, batch: Episode, config: StepConfig) -> MetaStep:
        n_tasks, _, *image_shape = batch.support_x.shape
        settings = dataclasses.replace(self.config, n_tasks=n_tasks)  # one process's share may be smaller
        choice = engines.prepare(settings, tuple(image_shape), known=engines.is_known(self.model, self.loss_fn))
        self.engine = engines.make(choice, settings, self.model, self.loss_fn)
        return self.engine(meta, buffers, batch, config)

    def learned(self, meta: MetaParams) -> list[Tensor]:
        """Return those of ``meta``, parameters or gradients, that Adam moves: the rates only where they are learned."""
        return [*meta.model.values(), *([meta.inner_lrs] if self.config.learn_inner_lrs else [])]

    def apply(self, step: MetaStep, epoch: int) -> bool:
        """Take one Adam step and the new buffers; refuse a step in which any number is not finite.

        Returns:
            False where the step was refused; then nothing was changed.

        Writes: params, inner_lrs where they are learned, buffers, Adam's moments.
        """
        gradients = self.learned(step.gradient)
        finite = [torch.isfinite(x).all() for x in (*gradients, step.loss, *step.buffers.values())]
        if not torch.stack(finite).all():  # waits for the device, once
            return False
        [group] = self.optimizer.param_groups
        for tensor, gradient in zip(group["params"], gradients):
            clamp = self.config.grad_clamp
            tensor.grad = gradient.clamp(-clamp, clamp) if clamp else gradient.clone()  # the clip writes into it
        if self.config.grad_clip:
            nn.utils.clip_grad_norm_(group["params"], self.config.grad_clip)
        group["lr"] = outer_lr(self.config, epoch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.buffers = step.buffers
        return True

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that a checkpoint must hold, by a flat name; no copy.

        ``model/<name>``, ``buffers/<name>``, ``inner_lrs``, ``adam/<i>/<moment>``.
        """
        state = {f"model/{name}": value for name, value in self.params.items()}
        state |= {f"buffers/{name}": value for name, value in self.buffers.items()}
        state["inner_lrs"] = self.inner_lrs
        for i, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam/{i}/{name}": value for name, value in moments.items()}
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what ``state`` returned, of a learner with the same configuration.

        Raises:
            InputError: a tensor is missing, unknown or of another shape.

        Writes: params, inner_lrs, buffers, Adam's moments.
        """
        mine = {name: value for name, value in self.state().items() if not name.startswith("adam/")}
        if any(name.startswith("adam/") for name in state):  # it has taken a step
            mine |= self._blank_moments()
        if mine.keys() != state.keys():
            odd = ", ".join(sorted(mine.keys() ^ state.keys()))
            raise InputError(f"the checkpoint's tensors are not this network's; {odd} stand in one of them only")
        for name, value in mine.items():
            if value.shape != state[name].shape:
                shapes = f"{list(state[name].shape)}; this network needs {list(value.shape)}"
                raise InputError(f"the checkpoint's {name} has shape {shapes}")
        moments: dict[int, dict[str, Tensor]] = {}
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(state[name])
                if name.startswith("adam/"):
                    _, index, moment = name.split("/")
                    moments.setdefault(int(index), {})[moment] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})

    def _blank_moments(self) -> dict[str, Tensor]:
        blank: dict[str, Tensor] = {}
        [group] = self.optimizer.param_groups
        for i, tensor in enumerate(group["params"]):
            blank[f"adam/{i}/step"] = torch.zeros(())
            blank |= {f"adam/{i}/{name}": torch.zeros_like(tensor) for name in ("exp_avg", "exp_avg_sq")}
        return blank
