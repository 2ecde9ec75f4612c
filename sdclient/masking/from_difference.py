"""Masks out of the difference between a defect image and a good image of the same place.

The good image is laid over the other by phase correlation (Guizar-Sicairos et al. 2008, `skimage.registration`) and its
brightness is fitted. A pixel then differs by how far it lies outside of the range that the good image has within one
pixel around it, so that an edge that is half a pixel off is no difference. What stands out against the noise of the two
images is the defect; faint surroundings that hang on to it belong to it (hysteresis), crumbs do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import sizing
from ..errors import MaskError, MissingExtra
from ..photos import printable, read_photo
from ..sources import Source
from .make import NoMask
from .names import NamedImages, Names, choose_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MAX_SHIFT_PX = 10.0

_LEAST_LEVELS = 16.0
_FAINT = 0.5
_NOISE_TIMES = 5.0
_MAD_TO_SIGMA = 1.4826
_UPSAMPLE = 10
_TRIMMED = 0.9
_STRUCTURE_LEVELS = 6.0
_LEAST_CORRELATION = 0.6
_MOST_CHANGED = 0.4
_LEAST_AREA_PX = 5
_CLOSE_STEPS = 2


@dataclass(frozen=True)
class Alignment:
    """How a good image lies over a defect image."""

    down_px: float
    right_px: float
    correlation: float
    """Of what both show, the defect left out; from -1 to 1."""
    structure_levels: float
    """How much there is to align by: the standard deviation of the good image, smoothed."""

    @property
    def shift_px(self) -> float:
        """How far the good image had to be moved."""
        return math.hypot(self.down_px, self.right_px)

    @property
    def is_sure(self) -> bool:
        """Whether the two show the same; on a surface without structure there is nothing to tell it by."""
        return self.structure_levels < _STRUCTURE_LEVELS or self.correlation >= _LEAST_CORRELATION


class DifferenceMasks:
    """Where sources differ from good images.

    Args:
        good: one good image for all sources; or a folder of them, named like the sources or the photographs, at its top
            or in class folders.
        sources_folder: where the sources are.
        sources: all that masks are wanted of.
        max_shift_px: how far a good image may have to be moved, px.

    Raises:
        SourceError: there is no such file or folder, or it is no image.
        MissingExtra: what this needs is not installed.
    """

    def __init__(
        self, good: Path, sources_folder: Path, sources: Sequence[Source], *, max_shift_px: float = MAX_SHIFT_PX
    ) -> None:
        _check_installed()
        self._max_shift_px = max_shift_px
        self._file = good if good.is_file() else None
        self._images = None if good.is_file() else NamedImages(good)
        self._names = Names({}, are_original=False)
        if self._images is not None:
            self._names = choose_names(
                sources_folder, sources, lambda source, name: self._find(source, name) is not None
            )

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        """See `MaskOrigin`."""
        path = self._find(source, self._names.of(source))
        if path is None:
            raise NoMask("no good image of its name")
        good = read_photo(path)
        if good.size != size:
            raise NoMask(f"{size[0]} x {size[1]} px, but {printable(path)} has {good.width} x {good.height} px")
        try:
            return difference_mask(read_photo(source.path), good, max_shift_px=self._max_shift_px)
        except MaskError as error:
            raise NoMask(f"against {printable(path)}: {error}") from error

    def notes(self) -> Iterator[str]:
        """By which names the good images were looked for."""
        if self._images is not None:
            names = "the photographs' names" if self._names.are_original else "the sources' numbers"
            yield f"good images were found by {names}"

    def _find(self, source: Source, name: str) -> Path | None:
        return self._file if self._images is None else self._images.find(source, name)


def difference_mask(defect: Image.Image, good: Image.Image, *, max_shift_px: float = MAX_SHIFT_PX) -> Image.Image:
    """Where a defect image differs from a good image of the same place.

    Args:
        defect: decoded and upright, any mode.
        good: the same, of the same size.
        max_shift_px: how far the good image may have to be moved, px.

    Returns:
        Mode "L", 255 where they differ.

    Raises:
        MaskError: they do not show the same place, or nothing differs.
        MissingExtra: what this needs is not installed.
    """
    _check_installed()
    import numpy as np
    from scipy import ndimage

    ours, theirs = _alike(defect, good)
    grey, grey_good = ours.mean(axis=2), theirs.mean(axis=2)
    found = align(grey, grey_good)
    if not found.is_sure:
        raise MaskError(
            f"they do not show the same place (correlation {found.correlation:.2f}, expected "
            f"{_LEAST_CORRELATION} or more); give the good image of this very place"
        )
    if found.shift_px > max_shift_px:
        raise MaskError(
            f"the good image lies {found.shift_px:.1f} px off, at most {max_shift_px:g} px are allowed; "
            "cut both alike, or raise --max-shift"
        )
    moved = ndimage.shift(theirs, (found.down_px, found.right_px, 0), order=1, mode="nearest")
    pairs = [(ours[..., band], _fitted(moved[..., band], ours[..., band])) for band in range(ours.shape[2])]
    noise = max(_noise(picture - fitted) for picture, fitted in pairs)
    differs = np.max([_beyond(picture, fitted) for picture, fitted in pairs], axis=0)
    differs[~_seen_by_both(differs.shape, found)] = 0
    area = _cleaned(differs, max(_LEAST_LEVELS, _NOISE_TIMES * noise))
    changed = float(area.mean())
    if changed > _MOST_CHANGED:
        raise MaskError(f"{changed:.0%} of the picture differ; they do not show the same place in the same light")
    if not area.any():
        raise MaskError("nothing differs by more than the noise; draw this mask by hand")
    return Image.fromarray(area.astype(np.uint8) * 255)


def align(grey: Array, good: Array) -> Alignment:
    """How to move a good image so that it lies over another.

    Args:
        grey: (H, W) levels.
        good: the same.
    """
    import numpy as np
    from scipy import ndimage
    from skimage.registration import phase_cross_correlation

    window = np.outer(np.hanning(grey.shape[0] + 2)[1:-1], np.hanning(grey.shape[1] + 2)[1:-1])
    seen, wanted = (window * (picture - picture.mean()) for picture in (grey, good))
    shifts = [(0.0, 0.0)]
    if seen.any() and wanted.any():
        for normalization in ("phase", None):
            shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
                seen, wanted, upsample_factor=_UPSAMPLE, normalization=normalization
            )
            shifts.append((float(shift[0]), float(shift[1])))
    smooth, smooth_good = (ndimage.gaussian_filter(picture, 1.0) for picture in (grey, good))
    best = max(shifts, key=lambda shift: _correlation(smooth, smooth_good, shift))
    return Alignment(*best, _correlation(smooth, smooth_good, best), float(smooth_good.std()))


def _correlation(picture: Array, good: Array, shift: tuple[float, float]) -> float:
    """Pearson's, over what both show, without the tenth of the pixels that differ most: the defect is among them."""
    import numpy as np
    from scipy import ndimage

    moved = ndimage.shift(good, shift, order=1, mode="nearest")
    seen = _seen_by_both(picture.shape, Alignment(*shift, 0, 0))
    if seen.sum() < 2:
        return -1.0
    one, other = picture[seen], moved[seen]
    off = np.abs(one - _fitted(other, one))
    alike = off <= np.quantile(off, _TRIMMED)
    one, other = one[alike], other[alike]
    if one.std() == 0 or other.std() == 0:
        return 1.0 if one.std() == other.std() else 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _fitted(good: Array, picture: Array) -> Array:
    """The good image in the other's light: gain and offset by least squares, once more without what is far off."""
    import numpy as np

    flat, wanted = good.ravel(), picture.ravel()
    keep = np.ones(flat.shape, dtype=bool)
    gain, offset = 1.0, 0.0
    for _ in range(2):
        x, y = flat[keep], wanted[keep]
        if x.std() > 1:
            gain, offset = (float(value) for value in np.polyfit(x, y, 1))
        else:
            gain, offset = 1.0, float(np.median(y - x))
        off = np.abs(gain * flat + offset - wanted)
        keep = off <= np.quantile(off, _TRIMMED)
    return np.asarray(gain * good + offset)


