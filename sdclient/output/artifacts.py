"""Is a result black, of one colour, or rainbow noise? Pillow alone.

The noise score compares the detail of picture and source by scale (`detail`), in levels of 0-255:

chroma   detail of Cb and Cr in the middle one of the tiles, along the direction of colour that shows least of it.
         Noise is everywhere and of all colours; real colour changes at some edges, from one colour to another.
luma     detail of Y in the quietest quarter of the tiles, in the finest bands alone: noise leaves nothing flat.

What goes beyond a tolerated multiple of the source's own is excess; independent noise adds up by squares, so the excess
is the root of their difference, less a margin. The root of its summed squares over the bands, divided by the excess
that is worth a score of a half, gives x for chroma and for luma; the score is x / (1 + x) of their sum. The constants
were chosen by `bench/spoiled_pictures.py`; docs/probe.md has its table.

A picture is split into bands, each twice as coarse as the one before (what averaging 2 x 2 px loses). The absolute
detail is averaged over 8 x 8 tiles; of a large picture some rows, spread evenly, stand for all. Pure; Pillow alone.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from PIL import Image, ImageChops

LARGEST_BLACK_LEVEL = 10
"""A picture without a pixel above this level (0-255) is black."""
LARGEST_UNIFORM_RANGE = 6
"""A picture whose levels differ by no more than this in each of R, G and B has one colour."""

_FEW_PX = 64
_SPECK_RATE = 0.0015
"""Share of the darkest and of the brightest pixels of a source that a result may lose without being spoiled."""


CHROMA_BANDS = 6


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


_UNKNOWN_SOURCE = Detail((ChromaDetail(1.5, 0),) * CHROMA_BANDS, ())
"""Taken for the source's own detail where there is no source to look at."""


@dataclass(frozen=True)
class ArtifactLimits:
    """From where on a picture counts as spoiled."""

    noise_score: float = 0.5
    """Highest noise score that passes; 1 lets every noise pass."""


@dataclass(frozen=True)
class ArtifactScores:
    """What was found in one picture."""

    noise_score: float
    """From 0 (no more noise than the source) to below 1; noise is plain to see at 0.5, and all there is at 0.9."""
    is_black: bool
    """No pixel is above `LARGEST_BLACK_LEVEL`, though the source has some."""
    is_uniform: bool
    """One colour only, though the source has more."""
    luma_score: float = 0.0
    """The part of the noise score that is grey noise, from 0 to below 1."""
    chroma_score: float = 0.0
    """The part that is noise of colour, from 0 to below 1."""


@dataclass(frozen=True)
class _Tolerance:
    ratio: float
    """Multiple of the source's own detail that passes."""
    margin_levels: float
    half_levels: float
    """The excess that is worth a score of a half."""

    def tolerated(self, own: float) -> float:
        """The most detail that is no excess, where the source has so much."""
        return math.hypot(self.ratio * own, self.margin_levels)

    def excess(self, found: Sequence[float], own: Sequence[float]) -> float:
        """Excess over all bands, 1 where it is worth a half."""
        beyond = (math.sqrt(max(0.0, a**2 - (self.ratio * b) ** 2)) for a, b in zip(found, own, strict=False))
        return math.hypot(*(max(0.0, levels - self.margin_levels) for levels in beyond)) / self.half_levels


_CHROMA = _Tolerance(ratio=1.35, margin_levels=1.0, half_levels=3.0)
_LUMA = _Tolerance(ratio=1.5, margin_levels=1.5, half_levels=14.0)


PixelBox = tuple[int, int, int, int]
"""(left, top, right, bottom), px; right and bottom exclusive."""

ImageCheck: TypeAlias = "Callable[[Image.Image, Image.Image, PixelBox | None], str | None]"
"""(image as the server sent it, source as it was sent, box of what was made anew) -> why the image is rejected.

None as the result: nothing is wrong. Outside of the box the image equals its source; without a box, all was made anew.
"""


class _LastSources:
    """Detail of the last sources asked about, for as long as these are alive."""

    def __init__(self) -> None:
        self._kept: deque[tuple[weakref.ref[Image.Image], PixelBox, Detail]] = deque(maxlen=8)

    def detail_of(self, source: Image.Image, box: PixelBox) -> Detail:
        found = next((detail for kept, of, detail in tuple(self._kept) if kept() is source and of == box), None)
        if found is None:
            found = measure_detail(_as_rgb(source.crop(box)))
            self._kept.append((weakref.ref(source), box, found))
        return found


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


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


_LAST_SOURCES = _LastSources()


