"""Arms judged on the same test images -> Comparison; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdcore.messages import Message

from . import metrics
from .alignment import align, number_groups
from .arm_result import ArmResult, sum_up
from .arms import Arm
from .confusions import compared_statistics, confusion_by_group, recall_statistics
from .contrast import Contrast, Side, contrast_of
from .evaluate import ABNORMAL, NORMAL, evaluate, label_images
from .notes import notes_on
from .predictions import Predictions
from .stats import RESAMPLES, bootstrap_arms
from .verdict import Verdict, give_verdict


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
    notes: tuple[Message, ...]
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
        SettingsError: `worth` is out of range.
        EvaluationError: test images, labels or classes differ between arms, or do not fit `normal`.
    """
    arms = [arm for arm in (baseline, candidate, control) if arm is not None]
    reference = arms[0].seeds[0].predictions
    sets = [[align(one.predictions, reference, arms[0].name, arm.name) for one in arm.seeds] for arm in arms]
    labelled = [[label_images(one, normal=normal, abnormal=abnormal) for one in predictions] for predictions in sets]
    truth = labelled[0][0]
    group_of, groups = number_groups(arms, reference)
    counts = [np.stack([confusion_by_group(one, group_of) for one in seeds]) for seeds in labelled]
    results = [
        sum_up(arm, [evaluate(one, normal=normal, abnormal=abnormal) for one in predictions], table)
        for arm, predictions, table in zip(arms, sets, counts, strict=True)
    ]
    statistics, recalls = compared_statistics(truth), recall_statistics(truth)
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
        notes=notes_on(truth, results, groups),
        resamples=resamples,
        bootstrap_seed=seed,
    )


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
