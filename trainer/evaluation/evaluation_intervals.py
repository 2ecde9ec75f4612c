"""Intervals of all figures of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import stats
from .metrics import (
    BoolArray,
    FloatArray,
    IntArray,
    Ranking,
    macro_f1_of_confusion,
    macro_recall_of_confusion,
    mean_precision_of_confusion,
    weighted_f1_of_confusion,
)

DRAWS = 1000
"""Resamples of one set of predictions; enough for a standard error within about 2 %."""

_MEANS: Mapping[str, stats.Statistic] = {
    "macro_f1": macro_f1_of_confusion,
    "weighted_f1": weighted_f1_of_confusion,
    "macro_precision": mean_precision_of_confusion,
    "macro_recall": macro_recall_of_confusion,
    "weighted_precision": lambda table: mean_precision_of_confusion(table, by_support=True),
}
"""Means over classes, by their names in `MulticlassScores`."""


@dataclass(frozen=True)
class ClassIntervals:
    """Intervals of the scores of one class."""

    precision: stats.Interval | None
    recall: stats.Interval | None
    f1: stats.Interval | None
    """From the interval of J, the share of correct ones among the images labelled or predicted as the class:
    F1 = 2 J / (1 + J)."""


@dataclass(frozen=True)
class EvaluationIntervals:
    """95 % intervals; None where a figure is undefined, or no interval can be given."""

    rates_by: str
    """Method for rates, precision, recall and F1, in words."""
    scores_by: str
    """Method for means over classes, AUROC and average precision, in words."""
    groups: int | None
    """Number of groups of images; None when unknown."""
    rates: Mapping[str, stats.Interval | None]
    """By the keys of `metrics.RATE_DEFINITIONS`, and "named_wrong"."""
    accuracy: stats.Interval | None
    """Of the multi-class accuracy."""
    per_class: tuple[ClassIntervals, ...]
    """In class order; empty when the labels do not name the defects."""
    macro_f1: stats.Interval | None
    weighted_f1: stats.Interval | None
    macro_precision: stats.Interval | None
    macro_recall: stats.Interval | None
    weighted_precision: stats.Interval | None
    auroc: stats.Interval | None
    average_precision: stats.Interval | None


def binary_intervals(
    is_defective: BoolArray, judged_defective: BoolArray, groups: IntArray | None
) -> dict[str, stats.Interval | None]:
    """Intervals of the seven rates by the keys of `metrics.RATE_DEFINITIONS`.

    Args:
        is_defective: (N,) by the labels.
        judged_defective: (N,) by the predictions.
        groups: (N,) number of each image's group; None when the images are independent.
    """
    defective, judged = is_defective, judged_defective
    everything = np.ones(len(defective), dtype=bool)
    shares = {
        "accuracy": (defective == judged, everything),
        "recall": (judged, defective),
        "miss_rate": (~judged, defective),
        "overkill_rate": (judged, ~defective),
        "false_call_filter_rate": (~judged, ~defective),
        "total_filter_rate": (~judged, everything),
        "escape_fraction": (defective & ~judged, everything),
    }
    return {key: share_interval(has, among, groups) for key, (has, among) in shares.items()}


def share_interval(
    has: BoolArray, among: BoolArray, groups: IntArray | None, *, confidence: float = stats.CONFIDENCE
) -> stats.Interval | None:
    """Interval of the share of images with `has` among those with `among`, both (N,) bool."""
    return stats.rate_interval(has[among], None if groups is None else groups[among], confidence=confidence)


def compute_intervals(
    true: IntArray,
    predicted: IntArray,
    score: FloatArray,
    *,
    normal: int,
    classes: int | None,
    groups: Sequence[str] | None,
    resamples: int = DRAWS,
    seed: int = 0,
) -> EvaluationIntervals:
    """Intervals of all figures of one set of predictions.

    Args:
        true: (N,) number of each label.
        predicted: (N,) number of each predicted class.
        score: (N,) probability that each image is defective.
        groups: N names of what each image was cut from; None when unknown.
    """
    group_of = stats.known_groups(None if groups is None else tuple(groups))
    defective, judged = true != normal, predicted != normal
    rates = binary_intervals(defective, judged, group_of)
    wrong = judged & (true != predicted)
    rates["named_wrong"] = None if classes is None else share_interval(wrong, defective, group_of)
    scores = _score_intervals(
        true, predicted, score, defective, classes=classes, groups=group_of, resamples=resamples, seed=seed
    )
    return EvaluationIntervals(
        rates_by=stats.RATES_OF_IMAGES if group_of is None else stats.RATES_OF_GROUPS,
        scores_by=stats.SCORES_OF_IMAGES if group_of is None else stats.SCORES_OF_GROUPS,
        groups=None if group_of is None else int(group_of.max()) + 1,
        rates=rates,
        accuracy=None if classes is None else stats.rate_interval(true == predicted, group_of),
        per_class=tuple(_class_intervals(true == k, predicted == k, group_of) for k in range(classes or 0)),
        **scores,
    )


def _class_intervals(bears: BoolArray, given: BoolArray, groups: IntArray | None) -> ClassIntervals:
    return ClassIntervals(
        precision=share_interval(bears, given, groups),
        recall=share_interval(given, bears, groups),
        f1=_f1_interval(bears, given, groups),
    )


def _f1_interval(
    bears: BoolArray, given: BoolArray, groups: IntArray | None, *, confidence: float = stats.CONFIDENCE
) -> stats.Interval | None:
    share = share_interval(bears & given, bears | given, groups, confidence=confidence)
    return None if share is None else stats.Interval(_f1_of_share(share.low), _f1_of_share(share.high))


def _f1_of_share(share: float) -> float:
    return 2.0 * share / (1.0 + share)


def _score_intervals(
    true: IntArray,
    predicted: IntArray,
    score: FloatArray,
    is_defective: BoolArray,
    *,
    classes: int | None,
    groups: IntArray | None,
    resamples: int,
    seed: int,
) -> dict[str, stats.Interval | None]:
    figures = _Figures(true, predicted, Ranking(score, is_defective), classes)
    observed = {key: float(one[0]) for key, one in figures.of(np.ones((1, len(true)))).items()}
    parts = [figures.of(weights) for weights in stats.draw_weights(len(true), groups, resamples=resamples, seed=seed)]
    units = len(true) if groups is None else int(groups.max()) + 1
    found: dict[str, stats.Interval | None] = dict.fromkeys((*_MEANS, "auroc", "average_precision"))
    for key, value in observed.items():
        draws = np.concatenate([part[key] for part in parts])
        found[key] = stats.logit_interval(value, draws, units=units)
    # Equal draws do not mean certainty, so these figures get an interval from counts.
    if observed["auroc"] in (0.0, 1.0):
        found["auroc"] = stats.separated_interval(observed["auroc"] == 1.0, is_defective, groups)
    for key in _MEANS:
        if classes is not None and found[key] is None and not np.isnan(observed[key]):
            found[key] = _mean_interval(key, true, predicted, groups)
    return found


class _Figures:
    """The figures that are resampled."""

    def __init__(self, true: IntArray, predicted: IntArray, ranking: Ranking, classes: int | None) -> None:
        self._ranking, self._classes = ranking, classes
        cell = true * (classes or 1) + predicted
        self._order = np.argsort(cell, kind="stable")
        self._cells, self._starts = np.unique(cell[self._order], return_index=True)

    def of(self, weights: FloatArray) -> dict[str, FloatArray]:
        """(R, N) weights -> (R,) values of each figure; means over classes only where the labels name the defects."""
        quality = self._ranking.judge(weights)
        found = {"auroc": quality.auroc, "average_precision": quality.average_precision}
        if self._classes is not None:
            counts = np.zeros((len(weights), self._classes**2))
            counts[:, self._cells] = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
            table = counts.reshape(-1, self._classes, self._classes)
            found |= {key: mean(table) for key, mean in _MEANS.items()}
        return found


def _mean_interval(key: str, true: IntArray, predicted: IntArray, groups: IntArray | None) -> stats.Interval | None:
    """Mean of the intervals of the classes that occur; these hold simultaneously (Bonferroni)."""
    occurring, support = np.unique(true, return_counts=True)
    confidence = 1.0 - (1.0 - stats.CONFIDENCE) / len(occurring)
    found = [_class_interval(key, true == k, predicted == k, groups, confidence=confidence) for k in occurring.tolist()]
    ends = np.array([(one.low, one.high) for one in found if one is not None])
    low, high = np.average(ends, axis=0, weights=support if key.startswith("weighted") else None)
    return stats.Interval(float(low), float(high))


def _class_interval(
    key: str, bears: BoolArray, given: BoolArray, groups: IntArray | None, *, confidence: float
) -> stats.Interval | None:
    if key.endswith("precision"):
        return share_interval(bears, given, groups, confidence=confidence)
    if key.endswith("recall"):
        return share_interval(given, bears, groups, confidence=confidence)
    return _f1_interval(bears, given, groups, confidence=confidence)
