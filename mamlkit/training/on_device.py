"""Episodes drawn on the device that trains: the images are copied there once, and only indices follow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mamlkit.core.episodes import Episode, EpisodeSampler
from mamlkit.training.prefetch import Sampler

DEVICES = ("cuda",)  # devices that hold the images


class DeviceSampler:
    """The episodes of a sampler, on a device, with the same numbers.

    Args:
        sampler: its images are copied to the device.
        device: the device.
    """

    def __init__(self, sampler: EpisodeSampler, device: torch.device) -> None:
        self.sampler = sampler
        images = torch.from_numpy(np.array(sampler.store.images)).to(device)
        self._images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)  # [n, C, H, W]

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        """Return episodes ``first_index .. first_index + n_tasks - 1`` as one meta-batch with a leading ``[T]``."""
        own, device = self.sampler, self._images.device
        drawn, turns = own.draw(first_index, n_tasks)
        images = self._images[torch.from_numpy(drawn).to(device)]  # [T, N, k + q] -> [T, N, k + q, C, H, W]
        if turns.any():
            whole = torch.stack([images, *(images.rot90(turn, (4, 5)) for turn in (1, 2, 3))])
            which = torch.from_numpy(turns).to(device)[None, :, :, None, None, None, None]
            images = whole.take_along_dim(which, 0)[0]
        labels = torch.arange(own.n_way, device=device)
        support, query = torch.split(images, [own.k_shot, own.q_query], 2)
        return Episode(
            _pixels(support),
            labels.repeat_interleave(own.k_shot).expand(n_tasks, -1),
            _pixels(query),
            labels.repeat_interleave(own.q_query).expand(n_tasks, -1),
        )


def near(sampler: EpisodeSampler, device: torch.device) -> Sampler:
    """Return the sampler that is best for a device: on CUDA, one that draws there."""
    return DeviceSampler(sampler, device) if device.type in DEVICES else sampler


def _pixels(images: Tensor) -> Tensor:
    return images.flatten(1, 2).float() / 255  # [T, N, k, C, H, W] -> [T, N * k, C, H, W]
