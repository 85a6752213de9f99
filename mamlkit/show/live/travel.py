"""The inner loop on one task: at each step the loss surface, the update, and the predictions for the query set.

Axis letters: ``K`` inner steps, ``G`` grid points along an axis, ``N`` classes, ``Q`` query images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import adapt
from mamlkit.core.methods import check_inner_loop, check_rate_table
from mamlkit.core.schedules import eval_config, last_step_only
from mamlkit.core.transforms import Params
from mamlkit.training.learner import MetaLearner

CHUNK = 21  # networks evaluated at once; larger chunks are hardly faster


class Travel(NamedTuple):
    """The result of ``travel``, detached. Losses are in nats. Plane k belongs to step k and is centred on ``theta_k``.

    There is no step after the last one: plane K is spanned by the directions of plane K - 1.
    """

    names: tuple[str, ...]  # of the adapted tensors
    axis: Tensor  # [G] coordinates of the grid, in units of the length of the plane's update
    surfaces: Tensor  # [K + 1, G, G] support loss on plane k: rows run across, columns along
    path: Tensor  # [K + 1, K + 1, 2] coordinates (along, across) of theta_j on plane k
    update_norms: Tensor  # [K, n_adapted] l2 norm of the update of each adapted tensor at step k
    rates: Tensor  # [n_adapted, K]
    confusion: Tensor  # [K + 1, N, N] int64: query images of class i (row) that are classified as j after k steps
    support_loss: Tensor  # [K + 1] after k steps, as the next step sees it
    reached_loss: Tensor  # [K] support loss at the end of step k, on its own plane
    query_loss: Tensor  # [K + 1] after k steps
    query_accuracy: Tensor  # [K + 1] fraction in [0, 1]


def travel(
    learner: MetaLearner,
    episode: Episode,
    *,
    n_steps: int | None = None,
    grid: int = 21,
    reach: float = 2.0,
    seed: int = 0,
) -> Travel:
    r"""Adapt to one task as at evaluation, and compute the loss surface around every step.

    .. math:: surface_k(a, b) = loss(f(support\_x; \theta_k + a u_k + b r_k, k), support\_y), \quad
        u_k = \theta_{k+1} - \theta_k = -\alpha_k \odot \nabla_{\theta_k} loss

    ``r_k`` is a random direction, made tensor by tensor: Gaussian, projected orthogonally to the tensor's update, and
    scaled to the norm of the update. So it is orthogonal to ``u_k``, has the same length, and weighs the layers in the
    same way. A point of the path that lies off the plane is projected orthogonally onto it.

    Args:
        learner: it is not changed.
        episode: one classification task.
        n_steps: K; None: the number of steps at evaluation.
        grid: G, at least 2. If ``grid`` is odd, the middle point is ``theta_k``.
        reach: the grid covers -reach to reach in both directions, in units of the update's length; more than 0.
        seed: seed of the random directions.

    Returns:
        A ``Travel``. Support passes after k steps, and the surface of plane k, use row k of per-step batch norm; after
        the last step they use the last row. So the loss that a step reaches on its plane differs from the loss at which
        the next step starts. Query passes use the row of the step just made, as everywhere in this library.

    Raises:
        InputError: ``n_steps``, ``grid`` or ``reach`` is out of range; the episode is not one classification task; or
            the learner has no inner loop, or no table of rates.

    Torch's global random state is not changed. Source: the normalised random direction is that of Li
    et al. 2018, "Visualizing the Loss Landscape of Neural Nets", arXiv:1712.09913; they scale each filter to the norm
    of its weights. Inner steps: section 3 of the paper.
    """
    check_inner_loop(learner.config, "the travel over the loss surface")
    check_rate_table(learner.config)
    _check(episode, n_steps, grid, reach)
    episode, axis = learner.to_device(episode), torch.linspace(-reach, reach, grid).to(learner.inner_lrs)
    settings = eval_config(learner.config, "batch")
    if n_steps is not None:
        settings = dataclasses.replace(settings, loss_weights=last_step_only(n_steps))
    with torch.no_grad():
        moved = adapt(learner.problem, learner.meta, learner.buffers, episode, settings)
        steps = [learner.params, *(step.params for step in moved)]  # K + 1
        return _look_around(learner, episode, steps, axis, seed)


def random_direction(update: Params, seed: int) -> Params:
    """Return a random direction that is orthogonal to an update and has the same norm, tensor by tensor.

    Args:
        update: the change of each tensor at a step; a tensor with a single number has no orthogonal direction and gets
            0.
        seed: the same seed gives the same Gaussian numbers for every update.

    Torch's global random state is not used.
    """
    generator, made = torch.Generator().manual_seed(seed), {}
    for name, step in update.items():
        drawn = torch.randn(step.shape, generator=generator).to(step)
        size = step.norm()
        along = step / size if size > 0 else step
        across = drawn - (drawn * along).sum() * along
        made[name] = across * (size / across.norm()) if step.numel() > 1 else torch.zeros_like(step)
    return made


def _look_around(learner: MetaLearner, episode: Episode, steps: Sequence[Params], axis: Tensor, seed: int) -> Travel:
    names, last = learner.problem.adapted, len(steps) - 2  # last: the last step, from 0
    updates = [{name: after[name] - before[name] for name in names} for before, after in zip(steps, steps[1:])]
    planes = [(update, random_direction(update, seed)) for update in updates]
    planes.append(planes[last])
    surfaces = [
        _surface(learner, episode, params, plane, axis=axis, row=min(k, last))
        for k, (params, plane) in enumerate(zip(steps, planes))
    ]
    reached = [_logits(learner, params, episode.support_x, k) for k, params in enumerate(steps[1:])]
    support = [_logits(learner, params, episode.support_x, min(k, last)) for k, params in enumerate(steps)]
    query = [_logits(learner, params, episode.query_x, max(k - 1, 0)) for k, params in enumerate(steps)]
    return Travel(
        names=names,
        axis=axis,
        surfaces=torch.stack(surfaces),  # K + 1 of [G, G] -> [K + 1, G, G]
        path=_path(torch.stack([_flat(params, names) for params in steps]), planes),
        update_norms=torch.stack([torch.stack([update[name].norm() for name in names]) for update in updates]),
        rates=learner.inner_lrs[:, : last + 1].clone(),
        confusion=torch.stack([_confusion(logits, episode.query_y) for logits in query]),
        support_loss=torch.stack([learner.problem.loss(logits, episode.support_y) for logits in support]),
        reached_loss=torch.stack([learner.problem.loss(logits, episode.support_y) for logits in reached]),
        query_loss=torch.stack([learner.problem.loss(logits, episode.query_y) for logits in query]),
        query_accuracy=torch.stack([learner.problem.score(logits, episode.query_y) for logits in query]),
    )


def _logits(learner: MetaLearner, params: Params, images: Tensor, row: int) -> Tensor:
    logits: Tensor = learner.problem.forward(params, learner.buffers, images, row)[0]
    return logits


def _surface(
    learner: MetaLearner, episode: Episode, params: Params, plane: tuple[Params, Params], *, axis: Tensor, row: int
) -> Tensor:
    along, across = plane

    def loss(place: Tensor) -> Tensor:  # [2]
        moved = {name: params[name] + place[0] * along[name] + place[1] * across[name] for name in along}
        return learner.problem.loss(_logits(learner, params | moved, episode.support_x, row), episode.support_y)

    places = torch.cartesian_prod(axis, axis).flip(1)  # [G * G, 2], the place along changes fastest
    return torch.func.vmap(loss, chunk_size=CHUNK)(places).reshape(len(axis), len(axis))


def _flat(params: Params, names: Sequence[str]) -> Tensor:
    return torch.cat([params[name].flatten() for name in names])  # [P]


def _path(where: Tensor, planes: Sequence[tuple[Params, Params]]) -> Tensor:
    """Return the coordinates of the points ``where`` [K + 1, P] on every plane; 0 along a direction of length 0."""
    places = []
    for here, plane in zip(where, planes):
        directions = torch.stack([_flat(direction, list(direction)) for direction in plane])  # [2, P]
        squares = directions.square().sum(1)
        places.append(((where - here) @ directions.T / squares).where(squares != 0, 0.0))  # [K + 1, 2]
    return torch.stack(places)  # -> [K + 1, K + 1, 2]


def _confusion(logits: Tensor, y: Tensor) -> Tensor:
    n_way = logits.shape[-1]
    return torch.bincount(y * n_way + logits.argmax(-1), minlength=n_way**2).reshape(n_way, n_way)


def _check(episode: Episode, n_steps: int | None, grid: int, reach: float) -> None:
    if episode.support_y.ndim != 1 or episode.support_y.is_floating_point():
        labels = f"{episode.support_y.dtype} of shape {list(episode.support_y.shape)}"
        raise InputError(f"episode.support_y is {labels}; the whole numbers [S] of one task are allowed")
    if n_steps is not None and n_steps < 1:
        raise InputError(f"n_steps = {n_steps} is not positive; 1 or more is allowed")
    if grid < 2:
        raise InputError(f"grid = {grid} is too small; 2 or more is allowed")
    if not reach > 0:
        raise InputError(f"reach = {reach} is not positive; more than 0 is allowed")
