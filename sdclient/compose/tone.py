"""A defect's tone brought to that of the surface around its new place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pixels import Area, Pixels
from .settings import Tone

_CALM_LEVELS = 6.0
"""Added to both spreads before their ratio is taken: the noise of two plain surfaces says nothing of contrast."""
_SAME_STRUCTURE = 0.7
_LEAST_GAIN, _MOST_GAIN = 0.7, 1.4
_ROUNDS = 6


def match_tone(pixels: Pixels, there: Pixels, ring: Area, how: Tone) -> Pixels:
    """The defect's window as it would look at the new place.

    Around the defect and around the new place each channel has a level and all channels together a spread. The
    contrast around the level becomes `(spread there + 6) / (own spread + 6)` times as strong, within 0.7 to 1.4; where
    both rings show the same structure (a correlation of 0.7), the ratio is that of least squares. The level becomes
    that of the new place, which may slope: a plane is fitted to the differences on the ring, robustly, so that a trace
    that differs moves nothing.

    Args:
        pixels: (H, W, C) the defect in its pose.
        there: (H, W, C) the same window of the new place.
        ring: (H, W) the surroundings.
        how: "full" as told, "mean" without the contrast, "none" leaves all as it is.
    """
    if how == "none" or not ring.any():
        return pixels
    own, other = pixels[ring].astype(np.float64), there[ring].astype(np.float64)
    level = np.median(own, axis=0)
    gain = _gain(own, other) if how == "full" else 1.0
    around = level + gain * (own - level)
    slope = _plane(other - around, ring)
    return (level + gain * (pixels - level) + slope).astype(np.float32)


def _gain(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How many times as strong the contrast is there; the rings' levels are (N, C)."""
    own_apart, other_apart = own - own.mean(axis=0), other - other.mean(axis=0)
    power, other_power = float((own_apart**2).mean()), float((other_apart**2).mean())
    together = float((own_apart * other_apart).mean())
    calm = _CALM_LEVELS**2
    if together**2 > _SAME_STRUCTURE**2 * power * other_power and together > 0:
        gain = (together + calm) / (power + calm)
    else:
        gain = (_spread(other) + _CALM_LEVELS) / (_spread(own) + _CALM_LEVELS)
    return float(np.clip(gain, _LEAST_GAIN, _MOST_GAIN))


def _spread(levels: NDArray[np.float64]) -> float:
    """Robust deviation (1.4826 times the median absolute one), as the mean over the channels.

    A trace at the rim of one ring and not of the other would make most of a variance.
    """
    return float(1.4826 * np.median(np.abs(levels - np.median(levels, axis=0)), axis=0).mean())


def _plane(differences: NDArray[np.float64], ring: Area) -> NDArray[np.float64]:
    """(H, W, C) plane a + b x + c y fitted to differences on the ring, by iteratively reweighted least squares.

    Weights after Huber (1964) first: 1 up to a residual of 1.5 robust deviations, beyond that inversely to it; then
    Tukey's (1974), which leave out what lies beyond 4.685 of them. A weak ridge draws b and c to 0, for a ring that
    lies on one side alone says little of a slope.
    """
    height, width = ring.shape
    y, x = np.nonzero(ring)
    scale = max(height, width) / 2
    design = np.column_stack([np.ones(y.size), (x - (width - 1) / 2) / scale, (y - (height - 1) / 2) / scale])
    ridge = np.diag([0.0, 0.05, 0.05])
    rows, columns = np.mgrid[0:height, 0:width]
    field = np.stack(
        [np.ones(ring.shape), (columns - (width - 1) / 2) / scale, (rows - (height - 1) / 2) / scale], axis=-1
    )
    plane = np.empty((height, width, differences.shape[1]))
    for channel in range(differences.shape[1]):
        values = differences[:, channel]
        coefficients = np.array([np.median(values), 0.0, 0.0])
        for turn in range(_ROUNDS):
            residuals = np.abs(values - design @ coefficients)
            deviation = 1.4826 * float(np.median(residuals)) + 0.5
            if turn < _ROUNDS // 2:
                weights = np.minimum(1.0, 1.5 * deviation / np.maximum(residuals, 1e-9))
            else:
                weights = np.maximum(0.0, 1 - (residuals / (4.685 * deviation)) ** 2) ** 2
            weighted = design * weights[:, None]
            normal = weighted.T @ design / weights.sum() + ridge
            coefficients = np.linalg.solve(normal, weighted.T @ values / weights.sum())
        plane[..., channel] = field @ coefficients
    return plane
