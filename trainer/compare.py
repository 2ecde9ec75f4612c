"""Arms judged on the same test images -> Comparison; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import metrics
from .alignment import align, number_groups
from .arm_result import ArmResult, sum_up
from .arms import Arm
from .contrast import Contrast, Side, contrast_of
from .evaluate import ABNORMAL, NORMAL, LabelledImages, evaluate, label_images
from .metrics import FloatArray, IntArray
from .predictions import Predictions
from .stats import RESAMPLES, Statistic, bootstrap_arms
from .verdict import Verdict, give_verdict

MACRO_F1 = "macro_f1"
_FEW_GROUPS = 20


@dataclass(frozen=True)
class Flip:
    """An image that most trainings of one arm judge rightly and most of the other wrongly."""

    image: str
    label: str
    first_right: float
    """Share of the first arm's trainings that judge it rightly (Normal/Abnormal)."""
    second_right: float
    first_predicted: str
    """What most trainings of the first arm called it; of equally many names the earlier training's."""
    second_predicted: str
    """Likewise of the second arm."""


@dataclass(frozen=True)
class Comparison:
    """The answer to "did it help?", with everything it rests on."""

    images: int
    groups: int | None
    """Number of groups the test images fall into; None when unknown and each image stands alone."""
    normal: str
    labels: tuple[str, ...]
    """Row names of the confusion matrices."""
    classes: tuple[str, ...]
    """Column names of the confusion matrices."""
    baseline: ArmResult
    candidate: ArmResult
    control: ArmResult | None
    against_baseline: Contrast
    against_control: Contrast | None
    gained: tuple[Flip, ...]
    """Wrong in the baseline, right in the candidate."""
    lost: tuple[Flip, ...]
    verdict: Verdict
    notes: tuple[str, ...]
    """What the reader must know before believing the verdict."""
    resamples: int
    bootstrap_seed: int

    @property
    def arms(self) -> tuple[ArmResult, ...]:
        """Baseline, candidate and, where given, control."""
        return (self.baseline, self.candidate, *((self.control,) if self.control else ()))


def compare(
    baseline: Arm,
    candidate: Arm,
    control: Arm | None = None,
    *,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    worth: float | None = None,
) -> Comparison:
    """Compare the candidate with the baseline, and with the control where given, image by image.

    Args:
        baseline: the arm without the change in question.
        candidate: the arm with it.
        control: an arm with as many images out of classical augmentation.
        normal: the class without defects.
        abnormal: the label of defects whose kind is not said.
        resamples: bootstrap draws.
        seed: of the bootstrap.
        worth: the smallest difference of the primary metric worth having, in (0, 1); adds what it would take to
            see it.

    Raises:
        ConfigError: `worth` is out of range.
        EvaluationError: test images, labels or classes differ between arms, or do not fit `normal`.
    """
    arms = [arm for arm in (baseline, candidate, control) if arm is not None]
    reference = arms[0].seeds[0].predictions
    sets = [[align(one.predictions, reference, arms[0].name, arm.name) for one in arm.seeds] for arm in arms]
    labelled = [[label_images(one, normal=normal, abnormal=abnormal) for one in predictions] for predictions in sets]
    truth = labelled[0][0]
    group_of, groups = number_groups(arms, reference)
    counts = [np.stack([_confusion_by_group(one, group_of) for one in seeds]) for seeds in labelled]
    results = [
        sum_up(arm, [evaluate(one, normal=normal, abnormal=abnormal) for one in predictions], table)
        for arm, predictions, table in zip(arms, sets, counts, strict=True)
    ]
    statistics, recalls = _statistics(truth), _recalls(truth)
    draws = bootstrap_arms(counts, {**statistics, **recalls}, resamples=resamples, seed=seed)
    right = [np.stack([one.is_defective == one.judged_defective for one in seeds]) for seeds in labelled]
    sides = [Side(*parts, row=row) for row, parts in enumerate(zip(arms, counts, right, strict=True))]
    contrasts = [
        contrast_of(sides[first], sides[1], statistics, recalls, draws, worth=worth)
        for first in ([0, 2] if control is not None else [0])
    ]
    gained, lost = _flips(sets, right)
    return Comparison(
        images=len(reference.images),
        groups=groups,
        normal=normal,
        labels=truth.names,
        classes=truth.classes,
        baseline=results[0],
        candidate=results[1],
        control=results[2] if control is not None else None,
        against_baseline=contrasts[0],
        against_control=contrasts[1] if control is not None else None,
        gained=gained,
        lost=lost,
        verdict=give_verdict(
            images=len(reference.images),
            names=[result.name for result in results],
            seeds=[len(result.seeds) for result in results],
            against_baseline=contrasts[0].differences,
            against_control=contrasts[1].differences if control is not None else None,
        ),
        notes=_notes(truth, results, groups),
        resamples=resamples,
        bootstrap_seed=seed,
    )


