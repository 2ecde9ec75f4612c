"""One arm against another on the same test images: differences, and tests of them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .arms import Arm
from .metrics import BoolArray, FloatArray
from .stats import Interval, Resampled, Statistic, bootstrap_p, holm, mcnemar_exact, percentile_interval
from .verdict import Difference
from .worth import Worth, images_needed


@dataclass(frozen=True)
class McNemar:
    """Normal/Abnormal correctness of one training of each arm on the same images."""

    first_seed: str
    second_seed: str
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float


@dataclass(frozen=True)
class RecallDifference:
    """How the recall of one class differs between two arms, second minus first."""

    name: str
    support: int
    """Test images that bear the name."""
    first: float | None
    """Mean over the first arm's seeds; None when no image bears the name."""
    second: float | None
    interval: Interval | None
    """95 % percentile interval of the difference, of this class alone."""
    p_value: float | None
    """Two-sided, from the resamples; of this class alone."""
    p_holm: float | None
    """The same, corrected by Holm for all classes of the comparison."""

    @property
    def value(self) -> float | None:
        """Second minus first."""
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class Contrast:
    """The second arm against the first; every difference is second minus first."""

    first: str
    second: str
    differences: tuple[Difference, ...]
    """The primary metric first."""
    recalls: tuple[RecallDifference, ...]
    """One a class, in class order; empty when the labels do not name the defects."""
    mcnemar: tuple[McNemar, ...]
    worth: Worth | None
    """What it would take to see the difference that was asked for; None when none was."""


@dataclass(frozen=True, eq=False)
class Side:
    """What a contrast needs of one of its arms."""

    arm: Arm
    counts: FloatArray
    """(S, G, L, K) confusion counts."""
    right: BoolArray
    """(S, N) whether each seed judges each image rightly, Normal/Abnormal."""
    row: int
    """Its row in the resamples."""


def contrast_of(
    first: Side,
    second: Side,
    statistics: Mapping[str, Statistic],
    recalls: Mapping[str, Statistic],
    draws: Mapping[str, Resampled],
    *,
    worth: float | None,
) -> Contrast:
    """Compare two arms.

    Args:
        first: the arm that is subtracted.
        second: the arm in question.
        statistics: compared figures by name, the primary metric first.
        recalls: the recall of each class by "recall <class>"; empty where names are not known.
        draws: resamples of all of them.
        worth: the smallest difference of the primary metric worth having, in (0, 1); None asks nothing.
    """
    differences = tuple(_difference(key, first, second, one, draws[key]) for key, one in statistics.items())
    needed = None
    if worth is not None:
        primary = next(iter(statistics))
        needed = images_needed(
            worth,
            draws[primary],
            rows=(first.row, second.row),
            images=first.right.shape[1],
            seeds=min(len(first.right), len(second.right)),
        )
    return Contrast(
        first=first.arm.name,
        second=second.arm.name,
        differences=differences,
        recalls=_recall_differences(first, second, recalls, draws),
        mcnemar=_mcnemar_by_seed(first, second),
        worth=needed,
    )


def _difference(key: str, first: Side, second: Side, statistic: Statistic, draws: Resampled) -> Difference:
    before, after = _level(first, statistic), _level(second, statistic)
    defined = before is not None and after is not None and first.counts.shape[1] > 1
    apart = draws.values[second.row] - draws.values[first.row]
    return Difference(key, before, after, percentile_interval(apart) if defined else None)


def _level(side: Side, statistic: Statistic) -> float | None:
    """Mean over seeds on all images; None when undefined."""
    value = float(statistic(side.counts.sum(axis=1)).mean())
    return None if np.isnan(value) else value


def _recall_differences(
    first: Side, second: Side, recalls: Mapping[str, Statistic], draws: Mapping[str, Resampled]
) -> tuple[RecallDifference, ...]:
    apart = {key: draws[key].values[second.row] - draws[key].values[first.row] for key in recalls}
    p_values = {key: p for key, values in apart.items() if (p := bootstrap_p(values)) is not None}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    support = first.counts[0].sum(axis=(0, 2))
    return tuple(
        RecallDifference(
            name=key.removeprefix("recall "),
            support=int(support[place]),
            first=_level(first, statistic),
            second=_level(second, statistic),
            interval=percentile_interval(apart[key]),
            p_value=p_values.get(key),
            p_holm=adjusted.get(key),
        )
        for place, (key, statistic) in enumerate(recalls.items())
    )


def _mcnemar_by_seed(first: Side, second: Side) -> tuple[McNemar, ...]:
    """One test a pair of trainings: seeds of the same name, or in order where the arms share no name."""
    first_names, second_names = ([one.seed for one in side.arm.seeds] for side in (first, second))
    pairs = [(i, second_names.index(name)) for i, name in enumerate(first_names) if name in second_names]
    if not pairs:
        pairs = [(i, i) for i in range(min(len(first_names), len(second_names)))]
    return tuple(_mcnemar(first_names[i], second_names[j], first.right[i], second.right[j]) for i, j in pairs)


def _mcnemar(first_seed: str, second_seed: str, first: BoolArray, second: BoolArray) -> McNemar:
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    return McNemar(
        first_seed=first_seed,
        second_seed=second_seed,
        both_right=int(np.sum(first & second)),
        only_first=only_first,
        only_second=only_second,
        both_wrong=int(np.sum(~first & ~second)),
        p_value=mcnemar_exact(only_first, only_second),
    )
