"""How like two pictures are, and how like a picture is to itself when it is merely taken again. Pure.

Likeness is the mean structural similarity (Wang et al. 2004, scikit-image's implementation: uniform windows of 7 px,
data range 255) of the luma, after what a second photograph changes anyway has been undone: the shift within
`REACH_PX` pixels and the brightness and contrast (least squares, gain 0.5 to 2) that bring the two closest.
1 is the same picture, 0 has nothing in common, below 0 is its negative.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.metrics import structural_similarity

from .pixels import Grey, fit_within, grey_of, levels_of

REACH_PX = 2
"""Largest shift that is undone."""
LARGEST_SIDE_PX = 512
"""Larger pictures are shrunk to this before they are compared."""
JPEG_QUALITY = 90
SENSOR_NOISE_LEVELS = 1.5
"""Least standard deviation of the noise that a camera adds; a noisier source is taken again with its own."""

_WINDOW_PX = 7
_MARGIN_PX = 8
_SLACK_RATE = 0.25
_GAINS = (0.5, 2.0)
_EDITED_RATE = 0.1

Mask: TypeAlias = npt.NDArray[np.bool_]
_Window: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True)
class Likeness:
    """Structural similarity of a picture to its base, each in [-1, 1]."""

    inside: float
    """Within the changed area, after alignment."""
    outside: float | None
    """In the rest, pixel for pixel, a window away from the changed area; None where there is no such rest."""


def likeness(picture: Image.Image, base: Image.Image, mask: Image.Image | None = None) -> Likeness:
    """How like a picture is to the one it was made from.

    Args:
        picture: of any size and mode; brought to the base's size where it differs.
        base: of any mode.
        mask: mode "L", of the base's size; the picture was changed where it is above 0. None: everywhere.
    """
    if picture.size != base.size:
        picture = picture.resize(base.size, Image.Resampling.BICUBIC)
    box = None if mask is None else mask.getbbox()
    if mask is None or box is None:
        return Likeness(pair_likeness(comparable(picture), comparable(base)), None)
    window = _grown(box, base.size)
    area = comparable_area(mask.crop(window))
    inside = pair_likeness(comparable(picture.crop(window)), comparable(base.crop(window)), area)
    touched = comparable_area(mask)
    # A window that reaches into the changed area sees the change, too.
    outside = ~ndimage.maximum_filter(touched, _WINDOW_PX, mode="nearest")
    if not outside.any():
        return Likeness(inside, None)
    return Likeness(inside, _mean(_similarity_map(comparable(picture), comparable(base)), outside))


def likeness_of_retakes(base: Image.Image, mask: Image.Image | None = None) -> float:
    """The lowest likeness inside the area that taking the picture again alone brings about, in [-1, 1].

    Taken again as JPEG of quality 90, and with sensor noise: of the picture's own strength (Immerkaer 1996, times the
    root of two, since the noise is in both), 1.5 levels at least, and not clipped, for black and white would hide it. A
    shift by one pixel lowers nothing, for alignment undoes it. A quarter of what is missing to 1 is allowed on top, for
    another draw of the noise is not the same.

    Args:
        base: of any mode.
        mask: as for `likeness`.
    """
    lowest = min(likeness(retake, base, mask).inside for retake in retakes(base))
    return max(-1.0, 1 - (1 + _SLACK_RATE) * (1 - lowest))


def retakes(base: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The picture as JPEG, mode "L", and with sensor noise, mode "F"."""
    grey = grey_of(base)
    picture = Image.fromarray(levels_of(grey))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    deviation = max(SENSOR_NOISE_LEVELS, float(np.sqrt(2)) * noise_level(grey))
    noise = np.random.default_rng(0).standard_normal(grey.shape, dtype=np.float32)
    return Image.open(buffer), Image.fromarray(grey + np.float32(deviation) * noise)