def _confusion_by_group(labelled: LabelledImages, group_of: IntArray) -> FloatArray:
    """(G, L, K) counts."""
    rows, columns = len(labelled.names), len(labelled.classes)
    groups = int(group_of.max()) + 1
    cell = (group_of * rows + labelled.true) * columns + labelled.predicted
    counted = np.bincount(cell, minlength=groups * rows * columns)
    return counted.reshape(groups, rows, columns).astype(np.float64)


def _statistics(truth: LabelledImages) -> dict[str, Statistic]:
    """What is resampled, each a function of an (..., L, K) confusion; macro-F1 only where names are known."""
    normal, size = truth.normal, len(truth.classes)
    named: dict[str, Statistic] = {MACRO_F1: lambda table: metrics.macro_f1_of_confusion(table[..., :size, :])}
    return {
        **(named if truth.named else {}),
        **{key: _binary_statistic(key, normal) for key in ("accuracy", "miss_rate", "overkill_rate")},
    }


def _recalls(truth: LabelledImages) -> dict[str, Statistic]:
    """The recall of every class, where names are known."""
    size = len(truth.classes) if truth.named else 0
    return {f"recall {truth.classes[k]}": _recall_statistic(k) for k in range(size)}


def _recall_statistic(k: int) -> Statistic:
    return lambda table: metrics.recall_of_confusion(table, k)


def _binary_statistic(key: str, normal: int) -> Statistic:
    return lambda table: metrics.binary_rate_of_confusion(table, key, normal=normal)


def _flips(
    sets: Sequence[Sequence[Predictions]], right: Sequence[metrics.BoolArray]
) -> tuple[tuple[Flip, ...], tuple[Flip, ...]]:
    first, second = right[0].mean(axis=0), right[1].mean(axis=0)
    reference = sets[0][0]
    flips = [
        Flip(
            image=image,
            label=reference.labels[n],
            first_right=float(first[n]),
            second_right=float(second[n]),
            first_predicted=_most_common(sets[0], n),
            second_predicted=_most_common(sets[1], n),
        )
        for n, image in enumerate(reference.images)
    ]
    gained = [flip for flip in flips if flip.first_right < 0.5 < flip.second_right]
    lost = [flip for flip in flips if flip.second_right < 0.5 < flip.first_right]
    return tuple(gained), tuple(lost)


def _most_common(seeds: Sequence[Predictions], image: int) -> str:
    return Counter(one.predicted[image] for one in seeds).most_common(1)[0][0]


def _notes(truth: LabelledImages, results: Sequence[ArmResult], groups: int | None) -> tuple[str, ...]:
    notes = []
    if any(len(result.seeds) == 1 for result in results):
        notes.append(
            "Seed variance is not covered: an arm has one training only, so the intervals speak for these trained "
            "models, not for the way of training. Train with --seed 0 --seed 1 ... --seed 4 to know."
        )
    if groups is None:
        notes.append(
            "No two test images share a known group, so each was taken as independent; if several were cut from one "
            "board or photograph, the intervals are too narrow."
        )
    elif groups < _FEW_GROUPS:
        notes.append(f"The test images fall into {groups} groups only; intervals from so few are rough.")
    defects = int(truth.is_defective.sum())
    if defects < 299:
        notes.append(
            f"The test set holds {defects} defects. Even with no miss at all, fewer than 299 cannot prove a miss "
            "rate under 1 % (one-sided 95 %)."
        )
    if truth.unnamed_reason:
        notes.append(f"Multi-class rates are undefined: {truth.unnamed_reason}.")
    for result in results:
        seeds_of: dict[str, list[str]] = {}
        for seed, evaluation in zip(result.seeds, result.evaluations, strict=True):
            for words in evaluation.warnings:
                seeds_of.setdefault(words, []).append(seed)
        for words, seeds in seeds_of.items():
            which = "" if len(seeds) == len(result.seeds) else f" ({', '.join(seeds)})"
            notes.append(f"{result.name}{which}: {words}.")
    return tuple(notes)
