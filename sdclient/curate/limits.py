"""From where on an image is unreal, learnt from real images. Pure.

A limit is the quantile that a share `RATE` of real images would overstep. Nobody has hundreds of a rare defect, so the
far quantile is not read off but extrapolated: beyond the upper quartile the distances are taken to fall exponentially
(the peaks-over-threshold estimate with shape 0; Coles 2001, ch. 4), q75 + b ln(0.25 / RATE), b being the mean excess
over the quartile. A lower limit is the upper one of the negated values.

A class with fewer than `ENOUGH` real images borrows: the tail is also read from all classes, each moved so that the
medians agree, and the limit is the laxer of the two. Below `TOO_FEW` the class has no median of its own that could be
trusted, and the values of all classes are pooled as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RATE = 0.005
"""Share of real images that each limit may cost."""
ENOUGH = 30
TOO_FEW = 5

_QUARTILE = 0.75


@dataclass(frozen=True)
class Threshold:
    """A bound and where it came from."""

    value: float
    images: int
    """Real images of the class itself."""
    is_pooled: bool
    """Whether other classes were asked too."""


def upper_limits(values: Mapping[str, npt.ArrayLike], *, least: float, rate: float = RATE) -> dict[str, Threshold]:
    """Upper limit of each class.

    Args:
        values: (N,) of the real images of each class; None of them NaN.
        least: no limit is below this, however alike the real images are.
        rate: share of real images that may be above.

    Returns:
        A limit for every class of `values`, none where no class has a value.
    """
    arrays = {name: np.asarray(found, dtype=np.float64) for name, found in values.items()}
    known = [array for array in arrays.values() if len(array)]
    if not known:
        return {}
    everything = np.concatenate(known)
    moved = np.concatenate([array - np.median(array) for array in known if len(array) >= TOO_FEW] or [np.zeros(1)])
    limits = {}
    for name, array in arrays.items():
        if len(array) >= ENOUGH:
            bound = tail_quantile(array, rate)
        elif len(array) >= TOO_FEW:
            bound = max(tail_quantile(array, rate), float(np.median(array)) + tail_quantile(moved, rate))
        else:
            bound = max(tail_quantile(everything, rate), float(array.max(initial=-np.inf)))
        limits[name] = Threshold(max(bound, least), len(array), is_pooled=len(array) < ENOUGH)
    return limits


def lower_limits(values: Mapping[str, npt.ArrayLike], *, most: float, rate: float = RATE) -> dict[str, Threshold]:
    """Lower limit of each class; as `upper_limits`, with `most` in place of `least`."""
    negated = {name: -np.asarray(found, dtype=np.float64) for name, found in values.items()}
    return {
        name: Threshold(-limit.value, limit.images, limit.is_pooled)
        for name, limit in upper_limits(negated, least=-most, rate=rate).items()
    }


def tail_quantile(values: Sequence[float] | npt.NDArray[np.float64], rate: float) -> float:
    """What a share `rate` of such values exceeds, extrapolated by an exponential tail above the upper quartile.

    Args:
        values: (N,), at least one.
        rate: in (0, 0.25].
    """
    array = np.asarray(values, dtype=np.float64)
    quartile = float(np.quantile(array, _QUARTILE))
    beyond = array[array > quartile]
    mean_excess = float((beyond - quartile).mean()) if len(beyond) else 0.0
    return quartile + mean_excess * float(np.log((1 - _QUARTILE) / rate))
