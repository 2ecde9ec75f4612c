"""Differences between arms -> one honest sentence; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .notation import signed
from .stats import Interval

FINAL_SEEDS = 5
"""Trainings an arm needs before its verdict stops being provisional."""

HELPED = "helped"
HURT = "hurt"
MIXED = "mixed"
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class MetricName:
    """How a compared figure is called, and which way is good."""

    english: str
    chinese: str
    higher_is_better: bool


COMPARED = {
    "macro_f1": MetricName("macro-F1", "宏平均 F1", True),
    "accuracy": MetricName("Normal/Abnormal accuracy", "正确率", True),
    "miss_rate": MetricName("miss rate", "漏检率", False),
    "overkill_rate": MetricName("overkill rate", "过杀率", False),
}
"""The compared figures; the first one present is the primary one."""


@dataclass(frozen=True)
class Difference:
    """How one figure differs between two arms, second minus first."""

    metric: str
    """A key of `COMPARED`."""
    first: float | None
    """Mean over the first arm's seeds; None when undefined."""
    second: float | None
    interval: Interval | None
    """95 % percentile interval of the difference; None when it cannot be told."""

    @property
    def value(self) -> float | None:
        """Second minus first."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def rose(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.interval is not None and self.interval.low > 0

    @property
    def fell(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.interval is not None and self.interval.high < 0


@dataclass(frozen=True)
class Verdict:
    """The answer in words."""

    word: str
    """HELPED, HURT, MIXED or NO_DIFFERENCE."""
    provisional: bool
    """Fewer than five trainings in some arm."""
    primary: str
    """The metric it rests on, a key of `COMPARED`."""
    sentence: str


def give_verdict(
    *,
    images: int,
    names: Sequence[str],
    seeds: Sequence[int],
    against_baseline: Sequence[Difference],
    against_control: Sequence[Difference] | None = None,
) -> Verdict:
    """Judge the candidate on the primary metric, for these test images.

    "helped" needs the primary metric to rise against the baseline and, where there is one, the control, each
    with its whole 95 % interval above 0, and no significant rise of the miss rate against the baseline. A rise
    that comes with more misses is "mixed".

    Args:
        images: number of test images.
        names: of baseline, candidate and, where there is one, control.
        seeds: trainings of each, in the same order.
        against_baseline: candidate minus baseline; the first is the primary metric.
        against_control: candidate minus control, likewise.
    """
    primary = against_baseline[0]
    miss = _named(against_baseline, "miss_rate")
    word = _word(primary, miss, against_control)
    fewest = min(seeds)
    provisional = fewest < FINAL_SEEDS
    sentence = f"On these {images} test images, {names[1]} against {names[0]}: {word}" + (
        f" (provisional, {fewest} of {FINAL_SEEDS} seeds)" if provisional else ""
    )
    if against_control is None:
        sentence += f"; {describe(primary)}"
    elif primary.rose and word == NO_DIFFERENCE:
        sentence += f" beyond the control ({names[2]}); {describe(against_control[0])} against the control, "
        sentence += f"though {describe(primary)} against {names[0]}"
    else:
        sentence += f"; {describe(primary)}; against the control ({names[2]}), {describe(against_control[0])}"
    if miss is not None and miss is not primary and (miss.rose or miss.fell):
        sentence += f"; {describe(miss)}" + (f" against {names[0]}" if against_control is not None else "")
    return Verdict(word, provisional, primary.metric, sentence + ".")


def describe(difference: Difference) -> str:
    """A difference in words, as "macro-F1 rose by 0.042, from 0.781 to 0.823 (95 % interval +0.011 to +0.072)"."""
    name = COMPARED[difference.metric].english
    if difference.value is None:
        return f"{name} is undefined"
    value = round(difference.value, 3)
    moved = f"rose by {value:.3f}" if value > 0 else f"fell by {-value:.3f}" if value < 0 else "did not move"
    levels = f", from {difference.first:.3f} to {difference.second:.3f}" if value else f" from {difference.first:.3f}"
    if difference.interval is None:
        return f"{name} {moved}{levels} (no interval can be told from so few test images)"
    return (
        f"{name} {moved}{levels} (95 % interval {signed(difference.interval.low)} to "
        f"{signed(difference.interval.high)})"
    )


def _word(primary: Difference, miss: Difference | None, against_control: Sequence[Difference] | None) -> str:
    if primary.fell:
        return HURT
    if not primary.rose:
        return NO_DIFFERENCE
    if miss is not None and miss.rose:
        return MIXED
    if against_control is not None and not against_control[0].rose:
        return MIXED if against_control[0].fell else NO_DIFFERENCE
    return HELPED


def _named(differences: Sequence[Difference], metric: str) -> Difference | None:
    return next((one for one in differences if one.metric == metric), None)
