"""Predictions judged from a chosen defect score on, beside the scores it was chosen from; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sdcore.messages import Message, message

from .errors import SettingsError
from .evaluate import ABNORMAL, NORMAL, LabelledImages, defect_scores, interval_as_json, label_images, rate_as_json
from .evaluation_intervals import binary_intervals
from .intervals import known_groups
from .messages import text
from .metrics import BinaryCounts, FloatArray, count_binary
from .operating_point import MissOverkillCurve, chance_of_misses, miss_overkill_curve, operating_point, promise_range
from .operating_point_file import ChosenPoint, require_class
from .predictions import Predictions
from .stats import Interval

_HARDLY = 0.01
"""How unlikely so many misses must be before test defects are called unlike those of validation."""


@dataclass(frozen=True, eq=False)
class CutRates:
    """What a cut does on one set of images, and what every other cut would."""

    images: int
    binary: BinaryCounts
    """An image is judged defective when 1 - p(normal) reaches the cut."""
    intervals: Mapping[str, Interval | None]
    """By the keys of `metrics.RATE_DEFINITIONS`; groups are heeded where known."""
    curve: MissOverkillCurve


@dataclass(frozen=True, eq=False)
class AtCut:
    """An operating point and what it is worth."""

    point: ChosenPoint
    promised_miss_rate: float | None
    """What the expected miss rate on new defects does not exceed; None when the point does not say."""
    promise_range: Interval | None
    """Between what the miss rate of one such cut lies in 95 % of validation sets; None when the point does not say."""
    test: CutRates
    validation: CutRates | None
    """Where the cut was chosen; None for one that was chosen earlier."""
    notes: tuple[Message, ...]
    """What the reader must know before believing the promise."""


def choose_point(
    validation: Predictions,
    *,
    max_miss_rate: float,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    predictions_sha256: str | None = None,
) -> ChosenPoint:
    """Choose the cut that keeps a promised miss rate, on validation predictions and nothing else.

    Args:
        validation: with labels.
        max_miss_rate: in (0, 1).
        normal: the class of images without a defect.
        abnormal: the label of defects whose kind is not said.
        predictions_sha256: of the file that holds `validation`.

    Raises:
        SettingsError: `max_miss_rate` is out of range.
        TooFewDefects: so few defects cannot promise it.
        EvaluationError: labels, classes and `normal` do not fit together.
    """
    labelled = label_images(validation, normal=normal, abnormal=abnormal)
    scores = defect_scores(validation, labelled.normal)
    chosen = operating_point(scores, labelled.is_defective, max_miss_rate=max_miss_rate)
    return ChosenPoint(normal, chosen.cut, max_miss_rate, chosen.k, chosen.n_defects, predictions_sha256)


def judge_at(
    point: ChosenPoint,
    test: Predictions,
    validation: Predictions | None = None,
    *,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    notes: Sequence[Message] = (),
) -> AtCut:
    """Apply a chosen point to test images.

    Args:
        point: what was chosen.
        test: with labels.
        validation: what it was chosen from; None when it was chosen earlier.
        normal: the class of images without a defect.
        abnormal: the label of defects whose kind is not said.
        notes: what is known about the choice already.

    Raises:
        SettingsError: the point is of other classes, or calls another one normal.
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
    return AtCut(point, promised, promise, judged, known, tuple(found))


def at_cut_as_json(at_cut: AtCut) -> dict[str, Any]:
    """Every figure as plain data; undefined ones are null, and so is the cut above every score."""
    return {
        **asdict(at_cut.point),
        "promised_miss_rate": at_cut.promised_miss_rate,
        "promise_range": interval_as_json(at_cut.promise_range),
        **_rates_as_json(at_cut.test),
        "validation": _rates_as_json(at_cut.validation) if at_cut.validation else None,
        "curve": {
            "test": _curve_as_json(at_cut.test.curve),
            "validation": _curve_as_json(at_cut.validation.curve) if at_cut.validation else None,
        },
        "notes": [text(one) for one in at_cut.notes],
    }


def _judge(predictions: Predictions, cut: float, normal: str, abnormal: str | None) -> CutRates:
    labelled = label_images(predictions, normal=normal, abnormal=abnormal)
    scores, bad = defect_scores(predictions, labelled.normal), labelled.is_defective
    return CutRates(
        images=len(bad),
        binary=count_binary(bad, scores >= cut),
        intervals=binary_intervals(bad, scores >= cut, known_groups(predictions.groups)),
        curve=miss_overkill_curve(scores, bad),
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


def _notes(point: ChosenPoint, test: CutRates, normal: str, *, independent: bool) -> list[Message]:
    found = []
    if point.cut == 0.0:
        found.append(message("cut_is_zero", count=point.k or message("some"), normal=normal))
    missed = test.binary.rates["miss_rate"]
    if independent and point.k is not None and point.n_defects is not None:
        chance = chance_of_misses(missed.count, missed.of, k=point.k, n_defects=point.n_defects)
        if chance < _HARDLY:
            found.append(message("promise_not_kept", missed=missed.count, of=missed.of, percent=100 * chance))
    return found


def _rates_as_json(rates: CutRates) -> dict[str, Any]:
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
