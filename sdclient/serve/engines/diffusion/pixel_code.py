"""Pixels <-> what a saved network sees, as its `generator.json` says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional


@dataclass(frozen=True)
class PixelCode:
    """How levels of 0 to 255 become the network's input.

    A channel's levels are divided by 255, less `mean`, divided by `std`; then `packing` x `packing` pixels become the
    channels of one place.
    """

    mean: tuple[float, ...]
    """One a colour channel; a single one for grey."""
    std: tuple[float, ...]
    packing: int

    def encode(self, image: Image.Image) -> torch.Tensor:
        """The network's input, (C packing^2, H / packing, W / packing) float32.

        Args:
            image: RGB, sides multiples of the packing.
        """
        mean, std = self._columns()
        levels = np.array(image.convert("L") if len(self.mean) == 1 else image.convert("RGB"))
        planes = torch.from_numpy(levels).reshape(image.height, image.width, -1).permute(2, 0, 1)
        return functional.pixel_unshuffle((planes.to(torch.float32) / 255 - mean) / std, self.packing)

    def decode(self, packed: torch.Tensor) -> Image.Image:
        """RGB, from one picture as the network sees it."""
        mean, std = self._columns()
        planes = functional.pixel_shuffle(packed.detach().to("cpu", torch.float32), self.packing) * std + mean
        levels = (planes * 255).round().clamp(0, 255).to(torch.uint8)
        return Image.fromarray(levels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())

    def encode_mask(self, mask: Image.Image) -> torch.Tensor:
        """Shares from 0 to 1 in the network's own shape, from a picture of mode L."""
        share = torch.from_numpy(np.array(mask)).to(torch.float32)[None] / 255
        return functional.pixel_unshuffle(share.expand(len(self.mean), -1, -1), self.packing)

    def _columns(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(self.mean).view(-1, 1, 1), torch.tensor(self.std).view(-1, 1, 1)
