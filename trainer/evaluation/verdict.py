"""The verdict of a comparison, the sample size it would need, and its caveats, as messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from sdcore.messages import Message, message

from ..errors import SettingsError
from .arms import ArmResult
from .evaluate import LabelledImages
from .stats import CONFIDENCE, Interval, Resampled

FINAL_SEEDS = 5
"""With fewer trainings in an arm the verdict is provisional."""

HELPED = "helped"
HURT = "hurt"
MIXED = "mixed"
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class ComparedMetric:
    """A compared figure; `trainer.words_findings` has its name under its key."""

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
    """Difference of one figure between two arms, second minus first."""

    metric: str
    """A key of `COMPARED`."""
    first: float | None
    """Mean over the first arm's seeds; None when undefined."""
    second: float | None
    interval: Interval | None
    """95 % percentile interval of the difference; None when there is none."""

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
    """The answer of a comparison."""

    word: str
    """HELPED, HURT, MIXED or NO_DIFFERENCE."""
    provisional: bool
    """Fewer than five trainings in some arm."""
    primary: str
    """The metric that decides, a key of `COMPARED`."""
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

    "helped" means that the primary metric rises against the baseline and against the control, if there is one, each
    with its whole 95 % interval above 0, and that the miss rate does not rise significantly against the baseline. A
    rise with more misses is "mixed".

    Args:
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
                difference=describe_difference(control),
                first=names[0],
                against_first=describe_difference(primary),
            )
        )
    else:
        details.append(message("verdict_difference", difference=describe_difference(primary)))
        if control is not None:
            details.append(message("verdict_control", control=names[2], difference=describe_difference(control)))
    if miss is not None and miss is not primary and (miss.rose or miss.fell):
        if control is None:
            details.append(message("verdict_difference", difference=describe_difference(miss)))
        else:
            details.append(message("verdict_difference_against", difference=describe_difference(miss), first=names[0]))
    if max(seeds) == 1:
        details.append(message("verdict_models_only"))
    sentence = message(
        "verdict", images=images, first=names[0], second=names[1], word=message(word), details=tuple(details)
    )
    return Verdict(word, provisional, primary.metric, sentence)


def describe_difference(difference: Difference) -> Message:
    """A difference in words, as "macro-F1 rose by 0.042, from 0.781 to 0.823 (95 % interval +0.011 to +0.072)"."""
    metric, interval = message(difference.metric), difference.interval
    if difference.value is None:
        return message("difference_undefined", metric=metric)
    # Adding 0 turns -0.0 into 0.0, which is written with a plus.
    bounds = (
        message("interval_none")
        if interval is None
        else message("interval", low=round(interval.low, 3) + 0.0, high=round(interval.high, 3) + 0.0)
    )
    value = round(difference.value, 3)
    if not value:
        return message("difference_still", metric=metric, first=difference.first, interval=bounds)
    key = "difference_rose" if value > 0 else "difference_fell"
    return message(key, metric=metric, by=abs(value), first=difference.first, second=difference.second, interval=bounds)


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


POWER = 0.8
"""Probability of seeing a true difference of the requested size with the computed number of images."""


def images_needed(
    worth: float, draws: Resampled, *, rows: tuple[int, int], images: int, seeds: int
) -> SampleSizeNeed | None:
    """Number of test images at which a true difference of `worth` is seen with 80 % power at two-sided 5 %.

    By the normal approximation: worth^2 >= (z_0.975 + z_0.8)^2 (v n_0 / n + u). v is the variance of the difference
    due to the choice of n_0 images, and u that due to the seeds, which more images do not reduce.

    Args:
        worth: the smallest useful difference, in (0, 1).
        draws: resamples of the primary metric.
        rows: of the two arms in `draws`.
        images: n_0, the current number of images.
        seeds: trainings of the smaller arm.

    Returns:
        None where the metric is undefined.

    Raises:
        SettingsError: `worth` is not between 0 and 1.
    """
    if not 0 < worth < 1:
        raise SettingsError(f"worth: found {worth:g}; expected a difference between 0 and 1, as 0.02")
    first, second = rows
    apart = draws.by_images[second] - draws.by_images[first]
    if np.isnan(apart).all() or np.isnan(draws.seed_error[[first, second]]).any():
        return None
    by_images = float(np.nanvar(apart))
    by_seeds = float(draws.seed_error[first] ** 2 + draws.seed_error[second] ** 2)
    tail = (1.0 - CONFIDENCE) / 2.0
    allowed = (worth / float(scipy_stats.norm.ppf(1.0 - tail) + scipy_stats.norm.ppf(POWER))) ** 2
    left = allowed - by_seeds
    if left <= 0:
        return SampleSizeNeed(worth, images, None, seeds, math.floor(seeds * by_seeds / allowed) + 1)
    return SampleSizeNeed(worth, images, max(1, math.ceil(images * by_images / left)), seeds, None)


@dataclass(frozen=True)
class SampleSizeNeed:
    """The sample size needed to see a difference of the primary metric."""

    worth: float
    """The requested difference."""
    images_now: int
    images_needed: int | None
    """Test images of the same mix and grouping; None where more images alone are not enough."""
    seeds_now: int
    """Trainings of the smaller arm."""
    seeds_needed: int | None
    """Where more images are not enough: trainings per arm that would be, with unlimited images."""

    @property
    def sentence(self) -> Message:
        """The need as a sentence."""
        power = 100 * POWER
        if self.images_needed is None:
            return message(
                "sample_seeds", worth=self.worth, power=power, seeds=self.seeds_now, needed=self.seeds_needed
            )
        key = "sample_enough" if self.images_needed <= self.images_now else "sample_needed"
        return message(key, worth=self.worth, power=power, needed=self.images_needed, now=self.images_now)


_FEW_GROUPS = 20


def notes_on(truth: LabelledImages, results: Sequence[ArmResult], groups: int | None) -> tuple[Message, ...]:
    """Caveats of a comparison, each one or two sentences; `groups` is the number of groups of test images."""
    notes = []
    if any(len(result.seeds) == 1 for result in results):
        notes.append(message("note_one_seed"))
    if groups is None:
        notes.append(message("note_no_groups"))
    elif groups < _FEW_GROUPS:
        notes.append(message("note_few_groups", groups=groups))
    defects = int(truth.is_defective.sum())
    if defects < 299:
        notes.append(message("note_few_defects", defects=defects))
    if truth.unnamed_reason is not None:
        notes.append(message("note_multiclass_undefined", reason=truth.unnamed_reason))
    for result in results:
        seeds_of: dict[Message, list[str]] = {}
        for seed, evaluation in zip(result.seeds, result.evaluations, strict=True):
            for warning in evaluation.warnings:
                seeds_of.setdefault(warning, []).append(seed)
        for warning, seeds in seeds_of.items():
            which = "" if len(seeds) == len(result.seeds) else f" ({', '.join(seeds)})"
            notes.append(message("note_of_arm", arm=f"{result.name}{which}", warning=warning))
    return tuple(notes)