def _beyond(picture: Array, good: Array) -> Array:
    """How far each pixel lies outside of what the good image has within one pixel around it, levels."""
    import numpy as np
    from scipy import ndimage

    high, low = ndimage.maximum_filter(good, 3), ndimage.minimum_filter(good, 3)
    return np.asarray(np.maximum(np.maximum(picture - high, low - picture), 0))


def _noise(off: Array) -> float:
    """Standard deviation of a difference, from its median so that a defect does not count."""
    import numpy as np

    return float(_MAD_TO_SIGMA * np.median(np.abs(off - np.median(off))))


def _seen_by_both(shape: tuple[int, ...], found: Alignment) -> Any:
    """Where the moved good image has pixels of its own, (H, W) bool."""
    import numpy as np

    seen = np.ones(shape[:2], dtype=bool)
    for axis, shift in enumerate((found.down_px, found.right_px)):
        edge = min(math.ceil(abs(shift)), shape[axis])
        gone = slice(0, edge) if shift > 0 else slice(shape[axis] - edge, shape[axis])
        seen[gone if axis == 0 else (slice(None), gone)] = False
    return seen


def _cleaned(differs: Array, least_levels: float) -> Any:
    """(H, W) bool: what stands out and what hangs on to it, closed, filled, without crumbs."""
    import numpy as np
    from scipy import ndimage
    from skimage.filters import apply_hysteresis_threshold

    area = apply_hysteresis_threshold(  # type: ignore[no-untyped-call]
        differs, _FAINT * least_levels, least_levels
    )
    padded = np.pad(area, _CLOSE_STEPS)
    closed = ndimage.binary_closing(padded, iterations=_CLOSE_STEPS)[
        _CLOSE_STEPS:-_CLOSE_STEPS, _CLOSE_STEPS:-_CLOSE_STEPS
    ]
    filled = ndimage.binary_fill_holes(closed)
    pieces, _ = ndimage.label(filled, structure=np.ones((3, 3)))
    large = np.bincount(pieces.ravel()) >= _LEAST_AREA_PX
    large[0] = False
    return large[pieces]


def _alike(defect: Image.Image, good: Image.Image) -> tuple[Array, Array]:
    """Both as (H, W, bands) levels: in colour if both are, else in grey."""
    import numpy as np

    pictures = [sizing.eight_bit(image) for image in (defect, good)]
    mode = "RGB" if all(picture.mode == "RGB" for picture in pictures) else "L"
    ours, theirs = (np.atleast_3d(np.asarray(picture.convert(mode), dtype=np.float64)) for picture in pictures)
    return ours, theirs


def _check_installed() -> None:
    try:
        import scipy  # noqa: F401
        import skimage  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Finding the difference between images", "curate") from error
