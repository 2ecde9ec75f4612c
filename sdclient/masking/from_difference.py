"""Masks out of the difference between a defect image and a good image of the same place.

The good image is laid over the other (`alignment`) and put into its light. A pixel then differs by how far it lies
outside of the range that the good image has within one pixel around it, so that an edge that is half a pixel off is no
difference. What stands out against the noise of the two images is the defect; faint surroundings that hang on to it
belong to it (hysteresis), crumbs do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from sdcore.files import printable
from sdcore.images.decode import to_8_bit

from ..errors import MaskError, MissingExtra
from ..photos import read_photo
from ..sources import Source
from .alignment import LEAST_CORRELATION, MAX_SHIFT_PX, align, seen_by_both
from .make import NoMask
from .names import NamedImages, Names, choose_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

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
    found = align(ours.mean(axis=2), theirs.mean(axis=2), max_shift_px=max_shift_px)
    if not found.is_sure:
        raise MaskError(
            f"they do not show the same place (correlation {found.correlation:.2f}, expected "
            f"{LEAST_CORRELATION} or more); give the good image of this very place"
        )
    if found.shift_px > max_shift_px:
        raise MaskError(
            f"the good image lies {found.shift_px:.1f} px off, at most {max_shift_px:g} px are allowed; "
            "cut both alike, or raise --max-shift"
        )
    moved = ndimage.shift(theirs, (found.down_px, found.right_px, 0), order=1, mode="nearest")
    pairs = [(ours[..., band], _in_the_light_of(ours[..., band], moved[..., band])) for band in range(ours.shape[2])]
    noise = max(_noise(picture - lit) for picture, lit in pairs)
    differs = np.max([_beyond(picture, lit) for picture, lit in pairs], axis=0)
    differs[~seen_by_both(differs.shape, found)] = 0
    area = _cleaned(differs, max(_LEAST_LEVELS, _NOISE_TIMES * noise))
    changed = float(area.mean())
    if changed > _MOST_CHANGED:
        raise MaskError(f"{changed:.0%} of the picture differ; they do not show the same place in the same light")
    if not area.any():
        raise MaskError("nothing differs by more than the noise; draw this mask by hand")
    return Image.fromarray(area.astype(np.uint8) * 255)


def _in_the_light_of(picture: Array, good: Array) -> Array:
    """The good image with the light of the other: a gain and an offset that change smoothly over the picture.

    By least squares, twice more without the pixels that are far off: the defect must not bend the light.
    """
    import numpy as np

    down, right = np.meshgrid(*(np.linspace(-1, 1, length) for length in picture.shape), indexing="ij")
    level = good / 255
    terms = (np.ones_like(level), down, right, down * right, down**2, right**2, level, level * down, level * right)
    every = np.stack([term.ravel() for term in terms], axis=1)
    wanted = picture.ravel()
    some = np.arange(0, wanted.size, max(1, wanted.size // _FITTED_PIXELS))
    keep = np.ones(some.size, dtype=bool)
    for _ in range(3):
        chosen = some[keep]
        factors, *_ = np.linalg.lstsq(every[chosen], wanted[chosen], rcond=None)
        off = np.abs(every[some] @ factors - wanted[some])
        keep = off <= np.quantile(off, _TRIMMED)
    return np.asarray((every @ factors).reshape(picture.shape))


def _beyond(picture: Array, good: Array) -> Array:
    """How far each pixel lies outside of what the good image has within one pixel around it, levels."""
    import numpy as np
    from scipy import ndimage

    high, low = ndimage.maximum_filter(good, 3), ndimage.minimum_filter(good, 3)
    return np.asarray(np.maximum(np.maximum(picture - high, low - picture), 0))


def _noise(off: Array) -> float:
    """Standard deviation of the fine part of a difference, by its median, so that no defect counts, not a wide one."""
    import numpy as np
    from scipy import ndimage

    fine = off - ndimage.gaussian_filter(off, _NOISE_PX)
    return float(_MAD_TO_SIGMA * np.median(np.abs(fine)))


def _cleaned(differs: Array, least_levels: float) -> Any:
    """(H, W) bool: what stands out and what hangs on to it, closed, filled; no crumbs, and no slivers along edges."""
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
    pieces, count = ndimage.label(filled, structure=np.ones((3, 3)))
    thick = ndimage.binary_opening(area, structure=np.ones((2, 2)))
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= _LEAST_AREA_PX
    large &= np.bincount(pieces[thick], minlength=count + 1) > 0
    large[0] = False
    return large[pieces]


def _alike(defect: Image.Image, good: Image.Image) -> tuple[Array, Array]:
    """Both as (H, W, bands) levels: in colour if both are, else in grey."""
    import numpy as np

    pictures = [to_8_bit(image) for image in (defect, good)]
    mode = "RGB" if all(picture.mode == "RGB" for picture in pictures) else "L"
    ours, theirs = (np.atleast_3d(np.asarray(picture.convert(mode), dtype=np.float64)) for picture in pictures)
    return ours, theirs


def _check_installed() -> None:
    try:
        import scipy  # noqa: F401
        import skimage  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Finding the difference between images", "curate") from error
