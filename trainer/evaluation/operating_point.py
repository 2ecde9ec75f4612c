"""Thresholds that keep a promised miss rate, and their rates on test images.

Let n defects and one new defect be exchangeable, and let the cut be the k-th smallest of the n scores. The new defect
is missed when it scores below the cut; then it is among the k smallest of all n + 1 scores. Each of the n + 1 is
equally likely to be there, so the probability of a miss is at most k / (n + 1), ties included. Hence
k = floor(alpha (n + 1)) keeps the promise alpha on average over validation sets and new defects (split conformal
prediction: Vovk, Gammerman and Shafer, 2005; Papadopoulos et al., 2002). Interpolating between scores would break it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from sdcore.messages import Message, message

from ..config import ABNORMAL, NORMAL
from ..errors import SettingsError, TooFewDefects
from ..messages import text
from ..models.decision_threshold import DecisionThreshold, require_class
from ..models.predictions import Predictions
from .evaluate import LabelledImages, defect_scores, interval_as_json, label_images, rate_as_json
from .evaluation_intervals import binary_intervals
from .metrics import BinaryCounts, BoolArray, FloatArray, count_binary
from .stats import CONFIDENCE, Interval, known_groups


@dataclass(frozen=True)
class OperatingPoint:
    """A cut of the defect score with its promise."""

    cut: float
    """An image is judged defective when it scores this or more."""
    k: int
    """The cut is the k-th smallest score of the defects."""
    n_defects: int
    """Number of defects the cut was chosen from."""
    max_miss_rate: float
    """The requested miss rate, in (0, 1)."""

    @property
    def promised_miss_rate(self) -> float:
        """Upper bound of the expected miss rate on new defects, k / (n + 1); at most `max_miss_rate`."""
        return self.k / (self.n_defects + 1)


@dataclass(frozen=True, eq=False)
class MissOverkillCurve:
    """Rates at every cut of a score, from "all are defective" to "all pass"."""

    cuts: FloatArray
    """(M,) the distinct scores, ascending, then infinity."""
    miss_rate: FloatArray
    """(M,) rising from 0 to 1; NaN where there is no defect."""
    overkill_rate: FloatArray
    """(M,) falling from 1 to 0; NaN where there is no good image."""


def operating_point(ng_score: FloatArray, is_ng: BoolArray, *, max_miss_rate: float) -> OperatingPoint:
    """Highest cut whose expected miss rate on new defects is at most `max_miss_rate`.

    The cut is the k-th smallest of the n defect scores, k = floor(max_miss_rate * (n + 1)).

    Args:
        ng_score: (N,) float, higher = more likely defective; an image passes when below the cut. Only the scores
            of defects count.
        is_ng: (N,) bool.
        max_miss_rate: in (0, 1), taken as its decimal notation.

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
    """Number of defects needed to promise a miss rate: the least n with max_miss_rate * (n + 1) >= 1.

    Raises:
        SettingsError: `max_miss_rate` is out of range.
    """
    return ceil(1 / _as_promised(max_miss_rate)) - 1


def least_promise(n_defects: int) -> float | None:
    """The lowest miss rate that n defects can promise, 1 / (n + 1), rounded up to three digits; None for n = 0."""
    if n_defects == 0:
        return None
    scale = 1
    while scale < 100 * (n_defects + 1):
        scale *= 10
    return ceil(Fraction(scale, n_defects + 1)) / scale


