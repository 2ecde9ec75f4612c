"""Rates from counts; ranking quality.

There are two judgements. *Normal/Abnormal* asks whether the board has a defect: defective is the positive class,
and an image is judged defective when its predicted class is not Normal. *Multi-class* asks for the name of the
defect. A defect that gets the name of another defect is not a miss; it is counted in `named_wrong`.

A rate over nothing is undefined (None), never 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rate:
    """A share of images: `count` of `of`."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """In [0, 1]; None when `of` is 0."""
        return self.count / self.of if self.of else None

    @property
    def fraction(self) -> str:
        """The counts, as "2/9"."""
        return f"{self.count}/{self.of}"


@dataclass(frozen=True)
class RateDefinition:
    """Names and formula of a rate. Reports print the formula, since vendors define these rates differently."""

    key: str
    english: str
    chinese: str
    formula: str


RATE_DEFINITIONS = (
    RateDefinition("accuracy", "accuracy", "正确率", "(TP+TN)/N"),
    RateDefinition("recall", "recall", "召回率", "TP/(TP+FN)"),
    RateDefinition("miss_rate", "miss rate", "漏检率", "FN/(TP+FN)"),
    RateDefinition("overkill_rate", "overkill rate", "过杀率", "FP/(FP+TN)"),
    RateDefinition("false_call_filter_rate", "false-call filter rate", "假点过滤率", "TN/(TN+FP)"),
    RateDefinition("total_filter_rate", "total filter rate", "总过滤率", "(TN+FN)/N"),
    RateDefinition("escape_fraction", "escape fraction", "漏出比例", "FN/N"),
)
"""The rates of the Normal/Abnormal judgement, in the order they are shown."""

NAMED_WRONG = RateDefinition("named_wrong", "named wrong", "错名", "wrong name/(TP+FN)")
"""Defects judged defective under the name of another defect; not misses, so counted separately."""


@dataclass(frozen=True)
class BinaryCounts:
    """Counts of the Normal/Abnormal judgement, defective = positive."""

    tp: int
    """Defects judged defective."""
    fn: int
    """Misses: defects that passed."""
    fp: int
    """Overkill: good images judged defective."""
    tn: int
    """Good images that passed."""

    @property
    def n(self) -> int:
        """All images."""
        return self.tp + self.fn + self.fp + self.tn

    @property
    def rates(self) -> dict[str, Rate]:
        """The seven rates by the keys of `RATE_DEFINITIONS`."""
        defects, good = self.tp + self.fn, self.fp + self.tn
        return {
            "accuracy": Rate(self.tp + self.tn, self.n),
            "recall": Rate(self.tp, defects),
            "miss_rate": Rate(self.fn, defects),
            "overkill_rate": Rate(self.fp, good),
            "false_call_filter_rate": Rate(self.tn, good),
            "total_filter_rate": Rate(self.tn + self.fn, self.n),
            "escape_fraction": Rate(self.fn, self.n),
        }


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class."""

    name: str
    precision: Rate
    """Correct predictions of this class, of all predictions of it."""
    recall: Rate
    """Images of this class predicted as it, of all images of it."""
    f1: float | None
    """2 TP / (2 TP + FP + FN); None when the class neither occurs nor is ever predicted."""
    support: int
    """Images of this class."""


@dataclass(frozen=True)
class MulticlassScores:
    """Scores of all classes."""

    per_class: tuple[ClassScores, ...]
    macro_f1: float | None
    """Mean F1 of the classes that occur in the test set; None for an empty test set."""
    weighted_f1: float | None
    """The same, each class weighted by its support."""
    macro_precision: float | None
    """Mean precision of the classes that occur; None where one of them is never predicted."""
    macro_recall: float | None
    """Mean recall of the classes that occur."""
    weighted_precision: float | None
    """As `macro_precision`, each class weighted by its support; weighted recall is the accuracy."""
    accuracy: Rate
    confusion: tuple[tuple[int, ...], ...]
    """K x K counts, row = true class, column = predicted class, both in class order."""


def count_binary(is_defective: BoolArray, judged_defective: BoolArray) -> BinaryCounts:
    """Count the four outcomes.

    Args:
        is_defective: (N,) bool, the truth.
        judged_defective: (N,) bool, the judgement.
    """
    return BinaryCounts(
        tp=int(np.sum(is_defective & judged_defective)),
        fn=int(np.sum(is_defective & ~judged_defective)),
        fp=int(np.sum(~is_defective & judged_defective)),
        tn=int(np.sum(~is_defective & ~judged_defective)),
    )


