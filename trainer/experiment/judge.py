"""Did the generated images help? From the confusion counts of every arm to one judgement per generated arm; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from sdcore.messages import Message, message

from ..errors import EvaluationError
from ..evaluation import stats, verdict
from ..evaluation.arms import compared_statistics
from ..evaluation.metrics import FloatArray

Kind = Literal["baseline", "oversampling", "classical", "generated"]

LEVEL = 1.0 - stats.CONFIDENCE
"""An adjusted p-value up to this is significant."""


@dataclass(frozen=True, eq=False)
class JudgedArm:
    """What the judgement needs to know about an arm."""

    name: str
    kind: Kind
    controls: str
    """Of a classical arm: the generated arm whose number of images it copies; "" for other kinds."""
    counts: FloatArray
    """(S, G, L, K) confusion counts: seed, group of test images, label, predicted class; G, L, K equal in all arms."""
    shares_control: str = ""
    """Of a generated arm: the one whose classical control it shares; "" if it has its own."""


@dataclass(frozen=True)
class ArmComparison:
    """A generated arm compared with another arm on the same test images; every difference is generated minus other."""

    other: str
    kind: Kind
    """Kind of the other arm."""
    differences: tuple[verdict.Difference, ...]
    """The primary metric first; no interval is corrected for the number of comparisons."""
    p_value: float | None
    """Two-sided, of the primary metric, with seeds and test groups both random; None if it cannot be computed."""
    p_holm: float | None
    """The p-value corrected by Holm over the generated arms; None also if no verdict depends on it."""

    @property
    def primary(self) -> verdict.Difference:
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
        return value if verdict.COMPARED[self.primary.metric].higher_is_better else -value


@dataclass(frozen=True)
class Judgement:
    """Whether one generated arm helped."""

    arm: str
    baseline: ArmComparison
    control: ArmComparison
    """Against classical augmentation with as many images."""
    oversampling: tuple[ArmComparison, ...]
    """Reported, but not part of the verdict."""
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
    resamples: int = stats.RESAMPLES,
    seed: int = 0,
) -> tuple[Judgement, ...]:
    """Judge every generated arm by the metric that was declared beforehand.

    Differences are paired by test group; seeds and groups are both random (`trainer.evaluation.stats.bootstrap_arms`).
    The p-values are corrected by Holm over the generated arms, in two families: against the baseline, and against
    each arm's classical control. "helped" requires that both are significant at 5 % in the good direction and that
    the miss rate does not rise against the baseline (its 95 % interval lies above 0; this interval is not corrected,
    so that a doubt about misses counts). Each family keeps its probability of any false claim at 5 % or less, so
    requiring both does so too.

    Args:
        arms: one baseline, any number of others, and one classical control for every generated arm that shares none.
        primary: a key of `COMPARED`.
        classes: K; labels beyond K are defects without a name.

    Returns:
        One judgement per generated arm, in the order of `arms`.

    Raises:
        EvaluationError: the primary metric cannot be computed from these labels, or an arm to compare with is missing.
    """
    statistics = compared_statistics(normal=normal, classes=classes, named=arms[0].counts.shape[2] == classes)
    if primary not in statistics:
        raise EvaluationError(
            f"primary: {primary!r} cannot be computed from these test labels; expected one of {', '.join(statistics)}"
        )
    statistics = {primary: statistics[primary], **statistics}
    draws = stats.bootstrap_arms([arm.counts for arm in arms], statistics, resamples=resamples, seed=seed)
    against = partial(_against, arms, statistics, draws)
    rows = [row for row, arm in enumerate(arms) if arm.kind == "generated"]
    baseline = _only_row([arm.kind == "baseline" for arm in arms], "baseline")
    controls = [
        _only_row([arm.controls == (one.shares_control or one.name) for arm in arms], f"control for {one.name}")
        for one in (arms[row] for row in rows)
    ]
    against_baseline = _correct([against(baseline, row) for row in rows])
    against_control = _correct([against(control, row) for row, control in zip(rows, controls, strict=True)])
    judgements = []
    for row, control, first, second in zip(rows, controls, against_baseline, against_control, strict=True):
        fewest = min(len(arms[n].counts) for n in (row, baseline, control))
        word = _word(first, second)
        judgements.append(
            Judgement(
                arm=arms[row].name,
                baseline=first,
                control=second,
                oversampling=tuple(against(n, row) for n, arm in enumerate(arms) if arm.kind == "oversampling"),
                word=word,
                provisional=fewest < verdict.FINAL_SEEDS,
                sentence=_sentence(arms[row].name, first, second, word, images=images, seeds=fewest, family=len(rows)),
            )
        )
    return tuple(judgements)


def _only_row(matches: Sequence[bool], what: str) -> int:
    rows = [row for row, match in enumerate(matches) if match]
    if len(rows) != 1:
        raise EvaluationError(f"{what}: found {len(rows)} such arms; expected one")
    return rows[0]


def _against(
    arms: Sequence[JudgedArm],
    statistics: Mapping[str, stats.Statistic],
    draws: Mapping[str, stats.Resampled],
    first: int,
    second: int,
) -> ArmComparison:
    differences = []
    p_value = None
    for key, statistic in statistics.items():
        before, after = (_mean_over_seeds(arms[row], statistic) for row in (first, second))
        gain = draws[key].values[second] - draws[key].values[first]
        # With a single group every draw is the same, which says nothing about other images.
        comparable = before is not None and after is not None and arms[first].counts.shape[1] > 1
        differences.append(
            verdict.Difference(key, before, after, stats.percentile_interval(gain) if comparable else None)
        )
        if comparable and len(differences) == 1:
            p_value = stats.bootstrap_p(gain)
    return ArmComparison(arms[first].name, arms[first].kind, tuple(differences), p_value, None)


def _mean_over_seeds(arm: JudgedArm, statistic: stats.Statistic) -> float | None:
    """The statistic on all images; None when undefined."""
    value = float(statistic(arm.counts.sum(axis=1)).mean())
    return None if np.isnan(value) else value


def _correct(family: Sequence[ArmComparison]) -> list[ArmComparison]:
    """The comparisons with `p_holm`; one without a p-value still counts as a member of the family."""
    adjusted = stats.holm([1.0 if one.p_value is None else one.p_value for one in family])
    return [replace(one, p_holm=None if one.p_value is None else p) for one, p in zip(family, adjusted, strict=True)]


def _word(baseline: ArmComparison, control: ArmComparison) -> str:
    if baseline.worse:
        return verdict.HURT
    if not baseline.better:
        return verdict.NO_DIFFERENCE
    if _miss_rate(baseline).rose or control.worse:
        return verdict.MIXED
    return verdict.HELPED if control.better else verdict.NO_DIFFERENCE


def _miss_rate(against: ArmComparison) -> verdict.Difference:
    return next(one for one in against.differences if one.metric == "miss_rate")


def _sentence(
    arm: str, baseline: ArmComparison, control: ArmComparison, word: str, *, images: int, seeds: int, family: int
) -> Message:
    details = []
    if word == verdict.NO_DIFFERENCE and baseline.better:
        details.append(message("verdict_not_beyond_classical", control=control.other))
    if seeds < verdict.FINAL_SEEDS:
        details.append(message("verdict_provisional", seeds=seeds, final=verdict.FINAL_SEEDS))
    first, second = verdict.describe_difference(baseline.primary), verdict.describe_difference(control.primary)
    details.append(message("verdict_difference_p", difference=first, p=_p_words(baseline, family)))
    details.append(message("verdict_classical", control=control.other, difference=second, p=_p_words(control, family)))
    miss = _miss_rate(baseline)
    if miss.metric != baseline.primary.metric and (miss.rose or miss.fell):
        rise = verdict.describe_difference(miss)
        details.append(message("verdict_difference_against", difference=rise, first=baseline.other))
    names = {"first": baseline.other, "second": arm}
    return message("verdict", images=images, **names, word=message(word), details=tuple(details))


def _p_words(against: ArmComparison, family: int) -> Message:
    if against.p_holm is None:
        return message("p_none")
    return message("p_of_family", p=against.p_holm, arms=family) if family > 1 else message("p_alone", p=against.p_holm)
