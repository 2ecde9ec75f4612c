"""Judges predictions: rates, scores, intervals and warnings of one model on one test set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sdcore.messages import Message, message

from ..config import ABNORMAL, NORMAL
from ..errors import EvaluationError
from ..messages import text
from ..models.predictions import Predictions
from . import metrics
from .evaluation_intervals import DRAWS, EvaluationIntervals, compute_intervals
from .stats import Interval, binomial_cdf

_SURELY = 0.01
"""Probability under guessing below which an accuracy is called worse than chance."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Labels and predictions as numbers."""

    names: tuple[str, ...]
    """L label names: the K classes, then the abnormal label where it is used and is not a class."""
    classes: tuple[str, ...]
    true: metrics.IntArray
    """(N,) in [0, L)."""
    predicted: metrics.IntArray
    """(N,) in [0, K)."""
    normal: int
    """Number of the Normal class."""
    named: bool
    """Whether every label is a class, so that multi-class scores are defined."""
    unnamed_reason: Message | None
    """Why not; None when `named`."""

    @property
    def is_defective(self) -> metrics.BoolArray:
        """(N,) whether the label is a defect."""
        return np.not_equal(self.true, self.normal)

    @property
    def judged_defective(self) -> metrics.BoolArray:
        """(N,) whether the predicted class is not Normal."""
        return np.not_equal(self.predicted, self.normal)


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model's predictions on one test set."""

    images: int
    normal: str
    binary: metrics.BinaryCounts
    auroc: float | None
    """Of the score 1 - p(Normal) for defective; None when all images are good or all are defective."""
    average_precision: float | None
    """Of the same score; guessing gets the share of defects."""
    named_wrong: metrics.Rate | None
    """Defects judged defective under another defect's name, of all defects; None where labels do not name defects."""
    multiclass: metrics.MulticlassScores | None
    multiclass_reason: Message | None
    """Why `multiclass` is None; None otherwise."""
    intervals: EvaluationIntervals
    warnings: tuple[Message, ...]


def label_images(predictions: Predictions, *, normal: str = NORMAL, abnormal: str | None = ABNORMAL) -> LabelledImages:
    """Check that labels, classes and the Normal class fit together, and turn them into numbers.

    Args:
        predictions: with a label for every image: a class, or `abnormal`.
        abnormal: the label of a defect of unnamed kind; None when there is no such label.

    Raises:
        EvaluationError: no images, labels missing, `normal` not a class, or a label that is neither.
    """
    classes = predictions.classes
    if normal not in classes:
        raise EvaluationError(
            f"Normal class {normal!r} is not among the trained classes {', '.join(classes)}; "
            "name the class without defects with --normal"
        )
    if not predictions.images:
        raise EvaluationError("there is no image to judge; expected test images with labels")
    allowed = list(classes)
    if abnormal is not None and abnormal not in allowed:
        allowed.append(abnormal)
    unlabelled = [index for index, label in enumerate(predictions.labels) if not label]
    if unlabelled:
        raise EvaluationError(
            f"{predictions.where(unlabelled[0])} has no label, as have {len(unlabelled)} of "
            f"{len(predictions.labels)}; expected each to be one of {', '.join(allowed)}: put test images into one "
            "folder per class, or fill the column 'label'"
        )
    number = {name: k for k, name in enumerate(allowed)}
    for index, label in enumerate(predictions.labels):
        if label not in number:
            raise EvaluationError(
                f"{predictions.where(index)} has the label {label!r}, which is neither a trained class "
                f"({', '.join(classes)}) nor the abnormal label ({abnormal!r}); rename the label, or name the "
                "label of unnamed defects with --abnormal"
            )
    true = np.array([number[label] for label in predictions.labels], dtype=np.int64)
    coarse = int(np.sum(true >= len(classes)))
    return LabelledImages(
        names=tuple(allowed) if coarse else classes,
        classes=classes,
        true=true,
        predicted=np.array([number[name] for name in predictions.predicted], dtype=np.int64),
        normal=number[normal],
        named=coarse == 0,
        unnamed_reason=message("labels_unnamed", count=coarse, all=len(true), label=abnormal) if coarse else None,
    )