def promise_range(k: int, n_defects: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Range of the true miss rate of one such cut; the promise itself holds on average over validation sets.

    The share of all defects below the k-th smallest of n is Beta(k, n + 1 - k) distributed; its mean is the promise.
    Tied scores can only lower it.

    Args:
        k: the cut is the k-th smallest score.
        n_defects: number of scores.
        confidence: share of validation sets within the range, two-sided.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = scipy_stats.beta.ppf([tail, 1.0 - tail], k, n_defects + 1 - k)
    return Interval(float(low), float(high))


def probability_of_misses(misses: int, of: int, *, k: int, n_defects: int) -> float:
    """Probability that `misses` or more of `of` new exchangeable defects fall below the k-th smallest of n.

    The number of misses is beta-binomially distributed, with Beta(k, n + 1 - k).
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
    # In floats 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996; a Fraction is exact.
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


_BROKEN_PROMISE_P = 0.01
"""Probability of so many misses below which test defects are called unlike those of validation."""


@dataclass(frozen=True, eq=False)
class ThresholdRates:
    """Rates of a cut on one set of images, and the curve of all other cuts."""

    images: int
    binary: BinaryCounts
    """An image is judged defective when 1 - p(normal) reaches the cut."""
    intervals: Mapping[str, Interval | None]
    """By the keys of `metrics.RATE_DEFINITIONS`; they account for groups where known."""
    curve: MissOverkillCurve


@dataclass(frozen=True, eq=False)
class ThresholdReport:
    """A chosen threshold with its promise and its rates."""

    point: DecisionThreshold
    promised_miss_rate: float | None
    """Upper bound of the expected miss rate on new defects; None when `point` has none."""
    promise_range: Interval | None
    """Range of the true miss rate of such a cut in 95 % of validation sets; None when `point` has no promise."""
    test: ThresholdRates
    validation: ThresholdRates | None
    """On the images the cut was chosen from; None for a cut that was chosen earlier."""
    notes: tuple[Message, ...]
    """Caveats of the promise."""


def choose_threshold(
    validation: Predictions,
    *,
    max_miss_rate: float,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    predictions_sha256: str | None = None,
) -> DecisionThreshold:
    """Choose the cut that keeps a promised miss rate, on validation predictions only.

    Args:
        max_miss_rate: in (0, 1).
        predictions_sha256: of the file that holds `validation`.

    Raises:
        SettingsError: `max_miss_rate` is out of range.
        TooFewDefects: so few defects cannot promise it.
        EvaluationError: labels, classes and `normal` do not fit together.
    """
    labelled = label_images(validation, normal=normal, abnormal=abnormal)
    scores = defect_scores(validation, labelled.normal)
    chosen = operating_point(scores, labelled.is_defective, max_miss_rate=max_miss_rate)
    return DecisionThreshold(normal, chosen.cut, max_miss_rate, chosen.k, chosen.n_defects, predictions_sha256)


def evaluate_at(
    point: DecisionThreshold,
    test: Predictions,
    validation: Predictions | None = None,
    *,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    notes: Sequence[Message] = (),
) -> ThresholdReport:
    """Apply a chosen threshold to test images.

    Args:
        validation: the predictions it was chosen from; None when it was chosen earlier.
        notes: known caveats of the choice.

    Raises:
        SettingsError: the threshold belongs to other classes, or to another Normal class.
        EvaluationError: labels, classes and `normal` do not fit together.
    """
    where = str(test.origin or "the predictions")
    require_class(point, test.classes, where)
    if point.normal != normal:
        raise SettingsError(
            f"{where}: the operating point calls {point.normal!r} normal, but --normal is {normal!r}; "
            "name the same class, or choose the operating point again"
        )
    judged = _judge(test, point.cut, normal, abnormal)
    known = None if validation is None else _judge(validation, point.cut, normal, abnormal)
    promised, promise = point.max_miss_rate, None
    if point.k is not None and point.n_defects is not None:
        promised = point.k / (point.n_defects + 1)
        promise = promise_range(point.k, point.n_defects)
    found = [*notes]
    if validation is not None:
        found += _note_groups(validation, label_images(validation, normal=normal, abnormal=abnormal))
    independent = known_groups(test.groups) is None and (validation is None or known_groups(validation.groups) is None)
    found += _notes(point, judged, normal, independent=independent)
    return ThresholdReport(point, promised, promise, judged, known, tuple(found))


def threshold_report_as_json(report: ThresholdReport) -> dict[str, Any]:
    """Every figure as plain data; undefined figures and the infinite cut are null."""
    return {
        **asdict(report.point),
        "promised_miss_rate": report.promised_miss_rate,
        "promise_range": interval_as_json(report.promise_range),
        **_rates_as_json(report.test),
        "validation": _rates_as_json(report.validation) if report.validation else None,
        "curve": {
            "test": _curve_as_json(report.test.curve),
            "validation": _curve_as_json(report.validation.curve) if report.validation else None,
        },
        "notes": [text(one) for one in report.notes],
    }


def _judge(predictions: Predictions, cut: float, normal: str, abnormal: str | None) -> ThresholdRates:
    labelled = label_images(predictions, normal=normal, abnormal=abnormal)
    scores, defective = defect_scores(predictions, labelled.normal), labelled.is_defective
    return ThresholdRates(
        images=len(defective),
        binary=count_binary(defective, scores >= cut),
        intervals=binary_intervals(defective, scores >= cut, known_groups(predictions.groups)),
        curve=miss_overkill_curve(scores, defective),
    )


def _note_groups(validation: Predictions, labelled: LabelledImages) -> list[Message]:
    groups = known_groups(validation.groups)
    if groups is None:
        return []
    count = len(np.unique(groups[labelled.is_defective]))
    return [
        message(
            "promise_of_groups",
            defects=int(labelled.is_defective.sum()),
            groups=count,
            percent=100 / (count + 1),
            of=count + 1,
        )
    ]


def _notes(point: DecisionThreshold, test: ThresholdRates, normal: str, *, independent: bool) -> list[Message]:
    found = []
    if point.cut == 0.0:
        found.append(message("cut_is_zero", count=point.k or message("some"), normal=normal))
    missed = test.binary.rates["miss_rate"]
    if independent and point.k is not None and point.n_defects is not None:
        p = probability_of_misses(missed.count, missed.of, k=point.k, n_defects=point.n_defects)
        if p < _BROKEN_PROMISE_P:
            found.append(message("promise_not_kept", missed=missed.count, of=missed.of, percent=100 * p))
    return found


def _rates_as_json(rates: ThresholdRates) -> dict[str, Any]:
    return {
        "images": rates.images,
        **{key: rate_as_json(rate, rates.intervals[key]) for key, rate in rates.binary.rates.items()},
        "counts": asdict(rates.binary),
    }


def _curve_as_json(curve: MissOverkillCurve) -> dict[str, list[float | None]]:
    return {
        "cut": _numbers(curve.cuts),
        "miss_rate": _numbers(curve.miss_rate),
        "overkill_rate": _numbers(curve.overkill_rate),
    }


def _numbers(values: FloatArray) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
