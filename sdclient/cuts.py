"""Where to cut a photograph: around a box, or into tiles. Pure geometry in whole pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .boxes import Box


@dataclass(frozen=True)
class Cut:
    """A rectangle inside a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int


def cut_around(box: Box, width_px: int, height_px: int, *, margin: float, size_px: int) -> Cut:
    """A square around a box, moved into the picture; no larger than the picture on either side.

    Its side is the larger of `size_px` and the box's longer side with `margin` times that side added at both ends.

    Args:
        box: lies within the picture.
        width_px: the picture's width.
        height_px: the picture's height.
        margin: context on each side, in shares of the box's longer side; from 0 on.
        size_px: the least side.

    Raises:
        ValueError: a margin that is negative or not finite, or a side below 1.
    """
    if not 0 <= margin < math.inf or size_px < 1:
        raise ValueError(f"expected a margin from 0 on and a size from 1 on, got {margin} and {size_px}")
    left, top, right, bottom = math.floor(box.left), math.floor(box.top), math.ceil(box.right), math.ceil(box.bottom)
    longer = max(right - left, bottom - top)
    side = max(size_px, math.ceil(longer * (1 + 2 * margin)))
    width, height = min(side, width_px), min(side, height_px)
    x = min(max((left + right - width) // 2, 0), width_px - width)
    y = min(max((top + bottom - height) // 2, 0), height_px - height)
    return Cut(x, y, width, height)


def tile_cuts(width_px: int, height_px: int, *, tile_px: int, overlap: float) -> list[Cut]:
    """Tiles that cover the whole picture, row by row; neighbours share at least `overlap` of a tile's side.

    The first touches the left or top edge and the last the other one; those between are evenly spaced.

    Args:
        width_px: the picture's width.
        height_px: the picture's height.
        tile_px: side of a tile; a picture smaller than it gives one tile of the picture's own side.
        overlap: in [0, 1).

    Raises:
        ValueError: a side below 1, or an overlap out of its range.
    """
    if tile_px < 1 or not 0 <= overlap < 1:
        raise ValueError(f"expected a tile from 1 px on and an overlap in [0, 1), got {tile_px} and {overlap}")
    width, height = min(tile_px, width_px), min(tile_px, height_px)
    return [
        Cut(x, y, width, height) for y in _starts(height_px, height, overlap) for x in _starts(width_px, width, overlap)
    ]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    rest = length - tile
    step = max(1, math.floor(tile * (1 - overlap)))
    gaps = -(-rest // step)
    return [rest * index // gaps for index in range(gaps + 1)] if gaps else [0]
