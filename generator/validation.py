"""The loss on held-out pictures, with the same noise every time, so that two figures can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from sdcore.diffusion_model import PixelCodec
from sdcore.torch_runtime import MixedPrecision

from .dataset import Picture, TrainingSet
from .drawing import middle_square
from .network import TIMESTEPS, build_schedule
from .session import velocity_loss

_MOST_PICTURES = 128
_NOISINGS = 2
"""How often each picture is noised, at times of its own."""


class Validation:
    """Measures a network on up to 128 held-out pictures, equally many of each class as far as there are.

    Each is noised twice. Times are spread evenly over the schedule and dealt by chance; times and noise are drawn
    once, from a seed of their own.

    Args:
        pictures: their `val` is used; one or more.
        code: how pixels are put.
        size_px: side of the square that is taken out of the middle of each.
        device: where the network is.
    """

    def __init__(self, pictures: TrainingSet, code: PixelCodec, *, size_px: int, device: torch.device) -> None:
        chosen = take_by_turns(pictures.val, _MOST_PICTURES)
        chance = torch.Generator().manual_seed(0)
        levels = torch.stack([middle_square(picture.pixels, size_px) for picture in chosen])
        self._clean = code.encode(levels).repeat(_NOISINGS, 1, 1, 1)
        self._labels = torch.tensor([picture.label for picture in chosen]).repeat(_NOISINGS)
        count = len(self._labels)
        strata = ((torch.arange(count) + 0.5) / count * TIMESTEPS).long()
        self._times = strata[torch.randperm(count, generator=chance)]
        self._noise = torch.randn(self._clean.shape, generator=chance)
        self._schedule, self._device = build_schedule(), device

    @torch.no_grad()
    def loss(self, network: nn.Module, precision: MixedPrecision, *, batch_size: int) -> float:
        """Mean squared error of the predicted velocity; classes are not dropped."""
        total = 0.0
        for part in _slices(len(self._labels), batch_size):
            clean, noise, times, labels = (
                one[part].to(self._device) for one in (self._clean, self._noise, self._times, self._labels)
            )
            loss = velocity_loss(network, self._schedule, precision, clean, noise, times, labels)
            total += float(loss) * len(labels)
        return total / len(self._labels)


def take_by_turns(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """Up to `most` pictures, the first of each class, then the second of each, and so on."""
    by_class: dict[int, list[Picture]] = {}
    for picture in pictures:
        by_class.setdefault(picture.label, []).append(picture)
    longest = max(len(group) for group in by_class.values())
    turns = (group[k] for k in range(longest) for _, group in sorted(by_class.items()) if k < len(group))
    return [picture for picture, _ in zip(turns, range(most), strict=False)]


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
