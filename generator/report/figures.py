"""A figure with its interval, and counts with theirs. Pure.

Intervals are of 95 %. A share's is Clopper and Pearson's (1934), which keeps its coverage at small counts; where
several images hang together (one source, one board), whole groups are drawn again with replacement too (percentile
bootstrap), and the wider of the two ends holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Figure:
    """A number with its interval; all None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    """The ends are None too where there is too little for an interval."""


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    count: int
    of: int
    low: float | None
    """Ends of the interval; None where there is nothing to count."""
    high: float | None

    @property
    def rate(self) -> float | None:
        """Count by number; None of nothing."""
        return self.count / self.of if self.of else None


UNDEFINED = Figure(None)


def clopper_pearson(count: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Ends of the exact interval of a binomial share; (0, 1) of nothing."""
    from scipy.stats import beta

    if of == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, of - count + 1))
    high = 1.0 if count == of else float(beta.ppf(1 - tail, count + 1, of - count))
    return low, high


def share_of(flags: Sequence[bool] | npt.NDArray[np.bool_], groups: Sequence[str], *, seed: int = 0) -> Share:
    """The share of images for which something holds.

    Args:
        flags: (N,).
        groups: (N,) names; images of one name hang together.
        seed: of the bootstrap.
    """
    found = np.asarray(flags, dtype=bool)
    count, of = int(found.sum()), len(found)
    if of == 0:
        return Share(0, 0, None, None)
    low, high = clopper_pearson(count, of)
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < of:
        hits, sizes = np.bincount(member_of, weights=found), np.bincount(member_of)
        drawn = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAP_DRAWS, len(names)))
        rates = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
        ends = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    return Share(count, of, low, high)


def mean_of(figures: Sequence[Figure]) -> Figure:
    """Mean of independent figures, those that are undefined left out; ends by the root of the squared half-widths."""
    known = [one for one in figures if one.value is not None]
    if not known:
        return UNDEFINED
    value = sum(one.value or 0.0 for one in known) / len(known)
    if any(one.low is None or one.high is None for one in known):
        return Figure(value)
    below = sum(((one.value or 0.0) - (one.low or 0.0)) ** 2 for one in known) ** 0.5 / len(known)
    above = sum(((one.high or 0.0) - (one.value or 0.0)) ** 2 for one in known) ** 0.5 / len(known)
    return Figure(value, value - below, value + above)
