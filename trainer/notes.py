"""What the reader must know before believing a verdict, in words; pure."""

from __future__ import annotations

from collections.abc import Sequence

from .arm_result import ArmResult
from .evaluate import LabelledImages

_FEW_GROUPS = 20


def notes_on(truth: LabelledImages, results: Sequence[ArmResult], groups: int | None) -> tuple[str, ...]:
    """Caveats, each a sentence or two.

    Args:
        truth: labels of the test images.
        results: every arm.
        groups: number of groups the test images fall into; None when unknown.
    """
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
