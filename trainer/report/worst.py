"""Predictions of an arm -> the mistakes it is surest of; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..alignment import align
from ..arms import Arm
from ..evaluate import ABNORMAL, NORMAL, defect_scores, label_images
from ..metrics import BoolArray

MOST_WORST = 12
"""Mistakes shown of each kind; the count is always of all."""


@dataclass(frozen=True)
class Mistake:
    """An image that most trainings of an arm judge wrongly, Normal/Abnormal."""

    image: str
    label: str
    predicted: str
    """What most of those that judge it wrongly called it; of equally many names the earlier training's."""
    sureness: float
    """What they gave the wrong judgement, on average: p(Normal) of a miss, 1 - p(Normal) of overkill."""


@dataclass(frozen=True)
class WorstMistakes:
    """The mistakes of an arm, the surest first."""

    arm: str
    misses: tuple[Mistake, ...] = ()
    """Defects that pass."""
    overkill: tuple[Mistake, ...] = ()
    """Good images called defective."""


def worst_mistakes(arm: Arm, *, normal: str = NORMAL, abnormal: str | None = ABNORMAL) -> WorstMistakes:
    """Find what an arm does worst; equally sure mistakes stand in the order of their images.

    Args:
        arm: every training with labels, of the same images.
        normal: the class without a defect.
        abnormal: the label of defects without a name.

    Raises:
        EvaluationError: the trainings judged different images.
    """
    reference = arm.seeds[0].predictions
    seeds = [align(one.predictions, reference, arm.name, arm.name) for one in arm.seeds]
    labelled = [label_images(one, normal=normal, abnormal=abnormal) for one in seeds]
    is_defective = labelled[0].is_defective
    wrongly = np.stack([one.judged_defective != is_defective for one in labelled])
    wrong = wrongly.mean(axis=0) > 0.5
    score = np.stack([defect_scores(one, labelled[0].normal) for one in seeds]).mean(axis=0)

    def ordered(chosen: BoolArray, sureness: Sequence[float]) -> tuple[Mistake, ...]:
        found = [
            Mistake(
                reference.images[n],
                reference.labels[n],
                _most_common([one.predicted[n] for one, is_wrong in zip(seeds, wrongly, strict=True) if is_wrong[n]]),
                float(sureness[n]),
            )
            for n in np.flatnonzero(chosen).tolist()
        ]
        return tuple(sorted(found, key=lambda one: (-one.sureness, one.image)))

    return WorstMistakes(
        arm.name,
        ordered(wrong & is_defective, (1.0 - score).tolist()),
        ordered(wrong & ~is_defective, score.tolist()),
    )


def _most_common(names: Sequence[str]) -> str:
    return Counter(names).most_common(1)[0][0]