def confusion_matrix(true: IntArray, predicted: IntArray, *, rows: int, columns: int) -> IntArray:
    """(rows, columns) counts of the pairs of `true`, (N,) in [0, rows), and `predicted`, (N,) in [0, columns)."""
    return np.bincount(true * columns + predicted, minlength=rows * columns).reshape(rows, columns)


def f1_of_confusion(confusion: npt.NDArray[np.number]) -> FloatArray:
    """F1 of every class: 2 TP / (2 TP + FP + FN).

    Args:
        confusion: (..., K, K) counts or weights, row = true class.

    Returns:
        (..., K); NaN where a class neither occurs nor is predicted.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    either = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return _divide(2.0 * hits, either)


def macro_f1_of_confusion(confusion: npt.NDArray[np.number]) -> FloatArray:
    """Mean F1 over the classes that occur; (..., K, K) -> (...), NaN where none occurs."""
    occurs = confusion.sum(axis=-1) > 0
    total = np.where(occurs, np.nan_to_num(f1_of_confusion(confusion)), 0.0).sum(axis=-1)
    return _divide(total, occurs.sum(axis=-1))


def weighted_f1_of_confusion(confusion: npt.NDArray[np.number]) -> FloatArray:
    """Mean F1, each class weighted by how often it occurs; (..., K, K) -> (...), NaN where none occurs."""
    support = confusion.sum(axis=-1)
    return _divide((np.nan_to_num(f1_of_confusion(confusion)) * support).sum(axis=-1), support.sum(axis=-1))


def macro_recall_of_confusion(confusion: npt.NDArray[np.number]) -> FloatArray:
    """Mean recall over the classes that occur; (..., K, K) -> (...), NaN where none occurs."""
    support = confusion.sum(axis=-1)
    recall = np.nan_to_num(_divide(np.diagonal(confusion, axis1=-2, axis2=-1), support))
    return _divide(recall.sum(axis=-1), (support > 0).sum(axis=-1))


def mean_precision_of_confusion(confusion: npt.NDArray[np.number], *, by_support: bool = False) -> FloatArray:
    """Mean precision over the classes that occur; (..., K, K) -> (...), NaN where one of them is never predicted.

    Args:
        confusion: counts or weights, row = true class.
        by_support: weight each class by how often it occurs.
    """
    support = confusion.sum(axis=-1)
    weight = support if by_support else (support > 0).astype(np.float64)
    precision = _divide(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-2))
    return _divide((np.where(support > 0, precision, 0.0) * weight).sum(axis=-1), weight.sum(axis=-1))


def recall_of_confusion(confusion: npt.NDArray[np.number], k: int) -> FloatArray:
    """Share of the images of class k that are predicted as k; (..., L, K) -> (...), NaN where there are none."""
    return _divide(confusion[..., k, k], confusion[..., k, :].sum(axis=-1))


def binary_rate_of_confusion(confusion: npt.NDArray[np.number], key: str, *, normal: int) -> FloatArray:
    """One rate of the Normal/Abnormal judgement from confusions.

    Args:
        confusion: (..., L, K) counts or weights, row = label, column = predicted class.
        key: "accuracy", "miss_rate" or "overkill_rate".
        normal: row and column of the Normal class; every other row is a defect.

    Returns:
        (...); NaN where undefined.
    """
    total = confusion.sum(axis=(-2, -1))
    good = confusion[..., normal, :].sum(axis=-1)
    passed = confusion[..., :, normal].sum(axis=-1)
    good_passed = confusion[..., normal, normal]
    missed = passed - good_passed
    if key == "miss_rate":
        return _divide(missed, total - good)
    if key == "overkill_rate":
        return _divide(good - good_passed, good)
    if key == "accuracy":
        return _divide(total - missed - (good - good_passed), total)
    raise ValueError(f"{key!r} is not resampled; expected accuracy, miss_rate or overkill_rate")


def score_classes(confusion: IntArray, classes: Sequence[str]) -> MulticlassScores:
    """Multi-class scores from a (K, K) confusion matrix (row = true class) and its K class names."""
    f1 = f1_of_confusion(confusion)
    support = confusion.sum(axis=1)
    named = confusion.sum(axis=0)
    total = int(support.sum())
    return MulticlassScores(
        per_class=tuple(
            ClassScores(
                name=name,
                precision=Rate(int(confusion[k, k]), int(named[k])),
                recall=Rate(int(confusion[k, k]), int(support[k])),
                f1=_defined(f1[k]),
                support=int(support[k]),
            )
            for k, name in enumerate(classes)
        ),
        macro_f1=_defined(macro_f1_of_confusion(confusion)),
        weighted_f1=_defined(weighted_f1_of_confusion(confusion)),
        macro_precision=_defined(mean_precision_of_confusion(confusion)),
        macro_recall=_defined(macro_recall_of_confusion(confusion)),
        weighted_precision=_defined(mean_precision_of_confusion(confusion, by_support=True)),
        accuracy=Rate(int(np.trace(confusion)), total),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _divide(part: npt.NDArray[np.number], whole: npt.NDArray[np.number]) -> FloatArray:
    result = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=result, where=np.asarray(whole) > 0)
    return result


def _defined(value: float | FloatArray) -> float | None:
    number = float(value)
    return None if np.isnan(number) else number


@dataclass(frozen=True, eq=False)
class RankingQuality:
    """Ranking figures of R weightings; NaN where positives or negatives have no weight."""

    auroc: FloatArray
    """(R,) probability that a random positive scores above a random negative; a tie counts half."""
    average_precision: FloatArray
    """(R,) stepwise, without interpolation: the precision at each score level, times the recall it adds."""


class Ranking:
    """N images in the order of their score, highest first; images of equal score form one level.

    Args:
        score: (N,) float, higher = more likely positive.
        is_positive: (N,) bool.

    Raises:
        ValueError: a score is NaN, or the lengths differ.
    """

    def __init__(self, score: FloatArray, is_positive: BoolArray) -> None:
        if score.shape != is_positive.shape:
            raise ValueError(f"{score.shape} scores and {is_positive.shape} truths; expected one of each an image")
        if np.isnan(score).any():
            raise ValueError("a score is NaN; expected numbers")
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._positive = is_positive[self._order].astype(np.float64)
        ends_level = np.ones(len(score), dtype=bool)
        ends_level[:-1] = ordered[1:] != ordered[:-1]
        self._last_of_level = np.flatnonzero(ends_level)

    def judge(self, weights: FloatArray) -> RankingQuality:
        """Judge the score under each weighting of the images.

        Args:
            weights: (R, N), how often each image counts, 0 or more; in the order of the constructor's arguments.
        """
        if not len(self._order):
            nothing = np.full(len(weights), np.nan)
            return RankingQuality(nothing, nothing)
        ordered = weights[:, self._order]
        hits = np.cumsum(ordered * self._positive, axis=1)[:, self._last_of_level]
        above = np.cumsum(ordered, axis=1)[:, self._last_of_level]
        false = above - hits
        positives, negatives = hits[:, -1], false[:, -1]
        new_hits = np.diff(hits, axis=1, prepend=0.0)
        new_false = np.diff(false, axis=1, prepend=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            area = (new_false * (hits - 0.5 * new_hits)).sum(axis=1) / (positives * negatives)
            # Where no image has weight down to a level, that level adds no recall.
            precision = np.where(above > 0, hits / above, 0.0)
            average = (precision * new_hits).sum(axis=1) / positives
        undefined = (positives == 0) | (negatives == 0)
        return RankingQuality(np.where(undefined, np.nan, area), np.where(undefined, np.nan, average))


def auroc(score: FloatArray, is_positive: BoolArray) -> float | None:
    """Probability that a random positive scores above a random negative, a tie counting half: U / (P N).

    Args:
        score: (N,) float, higher = more likely positive.
        is_positive: (N,) bool.

    Returns:
        In [0, 1]; None without positives or without negatives.
    """
    return _defined(_judge_once(score, is_positive).auroc[0])


def average_precision(score: FloatArray, is_positive: BoolArray) -> float | None:
    """Stepwise area under precision against recall: the sum of (R_n - R_(n-1)) P_n over the levels of the score.

    Arguments and result as for `auroc`.
    """
    return _defined(_judge_once(score, is_positive).average_precision[0])


def _judge_once(score: FloatArray, is_positive: BoolArray) -> RankingQuality:
    return Ranking(score, is_positive).judge(np.ones((1, len(score))))
