"""Whether a picture differs from another by more than taking that one again would change. Pure.

Likeness is the mean structural similarity (Wang et al. 2004: uniform windows of 7 px, data range 255, K1 0.01, K2 0.03)
of the luma, after what a second photograph changes anyway has been undone: the shift within 2 px and the brightness
and contrast (least squares, gain 0.5 to 2) that bring the two closest. A picture is too alike when its likeness to its
source is not below that of the source to its own retakes: shifted by a pixel (which alignment undoes), as JPEG of
quality 90, and with sensor noise of the source's own strength (Immerkaer 1996), 1.5 levels at least, not clipped,
for black and white would hide it. A quarter of what they miss to 1 is allowed on top. It is the floor that 'sdclient
curate' uses for "too alike".
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Grey = npt.NDArray[np.float32]
"""(H, W) luma in levels of 0 to 255."""

REACH_PX = 2
JPEG_QUALITY = 90
SENSOR_NOISE_LEVELS = 1.5
_WINDOW_PX = 7
_SLACK_RATE = 0.25
_GAINS = (0.5, 2.0)
_EDITED_RATE = 0.1
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def luma_of(pixels: npt.NDArray[np.uint8]) -> Grey:
    """Luma by ITU-R BT.601 of (C, H, W) pixels, C 1 or 3."""
    if len(pixels) == 1:
        return np.asarray(pixels[0], dtype=np.float32)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("L"), dtype=np.float32)


def is_changed(picture: Grey, source: Grey, floor: float | None = None) -> bool:
    """Whether a picture is below the floor for "too alike".

    Args:
        picture: (H, W).
        source: (H, W), what it was made from.
        floor: `likeness_of_retakes(source)`, where it is known already.
    """
    return likeness(picture, source) < (likeness_of_retakes(source) if floor is None else floor)


def likeness(one: Grey, other: Grey) -> float:
    """Structural similarity after alignment, in [-1, 1].

    Args:
        one: (H, W), sides of 11 px or more.
        other: (H, W).
    """
    dy, dx = _best_shift(one, other)
    mine, its = _overlap(one.shape, dy, dx)
    return structural_similarity(_like_exposed(one[mine], other[its]), other[its])


def likeness_of_retakes(source: Grey) -> float:
    """The lowest likeness that taking the picture again alone brings about, less a quarter of what it misses to 1."""
    lowest = min(likeness(retake, source) for retake in _retakes(source))
    return max(-1.0, 1 - (1 + _SLACK_RATE) * (1 - lowest))


def structural_similarity(one: Grey, other: Grey) -> float:
    """Mean over all windows of `_WINDOW_PX` px, variances of a sample (divided by their number less one)."""
    from scipy.ndimage import uniform_filter

    x, y = one.astype(np.float64), other.astype(np.float64)
    count = _WINDOW_PX**2
    unbiased = count / (count - 1)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(uniform_filter(values, _WINDOW_PX))

    mean_x, mean_y = mean(x), mean(y)
    var_x = unbiased * (mean(x * x) - mean_x**2)
    var_y = unbiased * (mean(y * y) - mean_y**2)
    both = unbiased * (mean(x * y) - mean_x * mean_y)
    top = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
    bottom = (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    return float(np.clip((top / bottom).mean(), -1, 1))


def _retakes(source: Grey) -> tuple[Grey, Grey]:
    buffer = io.BytesIO()
    Image.fromarray(_levels(source)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    # A noisy picture has its noise in both takes, which counts twice in variance.
    deviation = max(SENSOR_NOISE_LEVELS, float(np.sqrt(2)) * _noise_level(source))
    noise = np.random.default_rng(0).standard_normal(source.shape, dtype=np.float32)
    return np.asarray(Image.open(buffer), dtype=np.float32), source + np.float32(deviation) * noise


def _noise_level(grey: Grey) -> float:
    """Standard deviation of the noise, from the median of Immerkaer's filter, which edges hardly move."""
    from scipy.ndimage import convolve

    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    # The filter multiplies white noise by 6; a median absolute value is 0.6745 deviations of a normal one.
    return float(np.median(np.abs(convolve(grey, kernel, mode="nearest"))) / (6 * 0.6745))


def _best_shift(one: Grey, other: Grey) -> tuple[int, int]:
    """The shift of `one` that leaves the least variance of the difference; the shortest of a tie."""
    reach = range(-REACH_PX, REACH_PX + 1)
    shifts = sorted(((dy, dx) for dy in reach for dx in reach), key=lambda shift: shift[0] ** 2 + shift[1] ** 2)

    def variance_left(shift: tuple[int, int]) -> float:
        mine, its = _overlap(one.shape, *shift)
        return round(float((one[mine] - other[its]).var()), 4)

    return min(shifts, key=variance_left)


def _overlap(shape: tuple[int, ...], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What the two have in common when the first is moved by (-dy, -dx): a window of each."""
    height, width = shape
    mine = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
    its = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
    return mine, its


def _like_exposed(one: Grey, other: Grey) -> Grey:
    """The first in the brightness and contrast that bring it closest to the second.

    A second fit leaves out the tenth of the pixels that the first one fits worst, for an edit is no exposure.
    """
    gain, offset = _exposure(one, other)
    left = np.abs(one * gain + offset - other)
    unedited = left <= np.quantile(left, 1 - _EDITED_RATE)
    gain, offset = _exposure(one[unedited], other[unedited])
    return np.asarray(one * gain + offset, dtype=np.float32)


def _exposure(one: Grey, other: Grey) -> tuple[float, float]:
    """(gain, offset) of least squares from the first to the second, the gain within `_GAINS`."""
    mean, target, spread = float(one.mean()), float(other.mean()), float(one.var())
    gain = float(((one - mean) * (other - target)).mean()) / spread if spread > 0 else 1.0
    gain = min(max(gain, _GAINS[0]), _GAINS[1])
    return gain, target - gain * mean


def _levels(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