def measure_artifacts(
    image: Image.Image, source: Image.Image | None = None, *, source_detail: Detail | None = None
) -> ArtifactScores:
    """Measure a generated picture against its source.

    Args:
        image: as the server sent it, before it is brought back to the source's size and mode.
        source: as it was sent to the server (`sizing.prepare`), of the same size. Without one, any black or
            one-coloured picture is told, and noise by its colour alone, for grey noise may be a real texture.
        source_detail: the source's, where it is known already.
    """
    rgb = _as_rgb(image)
    source_rgb = None if source is None else _as_rgb(source)
    few = rgb.resize((_FEW_PX, _FEW_PX), Image.Resampling.NEAREST)
    is_black, is_uniform = _flatness(_extremes(few))
    if is_black or is_uniform:  # what some pixels refute, all of them would
        is_black, is_uniform = _flatness(_extremes(rgb))
    if source_rgb is not None and (is_black or is_uniform):
        source_is_black, source_is_uniform = _flatness(_extremes_without_specks(source_rgb))
        is_black, is_uniform = is_black and not source_is_black, is_uniform and not source_is_uniform
    luma, chroma = _excess(rgb, source_rgb, source_detail)
    return ArtifactScores(_score(luma + chroma), is_black, is_uniform, _score(luma), _score(chroma))


def rejection_reason(findings: ArtifactScores, limits: ArtifactLimits | None = None) -> str | None:
    """Why a picture cannot be used, in a few words, or None when nothing is wrong with it."""
    limit = (limits or ArtifactLimits()).noise_score
    if findings.is_black:
        return "black picture"
    if findings.is_uniform:
        return "one colour only"
    if findings.noise_score > limit:
        return f"rainbow noise (score {findings.noise_score:.2f}, limit {limit:g})"
    return None


def find_artifacts(image: Image.Image, source: Image.Image, changed: PixelBox | None = None) -> str | None:
    """Why an image made from this source is not worth keeping, at the usual limits; None when nothing is wrong.

    A run asks about many images of one source one after the other: what was found in the last few sources is kept, so
    the picture given as `source` must not be changed in place between two calls.

    Args:
        image: as the server sent it.
        source: as it was sent, of the same size.
        changed: (left, top, right, bottom) of the part that was made anew, where the rest is the source: that part
            alone is looked at, lest noise in it vanish among the rest. It may have one colour, as sound copper has.
    """
    return rejection_reason(measure_changed_part(image, source, changed))


def measure_changed_part(image: Image.Image, source: Image.Image, changed: PixelBox | None = None) -> ArtifactScores:
    """What `find_artifacts` judges by; arguments as there."""
    whole = (0, 0, *source.size)
    box = changed or whole
    detail = _LAST_SOURCES.detail_of(source, box)
    if box == whole:
        return measure_artifacts(image, source, source_detail=detail)
    findings = measure_artifacts(image.crop(box), source.crop(box), source_detail=detail)
    return replace(findings, is_uniform=False)


def _flatness(extremes: Sequence[tuple[int, int]]) -> tuple[bool, bool]:
    """Whether a picture with these lowest and highest levels is black, and whether it has one colour."""
    is_black = all(high <= LARGEST_BLACK_LEVEL for _, high in extremes)
    return is_black, all(high - low <= LARGEST_UNIFORM_RANGE for low, high in extremes)


def _extremes(rgb: Image.Image) -> list[tuple[int, int]]:
    # One band gives one pair, which Pillow's types leave open.
    return [band.getextrema() for band in rgb.split()]  # type: ignore[misc]


def _extremes_without_specks(rgb: Image.Image) -> list[tuple[int, int]]:
    specks = _SPECK_RATE * rgb.width * rgb.height
    histograms = [band.histogram() for band in rgb.split()]
    return [(_first_beyond(specks, counts), 255 - _first_beyond(specks, counts[::-1])) for counts in histograms]


def _first_beyond(specks: float, counts: Sequence[int]) -> int:
    return next(level for level, total in enumerate(accumulate(counts)) if total > specks)


def _excess(rgb: Image.Image, source: Image.Image | None, source_detail: Detail | None) -> tuple[float, float]:
    """Excess of luma and of chroma, each 1 where it is worth a half."""
    own = source_detail or (_UNKNOWN_SOURCE if source is None else measure_detail(source))
    # No more than the tolerated is as good as none, and in a good picture found at once.
    enough = [ChromaDetail(_CHROMA.tolerated(band.levels), band.direction) for band in own.chroma]
    found = measure_detail(rgb, enough)
    luma = 0.0 if source is None else _LUMA.excess(found.luma, own.luma)
    return luma, _CHROMA.excess([band.levels for band in found.chroma], [band.levels for band in own.chroma])


def _score(excess: float) -> float:
    return excess / (1 + excess)
