"""Is a generated picture spoiled: black, one colour, or the rainbow noise of an unfinished one? Pure; Pillow alone.

The noise score compares picture and source by scale. Both are split into bands of detail, each twice as coarse as the
one before (what averaging 2 x 2 pixels loses). The absolute detail is averaged over 8 x 8 tiles, in levels of 0-255:

chroma   detail of Cb and Cr in the middle one of the tiles, along the direction of colour that shows least of it.
         Noise is everywhere and of all colours; real colour changes at some edges, from one colour to another.
luma     detail of Y in the quietest quarter of the tiles, in the finest bands alone: noise leaves nothing flat.

What goes beyond `_TOLERATED_RATIO` times the source's own and a margin is excess. The root of its summed squares over
the bands, divided by the excess that is worth a score of a half, gives x for chroma and for luma; the score is
x / (1 + x) of their sum. The constants were chosen by `bench/spoiled_pictures.py`; docs/probe.md has its table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

from PIL import Image, ImageChops

LARGEST_BLACK_LEVEL = 10
"""A picture without a pixel above this level (0-255) is black."""
LARGEST_UNIFORM_RANGE = 6
"""A picture whose levels differ by no more than this in each of R, G and B has one colour."""

_CHROMA_BANDS = 6
_LUMA_BANDS = 3
_TILES = 8
_CHROMA_TILE = 0.5
_LUMA_TILE = 0.25
_LEAST_SIDE_PX = 8
_LARGEST_MEAN_SIDE_PX = 640
_TOLERATED_RATIO = 1.5
_MARGIN_LEVELS = 1.5
_CHROMA_HALF_LEVELS = 3.0
_LUMA_HALF_LEVELS = 14.0
_UNKNOWN_SOURCE_CHROMA_LEVELS = 1.5
"""Taken for the source's own chroma detail where there is no source to look at."""
_GAIN = 4
"""Absolute detail is stored in 8 bits; multiplied by this, a tile's mean keeps a quarter level."""
_AMPLIFY = [min(255, _GAIN * min(level, 256 - level)) for level in range(256)]
"""Signed detail, kept modulo 256, to its absolute value times the gain."""


@dataclass(frozen=True)
class SpoiledLimits:
    """From where on a picture counts as spoiled."""

    noise_score: float = 0.5
    """Highest noise score that passes; 1 lets every noise pass."""


@dataclass(frozen=True)
class Findings:
    """What was found in one picture."""

    noise_score: float
    """From 0 (no more noise than the source) to below 1; noise is plain to see at 0.5, and all there is at 0.9."""
    is_black: bool
    """No pixel is above `LARGEST_BLACK_LEVEL`, though the source has some."""
    is_uniform: bool
    """One colour only, though the source has more."""


@dataclass(frozen=True)
class _Detail:
    """Detail by band, fine to coarse, in levels."""

    chroma: tuple[float, ...]
    luma: tuple[float, ...]


def examine(image: Image.Image, source: Image.Image | None = None) -> Findings:
    """Measure a generated picture against its source.

    Args:
        image: as the server sent it, before it is brought back to the source's size and mode.
        source: as it was sent to the server (`sizing.prepare`), of the same size. Without one, any black or
            one-coloured picture is told, and noise by its colour alone, for grey noise may be a real texture.
    """
    rgb = image.convert("RGB")
    source_rgb = None if source is None else source.convert("RGB")
    is_black, is_uniform = _flatness(rgb)
    if source_rgb is not None and (is_black or is_uniform):
        source_is_black, source_is_uniform = _flatness(source_rgb)
        is_black, is_uniform = is_black and not source_is_black, is_uniform and not source_is_uniform
    return Findings(_noise_score(rgb, source_rgb), is_black, is_uniform)


