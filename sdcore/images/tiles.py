"""Where overlapping tiles of a large image lie. Pure geometry in whole pixels."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A rectangle inside an image, in pixels."""

    x: int
    y: int
    width: int
    height: int


def tile_windows(width_px: int, height_px: int, *, tile_px: int, overlap: float) -> list[Window]:
    """Tiles that cover the whole image, row by row; neighbours share at least `overlap`, in [0, 1), of a tile's side.

    The first tile touches the left or top edge and the last one the other edge; those between are evenly spaced. An
    image smaller than a tile gives one tile of the image's own side.

    Raises:
        ValueError: a side below 1, or an overlap out of its range.
    """
    if tile_px < 1 or not 0 <= overlap < 1:
        raise ValueError(f"expected a tile from 1 px on and an overlap in [0, 1), got {tile_px} and {overlap}")
    width, height = min(tile_px, width_px), min(tile_px, height_px)
    return [
        Window(x, y, width, height)
        for y in tile_starts(height_px, height, overlap)
        for x in tile_starts(width_px, width, overlap)
    ]


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """First positions of tiles that cover `length`, evenly spaced, the first at 0 and the last at the end.

    Neighbours share at least `overlap`, in [0, 1), of a tile; a length no longer than a tile gives one tile.
    """
    rest = max(0, length - tile)
    step = max(1, math.floor(tile * (1 - overlap)))
    gaps = -(-rest // step)
    return [rest * index // gaps for index in range(gaps + 1)] if gaps else [0]
