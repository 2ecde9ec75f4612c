"""How much detail a picture has, by scale: levels of brightness and of colour that differ within small cells.

A picture is split into bands, each twice as coarse as the one before (what averaging 2 x 2 px loses). The absolute
detail is averaged over 8 x 8 tiles; of a large picture some rows, spread evenly, stand for all. Pure; Pillow alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops

CHROMA_BANDS = 6
_LUMA_BANDS = 3
_LEAST_LUMA_CELLS = 48
"""A band counts for luma when so many of its cells fit across the picture; coarser ones hold real structure."""
_TILES = 8
_CHROMA_TILE = 0.5
_LUMA_TILE = 0.25
_LEAST_SIDE_PX = 8
_LARGEST_MEAN_SIDE_PX = 640
_SAMPLED_PX = 2**13
"""So many pixels of a band are looked at, or all where it has fewer: means over tiles need no more."""
_LEAST_ROWS = 16
_GAIN = 4
"""Absolute detail is stored in 8 bits; multiplied by this, a tile's mean keeps a quarter level."""
_AMPLIFY = [min(255, _GAIN * min(level, 256 - level)) for level in range(256)]
"""Signed detail, kept modulo 256, to its absolute value times the gain."""
_DIRECTIONS: tuple[tuple[Callable[[Image.Image, Image.Image], Image.Image], float], ...] = (
    (lambda cb, cr: cb, 1.0),
    (lambda cb, cr: cr, 1.0),
    (ImageChops.add_modulo, math.sqrt(2)),
    (ImageChops.subtract_modulo, math.sqrt(2)),
)
"""How to combine Cb and Cr, and by how much that lengthens them."""


@dataclass(frozen=True)
class ChromaDetail:
    """Detail of colour in one band."""

    levels: float
    """Along the one of four directions in the plane of Cb and Cr that shows least of it."""
    direction: int
    """Which that is."""


@dataclass(frozen=True)
class Detail:
    """Detail by band, fine to coarse."""

    chroma: tuple[ChromaDetail, ...]
    """Of the middle one of the tiles."""
    luma: tuple[float, ...]
    """Of Y, in levels of 0-255, in the quietest quarter of the tiles."""


def measure_detail(rgb: Image.Image, enough: Sequence[ChromaDetail] = ()) -> Detail:
    """The detail of a picture.

    Args:
        rgb: the picture.
        enough: by band, levels of chroma below which no lower ones need be looked for, and where to look first.
    """
    factor = math.ceil(math.sqrt(rgb.width * rgb.height) / _LARGEST_MEAN_SIDE_PX)
    picture = rgb.reduce(factor) if factor > 1 else rgb
    chroma: list[ChromaDetail] = []
    luma: list[float] = []
    while len(chroma) < CHROMA_BANDS and min(picture.size) >= _LEAST_SIDE_PX:
        if _rows(picture) == picture.height:  # of all of it, so that its reductions need not be converted again
            picture = _ycbcr(picture)
        coarse = picture.reduce(2)
        y, cb, cr = _signed_detail(picture, coarse).split()
        cells = min(picture.size) // 2
        if len(luma) < _LUMA_BANDS and cells >= _LEAST_LUMA_CELLS:
            luma.append(_tile(y, _LUMA_TILE))
        band = len(chroma)
        chroma.append(_least_chroma(cb, cr, enough[band] if band < len(enough) else ChromaDetail(0.0, 0)))
        picture = coarse
    return Detail(tuple(chroma), tuple(luma))


def _rows(picture: Image.Image) -> int:
    """How many rows of a picture are looked at."""
    return min(picture.height, max(_LEAST_ROWS, _SAMPLED_PX // picture.width))


def _signed_detail(picture: Image.Image, coarse: Image.Image) -> Image.Image:
    """Y, Cb and Cr less the mean of their cell of 2 x 2 px, modulo 256; of a large picture some rows, spread evenly.

    Args:
        picture: RGB or YCbCr.
        coarse: the same, reduced by 2.
    """
    (width, height), rows, half = picture.size, _rows(picture), picture.height / 2
    if rows < height:
        # The nearest of a row in one is the cell of the nearest row in the other.
        picture = picture.resize((width, rows), Image.Resampling.NEAREST)
        coarse = coarse.resize((coarse.width, rows), Image.Resampling.NEAREST, box=(0, 0, coarse.width, half))
        half = rows
    # Halves, for a last cell may be cut off.
    mean = _ycbcr(coarse).resize((width, rows), Image.Resampling.NEAREST, box=(0, 0, width / 2, half))
    return ImageChops.subtract_modulo(_ycbcr(picture), mean)


def _ycbcr(picture: Image.Image) -> Image.Image:
    return picture if picture.mode == "YCbCr" else picture.convert("YCbCr")


def _least_chroma(cb: Image.Image, cr: Image.Image, enough: ChromaDetail) -> ChromaDetail:
    """Colouring, from one colour to another, lies along a line and nearly vanishes across it; noise does not."""
    least = ChromaDetail(math.inf, enough.direction)
    for number in sorted(range(len(_DIRECTIONS)), key=lambda number: number != enough.direction):
        combine, scale = _DIRECTIONS[number]
        found = ChromaDetail(_tile(combine(cb, cr), _CHROMA_TILE) / scale, number)
        least = min(least, found, key=lambda one: one.levels)
        if least.levels <= enough.levels:
            break
    return least


def _tile(band: Image.Image, share: float) -> float:
    """Mean absolute detail of the tile that `share` of the tiles do not exceed."""
    tile = (max(1, band.width // _TILES), max(1, band.height // _TILES))
    means = sorted(band.point(_AMPLIFY).reduce(tile).tobytes())
    return means[math.ceil(share * len(means)) - 1] / _GAIN