def reason_spoiled(findings: Findings, limits: SpoiledLimits | None = None) -> str | None:
    """Why a picture cannot be used, in a few words, or None when nothing is wrong with it."""
    limit = (limits or SpoiledLimits()).noise_score
    if findings.is_black:
        return "black picture"
    if findings.is_uniform:
        return "one colour only"
    if findings.noise_score > limit:
        return f"rainbow noise (score {findings.noise_score:.2f}, limit {limit:g})"
    return None


def find_spoiled(image: Image.Image, source: Image.Image) -> str | None:
    """Why an image made from this source is not worth keeping, at the usual limits; None when nothing is wrong."""
    return reason_spoiled(examine(image, source))


def _flatness(rgb: Image.Image) -> tuple[bool, bool]:
    """Whether it is black, and whether it has one colour."""
    # One band gives one pair, which Pillow's types leave open.
    extrema: list[tuple[int, int]] = [band.getextrema() for band in rgb.split()]  # type: ignore[misc]
    is_black = all(high <= LARGEST_BLACK_LEVEL for _, high in extrema)
    return is_black, all(high - low <= LARGEST_UNIFORM_RANGE for low, high in extrema)


def _noise_score(rgb: Image.Image, source: Image.Image | None) -> float:
    found = _detail(rgb)
    if source is None:
        chroma, luma = _excess(found.chroma, list(repeat(_UNKNOWN_SOURCE_CHROMA_LEVELS, len(found.chroma)))), 0.0
    else:
        own = _detail(source)
        chroma, luma = _excess(found.chroma, own.chroma), _excess(found.luma, own.luma)
    total = chroma / _CHROMA_HALF_LEVELS + luma / _LUMA_HALF_LEVELS
    return total / (1 + total)


def _excess(found: Sequence[float], own: Sequence[float]) -> float:
    """Root of the summed squares of what goes beyond the source's own detail."""
    pairs = zip(found, own, strict=False)  # a picture too small has fewer bands
    return math.hypot(*(max(0.0, a - _TOLERATED_RATIO * b - _MARGIN_LEVELS) for a, b in pairs))


def _detail(rgb: Image.Image) -> _Detail:
    factor = math.ceil(math.sqrt(rgb.width * rgb.height) / _LARGEST_MEAN_SIDE_PX)
    picture = (rgb.reduce(factor) if factor > 1 else rgb).convert("YCbCr")
    chroma: list[float] = []
    luma: list[float] = []
    while len(chroma) < _CHROMA_BANDS and min(picture.size) >= _LEAST_SIDE_PX:
        coarse = picture.reduce(2)
        doubled = coarse.resize((coarse.width * 2, coarse.height * 2), Image.Resampling.NEAREST)
        mean = doubled if doubled.size == picture.size else doubled.crop((0, 0, *picture.size))
        y, cb, cr = ImageChops.subtract_modulo(picture, mean).split()
        if len(luma) < _LUMA_BANDS:
            luma.append(_tile(y, _LUMA_TILE))
        chroma.append(_least_chroma(cb, cr))
        picture = coarse
    return _Detail(tuple(chroma), tuple(luma))


def _least_chroma(cb: Image.Image, cr: Image.Image) -> float:
    """Chroma detail along the one of four directions in the plane of Cb and Cr that shows least.

    Colouring, from one colour to another, lies along a line and nearly vanishes across it; noise does not.
    """
    straight = min(_tile(cb, _CHROMA_TILE), _tile(cr, _CHROMA_TILE))
    both = (ImageChops.add_modulo(cb, cr), ImageChops.subtract_modulo(cb, cr))
    return min(straight, *(_tile(band, _CHROMA_TILE) / math.sqrt(2) for band in both))


def _tile(band: Image.Image, share: float) -> float:
    """Mean absolute detail of the tile that `share` of the tiles do not exceed."""
    tile = (max(1, band.width // _TILES), max(1, band.height // _TILES))
    means = sorted(band.point(_AMPLIFY).reduce(tile).tobytes())
    return means[math.ceil(share * len(means)) - 1] / _GAIN
