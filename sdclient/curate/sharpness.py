"""How sharp a picture is, how much fine texture it has, and how restless its quiet parts are. Pure.

A blurred picture has soft edges. An oil painting has hard edges and nothing between them. Noise leaves no part quiet.
So one number each for the edges, for the texture between them, and for the quiet parts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sdcore.images.similarity import Grey

_FINE_PX, _COARSE_PX = 0.7, 1.4
_LEAST_DETAIL_LEVELS = 0.5
"""Less detail than this along a direction says nothing about sharpness."""
_ROUNDING_VARIANCE = 1 / 12
_WINDOW_PX = 7
_QUIET_RATE = 0.1


def sharpness(grey: Grey) -> float | None:
    """Finest detail as a multiple of the next coarser, 0 and up; about 1 is crisp, under 0.5 blurred.

    Along rows and along columns, detail is split off by Gaussians of 0.7 px and 1.4 px; the ratio of the root mean
    squares is taken where there is detail at all, and the lower of the two counts, for motion blurs one direction.
    What rounding to 8 bits adds is subtracted. Exposure cancels out.

    Args:
        grey: (H, W) in levels.

    Returns:
        The ratio, or None for a picture that is flat along both directions.
    """
    ratios = [ratio for axis in (0, 1) if (ratio := _fineness(grey, axis)) is not None]
    return min(ratios, default=None)


def texture(grey: Grey) -> float:
    """Median over the pixels of the absolute detail finer than 0.7 px, in levels from 0; edges hardly count."""
    return float(np.median(np.abs(grey - ndimage.gaussian_filter(grey, _FINE_PX, mode="nearest"))))


def grain(grey: Grey) -> float:
    """Deviation within 7 x 7 px that a tenth of the places stays below, in levels from 0.

    Real surfaces have quiet places; noise, fine or in blobs, has none.
    """
    mean = ndimage.uniform_filter(grey, _WINDOW_PX, mode="nearest")
    variance = ndimage.uniform_filter(grey * grey, _WINDOW_PX, mode="nearest") - mean * mean
    return float(np.quantile(np.sqrt(np.maximum(variance, 0)), _QUIET_RATE))


def _fineness(grey: Grey, axis: int) -> float | None:
    smooth = ndimage.gaussian_filter1d(grey, _FINE_PX, axis=axis, mode="nearest")
    smoother = ndimage.gaussian_filter1d(smooth, _COARSE_PX, axis=axis, mode="nearest")
    fine_gain, coarse_gain = _rounding_gains()
    fine = max(0.0, float(np.square(grey - smooth).mean()) - _ROUNDING_VARIANCE * fine_gain)
    coarse = max(0.0, float(np.square(smooth - smoother).mean()) - _ROUNDING_VARIANCE * coarse_gain)
    if coarse < _LEAST_DETAIL_LEVELS**2:
        return None
    return float(np.sqrt(fine / coarse))


@lru_cache(maxsize=1)
def _rounding_gains() -> tuple[float, float]:
    """Factor by which each band takes up the variance of independent rounding errors."""
    impulse: npt.NDArray[np.float64] = np.zeros(41)
    impulse[20] = 1
    smooth = ndimage.gaussian_filter1d(impulse, _FINE_PX)
    smoother = ndimage.gaussian_filter1d(smooth, _COARSE_PX)
    return float(np.square(impulse - smooth).sum()), float(np.square(smooth - smoother).sum())
