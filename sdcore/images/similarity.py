"""How similar two images are, and how similar a second photograph of the same thing would be. Pure.

The similarity is the mean structural similarity (Wang et al. 2004: uniform windows of 7 px, data range 255, K1 0.01,
K2 0.03, as scikit-image computes it) of the luma, after what a second photograph changes anyway has been undone: the
shift within `REACH_PX` pixels and the brightness and contrast (least squares, gain 0.5 to 2) that bring the two
closest. 1 is the same image, 0 has nothing in common, below 0 is like its negative.
"""

import io
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from .decode import to_rgb

Grey: TypeAlias = npt.NDArray[np.float32]
"""(H, W) luma in levels of 0-255, weighted as in ITU-R BT.601."""
Mask: TypeAlias = npt.NDArray[np.bool_]
_Window: TypeAlias = tuple[slice, slice]

REACH_PX = 2
"""Largest shift that is undone."""
LARGEST_SIDE_PX = 512
"""Larger images are shrunk to this before they are compared."""
JPEG_QUALITY = 90
SENSOR_NOISE_LEVELS = 1.5
"""Least standard deviation of the noise that a camera adds; a noisier source is taken again with its own."""

_WINDOW_PX = 7
_MARGIN_PX = 8
_SLACK_RATE = 0.25
_GAINS = (0.5, 2.0)
_EDITED_RATE = 0.1
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True)
class Similarity:
    """Structural similarity of an image to its base, each in [-1, 1]."""

    inside: float
    """Within the changed area, after alignment."""
    outside: float | None
    """In the rest, pixel for pixel, a window away from the changed area; None where there is no such rest."""


def similarity(image: Image.Image, base: Image.Image, mask: Image.Image | None = None) -> Similarity:
    """How similar an image is to the one it was made from; it is brought to the base's size where it differs.

    `mask`, mode "L" and of the base's size, is above 0 where the image was changed; None: everywhere.
    """
    from scipy.ndimage import maximum_filter

    if image.size != base.size:
        image = image.resize(base.size, Image.Resampling.BICUBIC)
    box = None if mask is None else mask.getbbox()
    if mask is None or box is None:
        return Similarity(aligned_similarity(to_comparable(image), to_comparable(base)), None)
    window = _grown(box, base.size)
    area = comparable_area(mask.crop(window))
    inside = aligned_similarity(to_comparable(image.crop(window)), to_comparable(base.crop(window)), area)
    touched = comparable_area(mask)
    # A window that reaches into the changed area sees the change, too.
    outside = ~maximum_filter(touched, _WINDOW_PX, mode="nearest")
    if not outside.any():
        return Similarity(inside, None)
    return Similarity(inside, _mean(similarity_map(to_comparable(image), to_comparable(base)), outside))


def retake_similarity(base: Image.Image, mask: Image.Image | None = None) -> float:
    """The lowest similarity inside the area that a second photograph of the same thing would have, in [-1, 1].

    Two are tried: the image as JPEG of quality 90, and the image with sensor noise. The noise has the image's own
    strength (Immerkaer 1996, times the root of two, since the noise is in both), at least 1.5 levels, and is not
    clipped, because black and white would hide it. A shift by one pixel lowers nothing, because alignment undoes it. A
    quarter of the difference to 1 is allowed on top, because the noise is never drawn the same twice. `mask` is as for
    `similarity`.
    """
    lowest = min(similarity(retake, base, mask).inside for retake in retakes(base))
    return max(-1.0, 1 - (1 + _SLACK_RATE) * (1 - lowest))


def is_changed(image: Image.Image, source: Image.Image, floor: float | None = None) -> bool:
    """Whether an image differs from its source by more than taking the source again would.

    `floor` is `retake_similarity(source)` where it is known already.
    """
    return similarity(image, source).inside < (retake_similarity(source) if floor is None else floor)


