"""Whether a noisy curve rises, falls or stays: a robust slope with an interval. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from .metrics import FloatArray
from .stats import CONFIDENCE

LEAST_POINTS = 5
"""Below this the interval of a Theil-Sen slope is no narrower than all slopes there are."""

_MOST_CORRELATION = 0.9
_NORMAL_MAD = 1.4826


@dataclass(frozen=True)
class Trend:
    """The straight line through a stretch of a curve, and how sure its slope is."""

    first: int
    """First epoch of the stretch."""
    last: int
    """Last epoch of the stretch."""
    slope: float
    """Per epoch; of a logarithm, 0.02 is about +2 % an epoch."""
    low: float
    """Lower end of the slope's interval."""
    high: float
    """Upper end of the slope's interval."""
    steepest: float
    """The slope is no steeper than this either way, by two one-sided intervals of the same confidence (Schuirmann,
    1987)."""
    level: float
    """Height of the line at the last epoch."""
    noise: float
    """Robust standard deviation of the points about the line (1.4826 times the median distance)."""
    correlation: float
    """Lag-1 correlation of the points about the line by which the interval was widened, in [0, 0.9]."""

    @property
    def change(self) -> float:
        """Rise of the line from the first epoch to the last."""
        return self.slope * (self.last - self.first)

    @property
    def change_low(self) -> float:
        """Lower end of the change's interval."""
        return self.low * (self.last - self.first)

    @property
    def change_high(self) -> float:
        """Upper end of the change's interval."""
        return self.high * (self.last - self.first)


def robust_trend(epochs: Sequence[int], values: Sequence[float], *, confidence: float = CONFIDENCE) -> Trend:
    """The median of all pairwise slopes with its distribution-free interval (Theil, 1950; Sen, 1968).

    Sen's interval takes the points as independent about their line. Epochs are not: each starts from the weights
    of the one before. So the variance of Kendall's statistic behind the interval is multiplied by
    (1 + r) / (1 - r), what a lag-1 autoregression does to it in a long series (Yue and Wang, 2004). r is that of
    the points about the line, (n r1 + 2) / (n - 4) held to [0, 0.9], which takes back the bias -(2 + 4 r) / n of r1
    after a line was fitted (Shaman and Stine, 1988). A bend in the curve counts as correlation and widens it too.

    Args:
        epochs: (N,) numbers of the epochs, strictly increasing, N >= 5.
        values: (N,) finite heights, such as logarithms of a loss.
        confidence: coverage of the interval, two-sided.

    Raises:
        ValueError: too few points, or points that are not finite or not in order.
    """
    x, y = np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(x) != len(y) or len(x) < LEAST_POINTS:
        raise ValueError(f"found {len(x)} epochs and {len(y)} values; expected as many of each, {LEAST_POINTS} or more")
    if not np.isfinite(y).all() or not (np.diff(x) > 0).all():
        raise ValueError("values must be finite and epochs strictly increasing")
    plain = scipy_stats.theilslopes(y, x)
    offset = float(np.median(y - plain.slope * x))
    rest = y - (offset + plain.slope * x)
    correlation = _lag_one(rest)
    widening = math.sqrt((1.0 + correlation) / (1.0 - correlation))
    low, high = _interval(x, y, float(scipy_stats.norm.ppf((1.0 + confidence) / 2.0)) * widening)
    inner_low, inner_high = _interval(x, y, float(scipy_stats.norm.ppf(confidence)) * widening)
    return Trend(
        first=int(x[0]),
        last=int(x[-1]),
        slope=float(plain.slope),
        low=low,
        high=high,
        steepest=max(abs(inner_low), abs(inner_high)),
        level=float(offset + plain.slope * x[-1]),
        noise=float(_NORMAL_MAD * np.median(np.abs(rest - np.median(rest)))),
        correlation=correlation,
    )


def _interval(x: FloatArray, y: FloatArray, z: float) -> tuple[float, float]:
    """Sen's interval at z standard deviations; the function takes them as the coverage that they are of a normal."""
    found = scipy_stats.theilslopes(y, x, alpha=max(2.0 * float(scipy_stats.norm.sf(z)), 1e-300))
    return float(found.low_slope), float(found.high_slope)


def _lag_one(rest: FloatArray) -> float:
    centred = rest - rest.mean()
    total = float(centred @ centred)
    if total <= 0.0:
        return 0.0
    n = len(centred)
    raw = float(centred[1:] @ centred[:-1]) / total
    return min(max((n * raw + 2.0) / (n - 4.0), 0.0), _MOST_CORRELATION)