def evaluate(
    predictions: Predictions,
    *,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    resamples: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Judge predictions; where their groups are known, every interval takes them into account.

    Args:
        predictions: with labels, as are `normal` and `abnormal` for `label_images`.

    Raises:
        EvaluationError: as `label_images` does.
    """
    labelled = label_images(predictions, normal=normal, abnormal=abnormal)
    multiclass = named_wrong = None
    if labelled.named:
        size = len(labelled.classes)
        confusion = metrics.confusion_matrix(labelled.true, labelled.predicted, rows=size, columns=size)
        multiclass = metrics.score_classes(confusion, labelled.classes)
        wrong = labelled.is_defective & labelled.judged_defective & (labelled.true != labelled.predicted)
        named_wrong = metrics.Rate(int(wrong.sum()), int(labelled.is_defective.sum()))
    binary = metrics.count_binary(labelled.is_defective, labelled.judged_defective)
    scores = defect_scores(predictions, labelled.normal)
    area = metrics.auroc(scores, labelled.is_defective)
    return Evaluation(
        images=len(predictions.images),
        normal=normal,
        binary=binary,
        auroc=area,
        average_precision=metrics.average_precision(scores, labelled.is_defective),
        named_wrong=named_wrong,
        multiclass=multiclass,
        multiclass_reason=labelled.unnamed_reason,
        intervals=compute_intervals(
            labelled.true,
            labelled.predicted,
            scores,
            normal=labelled.normal,
            classes=len(labelled.classes) if labelled.named else None,
            groups=predictions.groups,
            resamples=resamples,
            seed=seed,
        ),
        warnings=_warnings(predictions.predicted, binary, area, multiclass),
    )


def defect_scores(predictions: Predictions, normal: int) -> metrics.FloatArray:
    """(N,) 1 - p(Normal), the probability of a defect."""
    scores: metrics.FloatArray = 1.0 - predictions.probabilities[:, normal]
    return scores


def rate_as_json(rate: metrics.Rate, interval: Interval | None) -> dict[str, Any]:
    """A rate with its counts and the bounds of its interval; undefined values are null."""
    return {"value": rate.value, "count": rate.count, "of": rate.of, **interval_as_json(interval)}


def interval_as_json(interval: Interval | None) -> dict[str, float | None]:
    """Both bounds; null where there is no interval."""
    return {"low": interval.low if interval else None, "high": interval.high if interval else None}


def evaluation_as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain data; the rates of the Normal/Abnormal judgement are at the top level."""
    multiclass, wrong, bounds = evaluation.multiclass, evaluation.named_wrong, evaluation.intervals
    return {
        "images": evaluation.images,
        "groups": bounds.groups,
        "normal": evaluation.normal,
        **{key: rate_as_json(rate, bounds.rates[key]) for key, rate in evaluation.binary.rates.items()},
        "counts": asdict(evaluation.binary),
        "auroc": evaluation.auroc,
        "auroc_interval": interval_as_json(bounds.auroc),
        "average_precision": evaluation.average_precision,
        "average_precision_interval": interval_as_json(bounds.average_precision),
        "named_wrong": rate_as_json(wrong, bounds.rates["named_wrong"]) if wrong else None,
        "multiclass": _multiclass_as_json(multiclass, bounds) if multiclass else None,
        "multiclass_reason": text(evaluation.multiclass_reason) if evaluation.multiclass_reason else "",
        "interval_method": {"rates": bounds.rates_by, "scores": bounds.scores_by},
        "warnings": [text(one) for one in evaluation.warnings],
    }


def _multiclass_as_json(scores: metrics.MulticlassScores, bounds: EvaluationIntervals) -> dict[str, Any]:
    return {
        "accuracy": rate_as_json(scores.accuracy, bounds.accuracy),
        "macro_f1": scores.macro_f1,
        "macro_f1_interval": interval_as_json(bounds.macro_f1),
        "weighted_f1": scores.weighted_f1,
        "weighted_f1_interval": interval_as_json(bounds.weighted_f1),
        "macro_precision": scores.macro_precision,
        "macro_precision_interval": interval_as_json(bounds.macro_precision),
        "macro_recall": scores.macro_recall,
        "macro_recall_interval": interval_as_json(bounds.macro_recall),
        "weighted_precision": scores.weighted_precision,
        "weighted_precision_interval": interval_as_json(bounds.weighted_precision),
        "per_class": {
            one.name: {
                "precision": rate_as_json(one.precision, sure.precision),
                "recall": rate_as_json(one.recall, sure.recall),
                "f1": one.f1,
                "f1_interval": interval_as_json(sure.f1),
                "support": one.support,
            }
            for one, sure in zip(scores.per_class, bounds.per_class, strict=True)
        },
        "classes": [one.name for one in scores.per_class],
        "confusion": [list(row) for row in scores.confusion],
    }


def _warnings(
    predicted: Sequence[str],
    binary: metrics.BinaryCounts,
    area: float | None,
    multiclass: metrics.MulticlassScores | None,
) -> tuple[Message, ...]:
    advice = message("probably_swapped")
    found = []
    judged = set(predicted)
    if len(judged) == 1 and len(predicted) > 1 and binary.n not in (binary.tn, binary.tp):
        found.append(message("one_class_predicted", name=judged.pop()))
    if multiclass is not None:
        classes, rate = len(multiclass.per_class), multiclass.accuracy
        if binomial_cdf(rate.count, rate.of, 1.0 / classes) < _SURELY:
            found.append(message("accuracy_under_chance", count=rate.count, of=rate.of, classes=classes, advice=advice))
    if area is not None and area < 0.5:
        found.append(message("auroc_under_chance", area=area, advice=advice))
    if binary.tp + binary.fn == 0:
        found.append(message("no_defect"))
    if binary.fp + binary.tn == 0:
        found.append(message("no_normal"))
    return tuple(found)
