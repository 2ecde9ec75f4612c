"""Differences between arms -> one honest verdict, as a message; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdcore.messages import Message, message

from .stats import Interval

FINAL_SEEDS = 5
"""Trainings an arm needs before its verdict stops being provisional."""

HELPED = "helped"
HURT = "hurt"
MIXED = "mixed"
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class ComparedMetric:
    """A compared figure; its name stands in `trainer.words_findings` under its key."""

    higher_is_better: bool


COMPARED = {
    "macro_f1": ComparedMetric(higher_is_better=True),
    "accuracy": ComparedMetric(higher_is_better=True),
    "miss_rate": ComparedMetric(higher_is_better=False),
    "overkill_rate": ComparedMetric(higher_is_better=False),
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
    """The answer."""

    word: str
    """HELPED, HURT, MIXED or NO_DIFFERENCE."""
    provisional: bool
    """Fewer than five trainings in some arm."""
    primary: str
    """The metric it rests on, a key of `COMPARED`."""
    sentence: Message


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
    control = None if against_control is None else against_control[0]
    details = []
    if provisional:
        details.append(message("verdict_provisional", seeds=fewest, final=FINAL_SEEDS))
    if control is not None and word == NO_DIFFERENCE and primary.rose:
        details.append(
            message(
                "verdict_not_beyond_control",
                control=names[2],
                difference=describe(control),
                first=names[0],
                against_first=describe(primary),
            )
        )
    else:
        details.append(message("verdict_difference", difference=describe(primary)))
        if control is not None:
            details.append(message("verdict_control", control=names[2], difference=describe(control)))
    if miss is not None and miss is not primary and (miss.rose or miss.fell):
        if control is None:
            details.append(message("verdict_difference", difference=describe(miss)))
        else:
            details.append(message("verdict_difference_against", difference=describe(miss), first=names[0]))
    if max(seeds) == 1:
        details.append(message("verdict_models_only"))
    sentence = message(
        "verdict", images=images, first=names[0], second=names[1], word=message(word), details=tuple(details)
    )
    return Verdict(word, provisional, primary.metric, sentence)


def describe(difference: Difference) -> Message:
    """A difference in words, as "macro-F1 rose by 0.042, from 0.781 to 0.823 (95 % interval +0.011 to +0.072)"."""
    metric, interval = message(difference.metric), difference.interval
    if difference.value is None:
        return message("difference_undefined", metric=metric)
    # Adding 0 turns -0.0 into 0.0, which is written with a plus.
    told = (
        message("interval_none")
        if interval is None
        else message("interval", low=round(interval.low, 3) + 0.0, high=round(interval.high, 3) + 0.0)
    )
    value = round(difference.value, 3)
    if not value:
        return message("difference_still", metric=metric, first=difference.first, interval=told)
    key = "difference_rose" if value > 0 else "difference_fell"
    return message(key, metric=metric, by=abs(value), first=difference.first, second=difference.second, interval=told)


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
