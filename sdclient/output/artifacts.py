"""Finds unusable results: black, of one colour, or rainbow noise. Needs Pillow alone.

The noise score compares the detail of image and source, in levels of 0-255. An image is split into bands, each twice as
coarse as the one before; the detail of a band is what averaging over 2 x 2 px loses. Its absolute value is averaged
over 8 x 8 tiles. In a large image, evenly spaced rows are measured instead of all.

chroma   detail of Cb and Cr in the median tile, along the direction of colour with the least detail. Noise is
         everywhere and in all colours; real colour changes at some edges, from one colour to another.
luma     detail of Y in the quietest quarter of the tiles, in the finest bands only: noise leaves nothing flat.

Detail beyond a tolerated multiple of the source's own is excess. The squares of independent noise add up, so the excess
is the root of the difference of squares, less a margin. The root of its summed squares over the bands, divided by the
excess that gives a score of 0.5, is x, for chroma and for luma; the score is x / (1 + x) of their sum. The constants
were chosen with `bench/spoiled_pictures.py`; docs/probe.md has its table.
"""

import math
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from PIL import Image, ImageChops

LARGEST_BLACK_LEVEL = 10
"""An image without a pixel above this level (0-255) is black."""
LARGEST_UNIFORM_RANGE = 6
"""An image whose levels differ by no more than this in each of R, G and B has one colour."""

_FEW_PX = 64
_SPECK_RATE = 0.0015
"""Share of the darkest and of the brightest pixels of a source that are ignored when the source itself is flat."""

CHROMA_BANDS = 6


@dataclass(frozen=True)
class ChromaDetail:
    """Detail of colour in one band."""

    levels: float
    """Along the one of four directions in the plane of Cb and Cr with the least detail."""
    direction: int
    """Index of this direction in `_DIRECTIONS`."""


@dataclass(frozen=True)
class Detail:
    """Detail of each band, fine to coarse, in levels of 0-255."""

    chroma: tuple[ChromaDetail, ...]
    """Of the median tile."""
    luma: tuple[float, ...]
    """Of the tile at the lower quartile."""


_UNKNOWN_SOURCE = Detail((ChromaDetail(1.5, 0),) * CHROMA_BANDS, ())
"""Assumed for the source if there is none."""


@dataclass(frozen=True)
class ArtifactLimits:
    """The limit above which an image is rejected."""

    noise_score: float = 0.5
    """Highest noise score that passes; 1 accepts any noise."""


@dataclass(frozen=True)
class ArtifactScores:
    """Measurements of one image."""

    noise_score: float
    """From 0 (no more noise than the source) to below 1; at 0.5 noise is clearly visible, at 0.9 it is all there is."""
    is_black: bool
    """No pixel is above `LARGEST_BLACK_LEVEL`, but the source has such pixels."""
    is_uniform: bool
    """One colour only, but the source has more."""
    luma_score: float = 0.0
    """The score of grey noise alone."""
    chroma_score: float = 0.0
    """The score of colour noise alone."""


@dataclass(frozen=True)
class _Tolerance:
    ratio: float
    """Multiple of the source's own detail that passes."""
    margin_levels: float
    half_levels: float
    """The excess that gives a score of 0.5."""

    def tolerated(self, own: float) -> float:
        """The most detail without excess, for a source with this detail."""
        return math.hypot(self.ratio * own, self.margin_levels)

    def excess(self, found: Sequence[float], own: Sequence[float]) -> float:
        """Excess over all bands; 1 gives a score of 0.5."""
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
    """Cache of the detail of the last sources; weak references, so that it keeps no image alive.

    Threads share it without a lock: appending to a deque is one operation, and the search works on a copy. At worst a
    source is measured twice.
    """

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
"""A band counts for luma if at least so many of its cells fit across the image; coarser bands show real structure."""
_TILES = 8
_CHROMA_TILE = 0.5
_LUMA_TILE = 0.25
_LEAST_SIDE_PX = 8
_LARGEST_MEAN_SIDE_PX = 640
_SAMPLED_PX = 2**13
"""About so many pixels of a band are measured; this is enough for means over tiles."""
_LEAST_ROWS = 16
_GAIN = 4
"""Factor for absolute detail, which is stored in 8 bits: so a tile's mean is exact to a quarter level."""
_AMPLIFY = [min(255, _GAIN * min(level, 256 - level)) for level in range(256)]
"""Table from signed detail, modulo 256, to its absolute value times the gain."""
_DIRECTIONS: tuple[tuple[Callable[[Image.Image, Image.Image], Image.Image], float], ...] = (
    (lambda cb, cr: cb, 1.0),
    (lambda cb, cr: cr, 1.0),
    (ImageChops.add_modulo, math.sqrt(2)),
    (ImageChops.subtract_modulo, math.sqrt(2)),
)
"""(how to combine Cb and Cr, by how much that scales them), one for each direction."""


