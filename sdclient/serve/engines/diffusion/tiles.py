"""Where the overlapping tiles of a large picture lie, and how much each counts at each place. Pure."""

from __future__ import annotations

import math

import torch

_LEAST_OVERLAP = 0.25
"""Of a tile's side."""


def tile_starts(length: int, tile: int) -> list[int]:
    """First places of tiles that cover `length`, evenly spread, neighbours sharing a quarter of a tile or more.

    Args:
        length: places along one side, at least `tile`.
        tile: places of a tile along that side.
    """
    if length <= tile:
        return [0]
    stride = max(1, int(tile * (1 - _LEAST_OVERLAP)))
    count = 1 + math.ceil((length - tile) / stride)
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


def tile_weight(tile: int) -> torch.Tensor:
    """How much a tile counts at each of its places, (tile, tile): most in the middle, little but never 0 at the rim.

    A raised cosine each way; with tiles' sums divided by the sums of weights, seams fade out.
    """
    along = torch.sin(math.pi * (torch.arange(tile, dtype=torch.float32) + 0.5) / tile) ** 2
    return along[:, None] * along[None, :]
