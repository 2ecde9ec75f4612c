"""From which defect score on an image is called defective, so that new defects are missed no more than promised; pure.

Let n defects and one new defect be exchangeable (drawn alike, in any order), and the cut be the k-th smallest of the
n scores. The new one is missed when it scores below the cut; then it is among the k smallest of all n + 1, and each
of them is as likely to be there: the chance is at most k / (n + 1), ties included. So k = floor(alpha (n + 1)) keeps
the promise alpha, on average over validation sets and new defects (split conformal prediction: Vovk, Gammerman and
Shafer, 2005; Papadopoulos et al., 2002). A quantile interpolated between two scores would break it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from scipy import stats as scipy_stats

from .errors import SettingsError, TooFewDefects
from .metrics import BoolArray, FloatArray
from .stats import CONFIDENCE, Interval


@dataclass(frozen=True)
class OperatingPoint:
    """A cut through the defect score and what it promises."""

    cut: float
    """An image is defective when it scores this or more."""
    k: int
    """The cut is the k-th smallest score of the defects."""
    n_defects: int
    """Of so many."""
    max_miss_rate: float
    """What was asked for, in (0, 1)."""

    @property
    def promised_miss_rate(self) -> float:
        """What the expected miss rate on new defects does not exceed, k / (n + 1); at most what was asked for."""
        return self.k / (self.n_defects + 1)


@dataclass(frozen=True, eq=False)
class MissOverkillCurve:
    """What every cut through a score would bring, from "all are defective" to "all pass"."""

    cuts: FloatArray
    """(M,) each level of the score, ascending, then infinity."""
    miss_rate: FloatArray
    """(M,) rising from 0 to 1; NaN where there is no defect."""
    overkill_rate: FloatArray
    """(M,) falling from 1 to 0; NaN where there is no good image."""


def operating_point(ng_score: FloatArray, is_ng: BoolArray, *, max_miss_rate: float) -> OperatingPoint:
    """Highest cut whose expected miss rate on new defects keeps the promise.

    The cut is the k-th smallest of the n defect scores, k = floor(max_miss_rate * (n + 1)).

    Args:
        ng_score: (N,) float, higher = more likely defective; an image passes when below the cut. Only the scores
            of defects count.
        is_ng: (N,) bool.
        max_miss_rate: in (0, 1), read as the decimal number it is written as.

    Raises:
        SettingsError: `max_miss_rate` is out of range.
        TooFewDefects: k is 0, so no cut can promise this rate.
        ValueError: a score is NaN.
    """
    promise = _as_promised(max_miss_rate)
    scores = np.sort(ng_score[is_ng])
    if np.isnan(scores).any():
        raise ValueError("a defect score is NaN; expected numbers")
    n = len(scores)
    k = floor(promise * (n + 1))
    if k == 0:
        raise TooFewDefects(_too_few(max_miss_rate, n))
    return OperatingPoint(cut=float(scores[k - 1]), k=k, n_defects=n, max_miss_rate=max_miss_rate)


def defects_needed(max_miss_rate: float) -> int:
    """How many defects it takes to promise a miss rate: the least n with max_miss_rate * (n + 1) >= 1.

    Raises:
        SettingsError: `max_miss_rate` is out of range.
    """
    return ceil(1 / _as_promised(max_miss_rate)) - 1


def least_promise(n_defects: int) -> float | None:
    """The lowest miss rate that n defects can promise, 1 / (n + 1), rounded up to three digits; None where none is."""
    if n_defects == 0:
        return None
    scale = 1
    while scale < 100 * (n_defects + 1):
        scale *= 10
    return ceil(Fraction(scale, n_defects + 1)) / scale


def promise_range(k: int, n_defects: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Between what the true miss rate of one such cut lies: the promise is kept on average over validation sets.

    The share of all defects below the k-th smallest of n is Beta(k, n + 1 - k) distributed; its mean is the promise.
    Tied scores can only lower it.

    Args:
        k: the cut is the k-th smallest score.
        n_defects: of so many.
        confidence: in this share of validation sets, two-sided.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = scipy_stats.beta.ppf([tail, 1.0 - tail], k, n_defects + 1 - k)
    return Interval(float(low), float(high))


def chance_of_misses(misses: int, of: int, *, k: int, n_defects: int) -> float:
    """Chance that so many or more of `of` new defects fall below the k-th smallest of n, all being exchangeable.

    The number is beta-binomially distributed, with Beta(k, n + 1 - k).
    """
    return float(scipy_stats.betabinom.sf(misses - 1, of, k, n_defects + 1 - k))


def miss_overkill_curve(ng_score: FloatArray, is_ng: BoolArray) -> MissOverkillCurve:
    """Miss rate against overkill rate for every cut; arguments as for `operating_point`."""
    levels = np.unique(ng_score)
    bad, good = np.sort(ng_score[is_ng]), np.sort(ng_score[~is_ng])
    passed_bad = np.append(np.searchsorted(bad, levels), len(bad))
    passed_good = np.append(np.searchsorted(good, levels), len(good))
    return MissOverkillCurve(
        cuts=np.append(levels, np.inf),
        miss_rate=passed_bad / len(bad) if len(bad) else np.full(len(levels) + 1, np.nan),
        overkill_rate=1.0 - passed_good / len(good) if len(good) else np.full(len(levels) + 1, np.nan),
    )


def _as_promised(max_miss_rate: float) -> Fraction:
    if not 0.0 < max_miss_rate < 1.0:
        raise SettingsError(f"max_miss_rate: found {max_miss_rate}; expected a number between 0 and 1, as 0.01 for 1 %")
    # 0.07 * 100 is 7.000000000000001, and 0.29 * 100 is 28.999999999999996: so count with what was written.
    return Fraction(repr(float(max_miss_rate)))


def _too_few(max_miss_rate: float, n: int) -> str:
    asked = f"a miss rate of {100 * max_miss_rate:.4g} % cannot be promised from {n} defect{'' if n == 1 else 's'}"
    needed = f"that takes {defects_needed(max_miss_rate)} or more in validation"
    least = least_promise(n)
    if least is None:
        return f"{asked}: {needed}; add some"
    return (
        f"{asked}: {needed}; the least that {n} can promise is {100 / (n + 1):.3g} % (1 in {n + 1}), so ask for "
        f"--max-miss-rate {least:.6g}, or add defects"
    )