def measure_detail(rgb: Image.Image, enough: Sequence[ChromaDetail] = ()) -> Detail:
    """The detail of an image.

    `enough` holds, for each band, the level of chroma at which the search ends, and the direction to begin with.
    """
    factor = math.ceil(math.sqrt(rgb.width * rgb.height) / _LARGEST_MEAN_SIDE_PX)
    image = rgb.reduce(factor) if factor > 1 else rgb
    chroma: list[ChromaDetail] = []
    luma: list[float] = []
    while len(chroma) < CHROMA_BANDS and min(image.size) >= _LEAST_SIDE_PX:
        if _rows(image) == image.height:  # converted once; its reductions then need no conversion
            image = _ycbcr(image)
        coarse = image.reduce(2)
        y, cb, cr = _signed_detail(image, coarse).split()
        cells = min(image.size) // 2
        if len(luma) < _LUMA_BANDS and cells >= _LEAST_LUMA_CELLS:
            luma.append(_tile(y, _LUMA_TILE))
        band = len(chroma)
        chroma.append(_least_chroma(cb, cr, enough[band] if band < len(enough) else ChromaDetail(0.0, 0)))
        image = coarse
    return Detail(tuple(chroma), tuple(luma))


def _rows(image: Image.Image) -> int:
    """How many rows of an image are measured."""
    return min(image.height, max(_LEAST_ROWS, _SAMPLED_PX // image.width))


def _signed_detail(image: Image.Image, coarse: Image.Image) -> Image.Image:
    """Y, Cb and Cr less the mean of their cell of 2 x 2 px, modulo 256; for the rows that are measured.

    The image is RGB or YCbCr, `coarse` is the same reduced by 2.
    """
    (width, height), rows, half = image.size, _rows(image), image.height / 2
    if rows < height:
        # NEAREST picks matching rows in both: the row in `coarse` is the cell of the row in `image`.
        image = image.resize((width, rows), Image.Resampling.NEAREST)
        coarse = coarse.resize((coarse.width, rows), Image.Resampling.NEAREST, box=(0, 0, coarse.width, half))
        half = rows
    # Half sizes as floats: with an odd size, the last cell is cut off.
    mean = _ycbcr(coarse).resize((width, rows), Image.Resampling.NEAREST, box=(0, 0, width / 2, half))
    return ImageChops.subtract_modulo(_ycbcr(image), mean)


def _ycbcr(image: Image.Image) -> Image.Image:
    return image if image.mode == "YCbCr" else image.convert("YCbCr")


def _least_chroma(cb: Image.Image, cr: Image.Image, enough: ChromaDetail) -> ChromaDetail:
    """Detail along the direction with the least of it.

    A change between two colours lies along a line and nearly vanishes across it; noise does not.
    """
    least = ChromaDetail(math.inf, enough.direction)
    for number in sorted(range(len(_DIRECTIONS)), key=lambda number: number != enough.direction):
        combine, scale = _DIRECTIONS[number]
        found = ChromaDetail(_tile(combine(cb, cr), _CHROMA_TILE) / scale, number)
        least = min(least, found, key=lambda one: one.levels)
        if least.levels <= enough.levels:
            break
    return least


def _tile(band: Image.Image, share: float) -> float:
    """The quantile `share` of the tiles' mean absolute detail."""
    tile = (max(1, band.width // _TILES), max(1, band.height // _TILES))
    means = sorted(band.point(_AMPLIFY).reduce(tile).tobytes())
    return means[math.ceil(share * len(means)) - 1] / _GAIN


_LAST_SOURCES = _LastSources()


def measure_artifacts(
    image: Image.Image, source: Image.Image | None = None, *, source_detail: Detail | None = None
) -> ArtifactScores:
    """Compare a generated image with its source.

    Args:
        image: as the server sent it, before it is brought back to the source's size and mode.
        source: as it was sent to the server (`fit_to_model`), of the same size. Without it, any black or one-coloured
            image is reported, and noise is measured by colour alone, because grey noise may be a real texture.
        source_detail: the source's detail, if it is known.
    """
    rgb = _as_rgb(image)
    source_rgb = None if source is None else _as_rgb(source)
    few = rgb.resize((_FEW_PX, _FEW_PX), Image.Resampling.NEAREST)
    is_black, is_uniform = _flatness(_extremes(few))
    if is_black or is_uniform:  # a sample can only disprove it; so look at all pixels
        is_black, is_uniform = _flatness(_extremes(rgb))
    if source_rgb is not None and (is_black or is_uniform):
        source_is_black, source_is_uniform = _flatness(_extremes_without_specks(source_rgb))
        is_black, is_uniform = is_black and not source_is_black, is_uniform and not source_is_uniform
    luma, chroma = _excess(rgb, source_rgb, source_detail)
    return ArtifactScores(_score(luma + chroma), is_black, is_uniform, _score(luma), _score(chroma))


def rejection_reason(scores: ArtifactScores, limits: ArtifactLimits | None = None) -> str | None:
    """Why an image is rejected, in a few words; None if nothing is wrong."""
    limit = (limits or ArtifactLimits()).noise_score
    if scores.is_black:
        return "black picture"
    if scores.is_uniform:
        return "one colour only"
    if scores.noise_score > limit:
        return f"rainbow noise (score {scores.noise_score:.2f}, limit {limit:g})"
    return None


def find_artifacts(image: Image.Image, source: Image.Image, changed: PixelBox | None = None) -> str | None:
    """Why an image made from this source is rejected, at the default limits; None if nothing is wrong.

    The detail of the last few sources is cached, so `source` must not be changed in place between two calls.

    Args:
        image: as the server sent it.
        source: as it was sent, of the same size.
        changed: box of the part that was made anew, if the rest is the source. Only this part is measured: in the whole
            image its noise would count too little. It may have one colour, like plain copper.
    """
    return rejection_reason(measure_changed_part(image, source, changed))


def measure_changed_part(image: Image.Image, source: Image.Image, changed: PixelBox | None = None) -> ArtifactScores:
    """The scores that `find_artifacts` decides by; arguments as there."""
    whole = (0, 0, *source.size)
    box = changed or whole
    detail = _LAST_SOURCES.detail_of(source, box)
    if box == whole:
        return measure_artifacts(image, source, source_detail=detail)
    return replace(measure_artifacts(image.crop(box), source.crop(box), source_detail=detail), is_uniform=False)


def _flatness(extremes: Sequence[tuple[int, int]]) -> tuple[bool, bool]:
    """Whether an image with these lowest and highest levels is black, and whether it has one colour."""
    is_black = all(high <= LARGEST_BLACK_LEVEL for _, high in extremes)
    return is_black, all(high - low <= LARGEST_UNIFORM_RANGE for low, high in extremes)


def _extremes(rgb: Image.Image) -> list[tuple[int, int]]:
    # One band gives one pair; Pillow's types do not say so.
    return [band.getextrema() for band in rgb.split()]  # type: ignore[misc]


def _extremes_without_specks(rgb: Image.Image) -> list[tuple[int, int]]:
    specks = _SPECK_RATE * rgb.width * rgb.height
    histograms = [band.histogram() for band in rgb.split()]
    return [(_first_beyond(specks, counts), 255 - _first_beyond(specks, counts[::-1])) for counts in histograms]


def _first_beyond(specks: float, counts: Sequence[int]) -> int:
    return next(level for level, total in enumerate(accumulate(counts)) if total > specks)


def _excess(rgb: Image.Image, source: Image.Image | None, source_detail: Detail | None) -> tuple[float, float]:
    """Excess of luma and of chroma; 1 gives a score of 0.5."""
    own = source_detail or (_UNKNOWN_SOURCE if source is None else measure_detail(source))
    # Detail below the tolerated level has no effect, so the search may stop there; in a good image it stops at once.
    enough = [ChromaDetail(_CHROMA.tolerated(band.levels), band.direction) for band in own.chroma]
    found = measure_detail(rgb, enough)
    luma = 0.0 if source is None else _LUMA.excess(found.luma, own.luma)
    return luma, _CHROMA.excess([band.levels for band in found.chroma], [band.levels for band in own.chroma])


def _score(excess: float) -> float:
    return excess / (1 + excess)
