"""Pixels <-> what the network sees: normalised, and packed so that it has fewer places and more channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn import functional

_LEAST_STD = 1 / 64
"""Of the 0-1 range; a set of one flat colour is not blown up to noise."""


@dataclass(frozen=True)
class PixelCode:
    """How levels of 0 to 255 become the network's input.

    A channel's levels are divided by 255, less `mean`, divided by `std`: unit variance, which the noise schedule of
    Stable Diffusion is made for, so that a denoising strength means what it means there. Then `packing` x `packing`
    pixels become the channels of one place (`torch.nn.functional.pixel_unshuffle`).
    """

    mean: tuple[float, ...]
    """One a colour channel."""
    std: tuple[float, ...]
    packing: int

    def encode(self, levels: torch.Tensor) -> torch.Tensor:
        """The network's input, (N, C packing^2, H / packing, W / packing) float32.

        Args:
            levels: (N, C, H, W), 0 to 255, sides multiples of the packing.
        """
        mean, std = self._columns(levels.device)
        return functional.pixel_unshuffle((levels.to(torch.float32) / 255 - mean) / std, self.packing)

    def decode(self, packed: torch.Tensor) -> torch.Tensor:
        """The levels again, (N, C, H, W) uint8, rounded and cut off at 0 and 255."""
        mean, std = self._columns(packed.device)
        levels = (functional.pixel_shuffle(packed.to(torch.float32), self.packing) * std + mean) * 255
        return levels.round().clamp(0, 255).to(torch.uint8)

    def _columns(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = torch.tensor(self.mean, device=device), torch.tensor(self.std, device=device)
        return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)


def measure_code(pictures: Iterable[torch.Tensor], packing: int) -> PixelCode:
    """The code of a set of pictures: mean and standard deviation of each channel over all their pixels.

    Args:
        pictures: one or more, (C, H, W) uint8.
        packing: pixels each way that become one place.
    """
    count, total, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for picture in pictures:
        values = picture.to(torch.float64).flatten(1) / 255
        count += values.shape[1]
        total = total + values.sum(dim=1)
        squares = squares + values.square().sum(dim=1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=_LEAST_STD)
    return PixelCode(tuple(mean.tolist()), tuple(std.tolist()), packing)