def retakes(base: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The image as JPEG, mode "L", and with sensor noise, mode "F"."""
    grey = luma_of(base)
    image = Image.fromarray(levels_of(grey))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    deviation = max(SENSOR_NOISE_LEVELS, float(np.sqrt(2)) * noise_level(grey))
    noise = np.random.default_rng(0).standard_normal(grey.shape, dtype=np.float32)
    return Image.open(buffer), Image.fromarray(grey + np.float32(deviation) * noise)


def noise_level(grey: Grey) -> float:
    """Standard deviation of the noise in levels, from the median of Immerkaer's (1996) filter: edges hardly count."""
    from scipy.ndimage import convolve

    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    # The filter multiplies white noise by 6; a median absolute value is 0.6745 deviations of a normal one.
    return float(np.median(np.abs(convolve(grey, kernel, mode="nearest"))) / (6 * 0.6745))


def aligned_similarity(one: Grey, other: Grey, area: Mask | None = None) -> float:
    """Similarity of two (H, W) images from `to_comparable` after alignment, in [-1, 1]; only in `area` where given."""
    if min(one.shape) < 2 * REACH_PX + _WINDOW_PX:
        return _mean(similarity_map(one, other), area)
    mine, its = _overlap(one.shape, *_best_shift(one, other))
    moved, fixed = one[mine], other[its]
    return _mean(similarity_map(_like_exposed(moved, fixed), fixed), None if area is None else area[its])


def to_comparable(image: Image.Image) -> Grey:
    """The image as `aligned_similarity` takes it."""
    small = fit_within(image, LARGEST_SIDE_PX)
    # A retake is in levels already, and must not be clipped.
    return np.asarray(small, dtype=np.float32) if small.mode == "F" else luma_of(small)


def comparable_area(mask: Image.Image) -> Mask:
    """Where a mask is above 0, at the size of `to_comparable`."""
    return np.asarray(fit_within(mask, LARGEST_SIDE_PX)) > 0


def luma_of(image: Image.Image) -> Grey:
    """The luma of an image of any mode; deep grey and transparency as `sdcore.images.decode.to_rgb` takes them."""
    flat = image if image.mode in {"L", "RGB"} else to_rgb(image)
    return np.asarray(flat.convert("L"), dtype=np.float32)


def levels_of(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Rounded and clipped to 8 bits."""
    return np.asarray(np.clip(np.rint(grey), 0, 255), dtype=np.uint8)


def fit_within(image: Image.Image, side_px: int) -> Image.Image:
    """The image, shrunk so that its longer side is at most `side_px`."""
    factor = side_px / max(image.size)
    if factor >= 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BOX)


def _grown(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = (max(0, edge - _MARGIN_PX) for edge in box[:2])
    right, bottom = (min(side, edge + _MARGIN_PX) for side, edge in zip(size, box[2:], strict=True))
    return left, top, right, bottom


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
    """The overlap of two images of this shape when the first is moved by (-dy, -dx): a window of each."""
    height, width = shape[:2]
    of_one = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
    of_other = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
    return of_one, of_other


def _like_exposed(moved: Grey, fixed: Grey) -> Grey:
    """The first in the brightness and contrast that bring it closest to the second.

    Fitted twice, the second time without the tenth of the pixels that fits worst: an edit is no change of exposure.
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


def similarity_map(one: Grey, other: Grey) -> Grey:
    """Structural similarity around every pixel, (H, W)."""
    window = min(_WINDOW_PX, (min(one.shape) - 1) | 1)
    if window < 3 or min(one.shape) < window:
        return np.asarray(1 - np.abs(one - other) / 255, dtype=np.float32)
    from scipy.ndimage import uniform_filter

    # In double precision: the variances are small differences of large squares.
    x, y = one.astype(np.float64), other.astype(np.float64)
    # Variances of a sample are divided by the number less one.
    unbiased = window**2 / (window**2 - 1)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(uniform_filter(values, window))

    mean_x, mean_y = mean(x), mean(y)
    var_x = unbiased * (mean(x * x) - mean_x**2)
    var_y = unbiased * (mean(y * y) - mean_y**2)
    both = unbiased * (mean(x * y) - mean_x * mean_y)
    top = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
    bottom = (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    return np.asarray(top / bottom, dtype=np.float32)


def _mean(values: Grey, area: Mask | None) -> float:
    part = values if area is None or not area.any() else values[area]
    return float(np.clip(part.mean(), -1, 1))
