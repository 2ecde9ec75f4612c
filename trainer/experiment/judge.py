"""Did the generated images help? Confusion counts of every arm -> one judgement a generated arm; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sdcore.messages import Message, message

from ..errors import EvaluationError
from ..evaluation.arms import compared_statistics
from ..evaluation.metrics import FloatArray
from ..evaluation.stats import (
    CONFIDENCE,
    RESAMPLES,
    Resampled,
    Statistic,
    bootstrap_arms,
    bootstrap_p,
    holm,
    percentile_interval,
)
from ..evaluation.verdict import (
    COMPARED,
    FINAL_SEEDS,
    HELPED,
    HURT,
    MIXED,
    NO_DIFFERENCE,
    Difference,
    describe_difference,
)

Kind = Literal["baseline", "oversampling", "classical", "generated"]

LEVEL = 1.0 - CONFIDENCE
"""An adjusted p-value up to this is significant."""

MISS_RATE = "miss_rate"


@dataclass(frozen=True, eq=False)
class JudgedArm:
    """What the judgement needs of an arm."""

    name: str
    kind: Kind
    controls: str
    """For a classical arm: the generated arm whose count it has. "" otherwise."""
    counts: FloatArray
    """(S, G, L, K) confusion counts: seed, group of test images, label, predicted class; G, L, K alike."""
    shares_control: str = ""
    """For a generated arm: the one whose classical control it shares; "" where it has its own."""


@dataclass(frozen=True)
class ArmComparison:
    """A generated arm beside another arm, on the same test images; every difference is generated minus other."""

    other: str
    kind: Kind
    """Of the other arm."""
    differences: tuple[Difference, ...]
    """The primary metric first; each interval is of this difference alone."""
    p_value: float | None
    """Two-sided, of the primary metric, seeds and test groups both random; None where it cannot be told."""
    p_holm: float | None
    """The same, corrected by Holm over the generated arms; None also where no verdict rests on it."""

    @property
    def primary(self) -> Difference:
        """The difference of the primary metric."""
        return self.differences[0]

    @property
    def better(self) -> bool:
        """Whether the primary metric is significantly better after correction."""
        return self._significant and self._gain > 0

    @property
    def worse(self) -> bool:
        """Whether the primary metric is significantly worse after correction."""
        return self._significant and self._gain < 0

    @property
    def _significant(self) -> bool:
        return self.p_holm is not None and self.p_holm <= LEVEL

    @property
    def _gain(self) -> float:
        value = self.primary.value or 0.0
        return value if COMPARED[self.primary.metric].higher_is_better else -value


@dataclass(frozen=True)
class Judgement:
    """Whether one set of generated images, at one share, helped."""

    arm: str
    baseline: ArmComparison
    control: ArmComparison
    """Against classical augmentation at the same count."""
    oversampling: tuple[ArmComparison, ...]
    """Shown, and no part of the verdict."""
    word: str
    """HELPED, HURT, MIXED or NO_DIFFERENCE of `trainer.evaluation.verdict`."""
    provisional: bool
    """Fewer than five seeds in one of the three arms."""
    sentence: Message


def judge(
    arms: Sequence[JudgedArm],
    *,
    primary: str,
    normal: int,
    classes: int,
    images: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Judgement, ...]:
    """Judge every generated arm by the metric that was declared beforehand.

    Differences are paired by test group; seeds and groups are both random (`trainer.evaluation.stats.bootstrap_arms`).
    Their p-values are corrected by Holm over the generated arms, in two families: those against the baseline,
    and those against each arm's own classical control. "helped" needs both to be significant at 5 % in the good
    direction, and the miss rate not to rise against the baseline (its own 95 % interval above 0, uncorrected: a
    doubt about misses counts). As each family alone holds its chance of any false claim to 5 %, so does their
    meeting.

    Args:
        arms: one baseline, any number of others, and one classical control for every generated arm that shares none.
        primary: a key of `COMPARED`.
        classes: K; labels beyond K are defects without a name.

    Returns:
        One a generated arm, in the order of `arms`.

    Raises:
        EvaluationError: the primary metric cannot be had from these labels, or an arm to compare with is missing.
    """
    named = arms[0].counts.shape[2] == classes
    statistics = _primary_first(compared_statistics(normal=normal, classes=classes, named=named), primary)
    draws = bootstrap_arms([arm.counts for arm in arms], statistics, resamples=resamples, seed=seed)
    baseline = _the_one([row for row, arm in enumerate(arms) if arm.kind == "baseline"], "baseline")
    rows = [row for row, arm in enumerate(arms) if arm.kind == "generated"]
    controls = [
        _the_one(
            [n for n, arm in enumerate(arms) if arm.controls == (arms[row].shares_control or arms[row].name)],
            f"control for {arms[row].name}",
        )
        for row in rows
    ]
    others = [row for row, arm in enumerate(arms) if arm.kind == "oversampling"]
    against_baseline = _correct([_against(arms, baseline, row, statistics, draws) for row in rows])
    against_control = _correct(
        [_against(arms, control, row, statistics, draws) for row, control in zip(rows, controls, strict=True)]
    )
    judgements = []
    for place, row in enumerate(rows):
        fewest = min(len(arms[n].counts) for n in (row, baseline, controls[place]))
        first, second = against_baseline[place], against_control[place]
        word = _word(first, second)
        judgements.append(
            Judgement(
                arm=arms[row].name,
                baseline=first,
                control=second,
                oversampling=tuple(_against(arms, other, row, statistics, draws) for other in others),
                word=word,
                provisional=fewest < FINAL_SEEDS,
                sentence=_sentence(arms[row].name, first, second, word, images=images, seeds=fewest, family=len(rows)),
            )
        )
    return tuple(judgements)


def _primary_first(statistics: Mapping[str, Statistic], primary: str) -> dict[str, Statistic]:
    if primary not in statistics:
        raise EvaluationError(
            f"primary: {primary!r} cannot be had from these test labels; expected one of {', '.join(statistics)}"
        )
    return {primary: statistics[primary], **statistics}


def _the_one(rows: Sequence[int], what: str) -> int:
    if len(rows) != 1:
        raise EvaluationError(f"{what}: found {len(rows)} such arms; expected one")
    return rows[0]


def _against(
    arms: Sequence[JudgedArm],
    first: int,
    second: int,
    statistics: Mapping[str, Statistic],
    draws: Mapping[str, Resampled],
) -> ArmComparison:
    differences = []
    p_value = None
    for key, statistic in statistics.items():
        before, after = (_level(arms[row], statistic) for row in (first, second))
        apart = draws[key].values[second] - draws[key].values[first]
        # Drawn from one group, every draw is the same, which says nothing of other images.
        told = before is not None and after is not None and arms[first].counts.shape[1] > 1
        differences.append(Difference(key, before, after, percentile_interval(apart) if told else None))
        if told and len(differences) == 1:
            p_value = bootstrap_p(apart)
    return ArmComparison(arms[first].name, arms[first].kind, tuple(differences), p_value, None)


def _level(arm: JudgedArm, statistic: Statistic) -> float | None:
    """Mean over seeds on all images; None when undefined."""
    value = float(statistic(arm.counts.sum(axis=1)).mean())
    return None if np.isnan(value) else value


def _correct(family: Sequence[ArmComparison]) -> list[ArmComparison]:
    """The same with `p_holm`; one that cannot be told still counts as one of the family."""
    adjusted = holm([1.0 if one.p_value is None else one.p_value for one in family])
    return [replace(one, p_holm=None if one.p_value is None else p) for one, p in zip(family, adjusted, strict=True)]


def _word(baseline: ArmComparison, control: ArmComparison) -> str:
    if baseline.worse:
        return HURT
    if not baseline.better:
        return NO_DIFFERENCE
    if _miss_of(baseline).rose or control.worse:
        return MIXED
    return HELPED if control.better else NO_DIFFERENCE


def _miss_of(against: ArmComparison) -> Difference:
    return next(one for one in against.differences if one.metric == MISS_RATE)


def _sentence(
    arm: str, baseline: ArmComparison, control: ArmComparison, word: str, *, images: int, seeds: int, family: int
) -> Message:
    details = []
    if word == NO_DIFFERENCE and baseline.better:
        details.append(message("verdict_not_beyond_classical", control=control.other))
    if seeds < FINAL_SEEDS:
        details.append(message("verdict_provisional", seeds=seeds, final=FINAL_SEEDS))
    first, second = describe_difference(baseline.primary), describe_difference(control.primary)
    details.append(message("verdict_difference_p", difference=first, p=_p_words(baseline, family)))
    details.append(message("verdict_classical", control=control.other, difference=second, p=_p_words(control, family)))
    miss = _miss_of(baseline)
    if miss.metric != baseline.primary.metric and (miss.rose or miss.fell):
        details.append(
            message("verdict_difference_against", difference=describe_difference(miss), first=baseline.other)
        )
    return message(
        "verdict", images=images, first=baseline.other, second=arm, word=message(word), details=tuple(details)
    )


def _p_words(against: ArmComparison, family: int) -> Message:
    if against.p_holm is None:
        return message("p_none")
    return message("p_of_family", p=against.p_holm, arms=family) if family > 1 else message("p_alone", p=against.p_holm)
