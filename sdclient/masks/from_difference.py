"""Masks from the difference to an aligned good image.

The good image is aligned with the defect image (`align`) and matched to its light. A pixel differs by its distance to
the range of the good image within one pixel, so that an edge half a pixel off is no difference. What exceeds the noise
of both images is the defect, together with fainter pixels connected to it (hysteresis); tiny pieces are dropped.

Importing this module raises `MissingExtra` if scipy or scikit-image is not installed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sdcore.files import printable
from sdcore.images.decode import to_8_bit

from ..errors import MaskError, MissingExtra
from ..sources.source import Source, read_photo
from .make import NamedImages, NoMaskForSource, SourceNames, choose_names

try:
    import numpy as np
    from numpy.typing import NDArray
    from scipy import fft, ndimage
    from skimage.filters import apply_hysteresis_threshold
    from skimage.registration import phase_cross_correlation
except ImportError as error:
    raise MissingExtra("Finding the difference between images", "curate") from error

Array = NDArray[np.float64]

MAX_SHIFT_PX = 10.0
LEAST_CORRELATION = 0.35

_LEAST_LEVELS = 16.0
_FAINT = 0.5
_NOISE_TIMES = 5.0
_NOISE_PX = 2.0
_MAD_TO_SIGMA = 1.4826
_TRIMMED = 0.75
_FITTED_PIXELS = 20_000
_MOST_CHANGED = 0.4
_LEAST_AREA_PX = 5
_CLOSE_STEPS = 2
_FINE_PX, _COARSE_PX = 1.0, 8.0
_UPSAMPLE = 10
_ALIKE = 0.97
_SAME = 1e-6
_STRUCTURE_LEVELS = 1.5


class DifferenceMasks:
    """Where sources differ from good images.

    Args:
        good: one good image for all sources; or a folder of them, named like the sources or the photographs, at its top
            or in class folders.
        max_shift_px: the largest shift between the two images, px.

    Raises:
        SourceError: no such file or folder, or no image.
    """

    def __init__(
        self, good: Path, sources_folder: Path, sources: Sequence[Source], *, max_shift_px: float = MAX_SHIFT_PX
    ) -> None:
        self._max_shift_px = max_shift_px
        self._file = good if good.is_file() else None
        self._images = None if good.is_file() else NamedImages(good)
        self._names = SourceNames({}, are_original=False)
        if self._images is not None:
            self._names = choose_names(
                sources_folder, sources, lambda source, name: self._find(source, name) is not None
            )

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        """See `MaskOrigin`."""
        path = self._find(source, self._names.of(source))
        if path is None:
            raise NoMaskForSource("no good image of its name")
        good = read_photo(path)
        if good.size != size:
            raise NoMaskForSource(
                f"{size[0]} x {size[1]} px, but {printable(path)} has {good.width} x {good.height} px"
            )
        try:
            return difference_mask(read_photo(source.path), good, max_shift_px=self._max_shift_px)
        except MaskError as error:
            raise NoMaskForSource(f"against {printable(path)}: {error}") from error

    def notes(self) -> Iterator[str]:
        """By which names the good images were found."""
        if self._images is not None:
            yield f"good images were found by {self._names.description}"

    def _find(self, source: Source, name: str) -> Path | None:
        return self._file if self._images is None else self._images.find(source, name)


def difference_mask(defect: Image.Image, good: Image.Image, *, max_shift_px: float = MAX_SHIFT_PX) -> Image.Image:
    """Mode "L", 255 where a defect image differs from a good image of the same place; both upright, of one size.

    Raises:
        MaskError: they do not show the same place, or nothing differs.
    """
    ours, theirs = _alike(defect, good)
    found = align(ours.mean(axis=2), theirs.mean(axis=2), max_shift_px=max_shift_px)
    if not found.is_sure:
        raise MaskError(
            f"they do not show the same place (correlation {found.correlation:.2f}, expected "
            f"{LEAST_CORRELATION} or more); give the good image of the same place"
        )
    if found.shift_px > max_shift_px:
        raise MaskError(
            f"the good image is {found.shift_px:.1f} px off, at most {max_shift_px:g} px are allowed; "
            "cut both alike, or raise --max-shift"
        )
    moved = ndimage.shift(theirs, (found.down_px, found.right_px, 0), order=1, mode="nearest")
    pairs = [(ours[..., band], _match_light(ours[..., band], moved[..., band])) for band in range(ours.shape[2])]
    noise = max(_noise(image - lit) for image, lit in pairs)
    differs = np.max([_beyond(image, lit) for image, lit in pairs], axis=0)
    differs[~seen_by_both(differs.shape, found)] = 0
    area = _cleaned(differs, max(_LEAST_LEVELS, _NOISE_TIMES * noise))
    changed = float(area.mean())
    if changed > _MOST_CHANGED:
        raise MaskError(f"{changed:.0%} of the image differ; they do not show the same place in the same light")
    if not area.any():
        raise MaskError("nothing differs by more than the noise; draw this mask by hand")
    return Image.fromarray(area.astype(np.uint8) * 255)


def _match_light(image: Array, good: Array) -> Array:
    """The good image with the light of the other: a gain and an offset that change smoothly over the image.

    By least squares, twice more without the pixels that are far off, so that the defect does not affect the light.
    """
    down, right = np.meshgrid(*(np.linspace(-1, 1, length) for length in image.shape), indexing="ij")
    level = good / 255
    terms = (np.ones_like(level), down, right, down * right, down**2, right**2, level, level * down, level * right)
    every = np.stack([term.ravel() for term in terms], axis=1)
    wanted = image.ravel()
    some = np.arange(0, wanted.size, max(1, wanted.size // _FITTED_PIXELS))
    keep = np.ones(some.size, dtype=bool)
    for _ in range(3):
        chosen = some[keep]
        factors, *_ = np.linalg.lstsq(every[chosen], wanted[chosen], rcond=None)
        off = np.abs(every[some] @ factors - wanted[some])
        keep = off <= np.quantile(off, _TRIMMED)
    return np.asarray((every @ factors).reshape(image.shape))


def _beyond(image: Array, good: Array) -> Array:
    """Distance in levels of each pixel to the range of the good image within one pixel around it."""
    high, low = ndimage.maximum_filter(good, 3), ndimage.minimum_filter(good, 3)
    return np.asarray(np.maximum(np.maximum(image - high, low - image), 0))


def _noise(off: Array) -> float:
    """Standard deviation of the fine part of a difference, from its median, so that not even a wide defect counts."""
    fine = off - ndimage.gaussian_filter(off, _NOISE_PX)
    return float(_MAD_TO_SIGMA * np.median(np.abs(fine)))


def _cleaned(differs: Array, least_levels: float) -> Any:
    """(H, W) bool: hysteresis threshold, closed and filled; without tiny pieces and thin slivers along edges."""
    area = apply_hysteresis_threshold(differs, _FAINT * least_levels, least_levels)  # type: ignore[no-untyped-call]
    closed = ndimage.binary_closing(np.pad(area, _CLOSE_STEPS), iterations=_CLOSE_STEPS)
    inner = slice(_CLOSE_STEPS, -_CLOSE_STEPS)
    filled = ndimage.binary_fill_holes(closed[inner, inner])
    pieces, count = ndimage.label(filled, structure=np.ones((3, 3)))
    thick = ndimage.binary_opening(area, structure=np.ones((2, 2)))
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= _LEAST_AREA_PX
    large &= np.bincount(pieces[thick], minlength=count + 1) > 0
    large[0] = False
    return large[pieces]


def _alike(defect: Image.Image, good: Image.Image) -> tuple[Array, Array]:
    """Both as (H, W, bands) levels: in colour if both are, else in grey."""
    images = [to_8_bit(image) for image in (defect, good)]
    mode = "RGB" if all(image.mode == "RGB" for image in images) else "L"
    ours, theirs = (np.atleast_3d(np.asarray(image.convert(mode), dtype=np.float64)) for image in images)
    return ours, theirs


@dataclass(frozen=True)
class Alignment:
    """The shift that aligns a good image with a defect image."""

    down_px: float
    right_px: float
    correlation: float
    """Over the common area without the defect; -1 to 1."""
    structure_levels: float
    """Structure to align by: the standard deviation of the good image between two scales."""

    @property
    def shift_px(self) -> float:
        """How far the good image had to be moved."""
        return math.hypot(self.down_px, self.right_px)

    @property
    def is_sure(self) -> bool:
        """Whether the two show the same place; assumed on a surface without structure."""
        return self.structure_levels < _STRUCTURE_LEVELS or self.correlation >= LEAST_CORRELATION


def align(grey: Array, good: Array, *, max_shift_px: float = MAX_SHIFT_PX) -> Alignment:
    """The shift that aligns a good image with another, both (H, W) levels.

    Uneven light and noise are filtered out first. The shift is the best of phase correlation (Guizar-Sicairos et al.
    2008, `skimage.registration`), plain correlation and no shift, refined to a tenth of a pixel. Images without
    structure are not moved.

    Args:
        max_shift_px: search up to this shift; a larger one is returned only if it is sure.
    """
    fine, fine_good = (
        ndimage.gaussian_filter(image, _FINE_PX) - ndimage.gaussian_filter(image, _COARSE_PX) for image in (grey, good)
    )
    structure = float(fine_good.std())
    if structure < _STRUCTURE_LEVELS:
        return Alignment(0.0, 0.0, _correlation(fine, fine_good, (0.0, 0.0)), structure)
    window = np.outer(np.hanning(grey.shape[0] + 2)[1:-1], np.hanning(grey.shape[1] + 2)[1:-1])
    seen, wanted = window * fine, window * fine_good
    shifts = [(0.0, 0.0), _best_within(seen, wanted, max_shift_px)]
    if seen.any() and wanted.any():
        for normalization in ("phase", None):
            shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
                seen, wanted, upsample_factor=_UPSAMPLE, normalization=normalization
            )
            shifts.append((float(shift[0]), float(shift[1])))
    rated = [(_correlation(fine, fine_good, shift), shift) for shift in shifts]
    best = max(rated)
    if math.hypot(*best[1]) > max_shift_px and best[0] < LEAST_CORRELATION:
        best = max(one for one in rated if math.hypot(*one[1]) <= max_shift_px)
    correlation, shift = _refined(fine, fine_good, best)
    return Alignment(*shift, correlation, structure)


def _best_within(seen: Array, wanted: Array, reach_px: float) -> tuple[float, float]:
    """The whole-pixel shift up to `reach_px` down and across with the highest correlation."""
    correlation = fft.irfft2(fft.rfft2(seen) * np.conj(fft.rfft2(wanted)), s=seen.shape)
    down, right = (np.minimum(np.arange(length), length - np.arange(length)) for length in seen.shape)
    correlation[(down[:, None] > reach_px) | (right[None, :] > reach_px)] = -np.inf
    peak = np.unravel_index(int(correlation.argmax()), seen.shape)
    # Indices beyond the middle stand for negative shifts.
    row, column = (at - (length if at > length / 2 else 0) for at, length in zip(peak, seen.shape, strict=True))
    return float(row), float(column)


def _refined(
    fine: Array, fine_good: Array, best: tuple[float, tuple[float, float]]
) -> tuple[float, tuple[float, float]]:
    """Hill climbing from the best shift, in ever smaller steps."""
    for step in (1.0, 0.5, 0.25, 0.1):
        improved = True
        while improved:
            down, right = best[1]
            around = [(down + step, right), (down - step, right), (down, right + step), (down, right - step)]
            rated = max((_correlation(fine, fine_good, shift), shift) for shift in around)
            improved = rated[0] > best[0] + _SAME
            best = rated if improved else best
    return best


def _correlation(image: Array, good: Array, shift: tuple[float, float]) -> float:
    """Pearson correlation over the common area, without the few pixels that differ most, such as the defect."""
    moved = ndimage.shift(good, shift, order=1, mode="nearest")
    seen = seen_by_both(image.shape, Alignment(*shift, 0, 0))
    if seen.sum() < 2:
        return -1.0
    one, other = image[seen], moved[seen]
    gain = float(one.std() / other.std()) if other.std() > 0 else 1.0
    off = np.abs(one - gain * other)
    alike = off <= np.quantile(off, _ALIKE)
    one, other = one[alike], other[alike]
    if one.std() == 0 or other.std() == 0:
        return 1.0 if one.std() == other.std() else 0.0
    return float(np.corrcoef(one, other)[0, 1])


def seen_by_both(shape: tuple[int, ...], found: Alignment) -> Any:
    """Where the moved good image has pixels of its own, (H, W) bool."""
    seen = np.ones(shape[:2], dtype=bool)
    for axis, shift in enumerate((found.down_px, found.right_px)):
        edge = min(math.ceil(abs(shift)), shape[axis])
        gone = slice(0, edge) if shift > 0 else slice(shape[axis] - edge, shape[axis])
        seen[gone if axis == 0 else (slice(None), gone)] = False
    return seen
