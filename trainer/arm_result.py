"""Evaluations of one arm's trainings -> ArmResult: means over seeds, with their spread; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import metrics
from .arms import Arm
from .evaluate import Evaluation
from .metrics import FloatArray
from .stats import Interval, clopper_pearson


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds of an arm; None where undefined."""

    mean: float | None
    least: float | None
    most: float | None
    sd: float | None
    """Sample standard deviation over seeds; None with one seed."""


@dataclass(frozen=True)
class MeanRate:
    """A rate averaged over seeds, all of which judged the same `of` images."""

    spread: Spread
    count: float
    """Mean count over seeds."""
    of: int
    interval: Interval | None
    """Clopper-Pearson of `count` of `of`: each image counts once, however many seeds judged it."""


@dataclass(frozen=True)
class ClassMeans:
    """How well an arm names one class, averaged over seeds."""

    name: str
    precision: Spread
    recall: Spread
    f1: Spread
    support: int
    """Test images that bear the name."""


@dataclass(frozen=True)
class ArmResult:
    """What one arm achieved."""

    name: str
    seeds: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    """One a seed, in the order of `seeds`."""
    rates: Mapping[str, MeanRate]
    """By the keys of `metrics.RATE_DEFINITIONS`."""
    named_wrong: MeanRate | None
    """Defects called by another defect's name, of all defects; None where names are not known."""
    macro_f1: Spread
    weighted_f1: Spread
    auroc: Spread
    per_class: tuple[ClassMeans, ...]
    """In class order; empty when the labels do not name the defects."""
    confusion: tuple[tuple[int, ...], ...]
    """L x K counts added up over seeds, row = label, column = predicted class."""


def sum_up(arm: Arm, evaluations: Sequence[Evaluation], table: FloatArray) -> ArmResult:
    """Average an arm's evaluations over its seeds.

    Args:
        arm: S trainings.
        evaluations: one a training, of the same images.
        table: (S, G, L, K) confusion counts.
    """
    wrong = [evaluation.named_wrong for evaluation in evaluations if evaluation.named_wrong]
    named = [evaluation.multiclass for evaluation in evaluations]
    pooled = table.sum(axis=(0, 1)).astype(np.int64)
    return ArmResult(
        name=arm.name,
        seeds=tuple(one.seed for one in arm.seeds),
        evaluations=tuple(evaluations),
        rates={
            one.key: _average([evaluation.binary.rates[one.key] for evaluation in evaluations])
            for one in metrics.RATE_DEFINITIONS
        },
        named_wrong=_average(wrong) if wrong else None,
        macro_f1=_spread([scores.macro_f1 if scores else None for scores in named]),
        weighted_f1=_spread([scores.weighted_f1 if scores else None for scores in named]),
        auroc=_spread([evaluation.auroc for evaluation in evaluations]),
        per_class=_average_classes([scores for scores in named if scores]),
        confusion=tuple(tuple(row) for row in pooled.tolist()),
    )


def _average(rates: Sequence[metrics.Rate]) -> MeanRate:
    count = sum(rate.count for rate in rates) / len(rates)
    return MeanRate(
        spread=_spread([rate.value for rate in rates]),
        count=count,
        of=rates[0].of,
        interval=clopper_pearson(count, rates[0].of),
    )


def _average_classes(scores: Sequence[metrics.MulticlassScores]) -> tuple[ClassMeans, ...]:
    return tuple(
        ClassMeans(
            name=same[0].name,
            precision=_spread([one.precision.value for one in same]),
            recall=_spread([one.recall.value for one in same]),
            f1=_spread([one.f1 for one in same]),
            support=same[0].support,
        )
        for same in zip(*(one.per_class for one in scores), strict=True)
    )


def _spread(values: Sequence[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return Spread(None, None, None, None)
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Spread(float(np.mean(known)), min(known), max(known), sd)