def noise_level(grey: Grey) -> float:
    """Standard deviation of the noise in levels, from the median of Immerkaer's (1996) filter: edges hardly count."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    # The filter multiplies white noise by 6; a median absolute value is 0.6745 deviations of a normal one.
    return float(np.median(np.abs(ndimage.convolve(grey, kernel, mode="nearest"))) / (6 * 0.6745))


def pair_likeness(one: Grey, other: Grey, area: Mask | None = None) -> float:
    """Likeness of two pictures of one size after alignment, in [-1, 1].

    Args:
        one: (H, W), as `comparable` gives it.
        other: (H, W).
        area: (H, W), where to compare; everywhere by default.
    """
    if min(one.shape) < 2 * REACH_PX + _WINDOW_PX:
        return _mean(_similarity_map(one, other), area)
    mine, its = _overlap(one.shape, *_best_shift(one, other))
    moved, fixed = one[mine], other[its]
    part = None if area is None else area[its]
    return _mean(_similarity_map(_like_exposed(moved, fixed), fixed), part)


def comparable(picture: Image.Image) -> Grey:
    """The picture as `pair_likeness` wants it."""
    small = fit_within(picture, LARGEST_SIDE_PX)
    # Our own retake: levels already, and not to be clipped.
    return np.asarray(small, dtype=np.float32) if small.mode == "F" else grey_of(small)


def comparable_area(mask: Image.Image) -> Mask:
    """Where a mask is above 0, at the size of `comparable`."""
    return np.asarray(fit_within(mask, LARGEST_SIDE_PX)) > 0


def _grown(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    return (
        max(0, left - _MARGIN_PX),
        max(0, top - _MARGIN_PX),
        min(size[0], right + _MARGIN_PX),
        min(size[1], bottom + _MARGIN_PX),
    )


def _best_shift(one: Grey, other: Grey) -> tuple[int, int]:
    """The shift of `one` that leaves the least variance of the difference; the shortest of a tie."""
    reach = range(-REACH_PX, REACH_PX + 1)
    shifts = sorted(((dy, dx) for dy in reach for dx in reach), key=lambda shift: shift[0] ** 2 + shift[1] ** 2)

    def left_over(shift: tuple[int, int]) -> float:
        mine, its = _overlap(one.shape, *shift)
        difference = (one[mine] - other[its]).ravel()
        mean = float(difference.mean())
        return round(float(np.dot(difference, difference)) / difference.size - mean * mean, 4)

    return min(shifts, key=left_over)


def _overlap(shape: tuple[int, ...], dy: int, dx: int) -> tuple[_Window, _Window]:
    """What two pictures of this shape have in common when the first is moved by (-dy, -dx): a window of each."""
    height, width = shape[:2]
    of_one = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
    of_other = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
    return of_one, of_other


def _like_exposed(moved: Grey, fixed: Grey) -> Grey:
    """The first in the brightness and contrast that bring it closest to the second.

    Fitted twice, the second time without the tenth of the pixels that fits worst: an edit is no exposure.
    """
    gain, offset = _fit(moved, fixed)
    residual = np.abs(moved * gain + offset - fixed)
    kept = residual <= np.quantile(residual, 1 - _EDITED_RATE)
    gain, offset = _fit(moved[kept], fixed[kept])
    return np.asarray(moved * gain + offset, dtype=np.float32)


def _fit(moved: npt.NDArray[np.float32], fixed: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Gain and offset of least squares, the gain within bounds."""
    mean, target = float(moved.mean()), float(fixed.mean())
    spread = float(moved.var())
    gain = float(((moved - mean) * (fixed - target)).mean()) / spread if spread > 0 else 1.0
    gain = min(max(gain, _GAINS[0]), _GAINS[1])
    return gain, target - gain * mean


def _similarity_map(one: Grey, other: Grey) -> Grey:
    """Structural similarity around every pixel, (H, W)."""
    window = min(_WINDOW_PX, (min(one.shape) - 1) | 1)
    if window < 3 or min(one.shape) < window:
        return np.asarray(1 - np.abs(one - other) / 255, dtype=np.float32)
    _, found = structural_similarity(  # type: ignore[no-untyped-call]
        one, other, win_size=window, data_range=255.0, full=True
    )
    return np.asarray(found, dtype=np.float32)


def _mean(similarity: Grey, area: Mask | None) -> float:
    values = similarity if area is None or not area.any() else similarity[area]
    return float(np.clip(values.mean(), -1, 1))
