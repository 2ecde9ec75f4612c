"""What the reader must know before believing a verdict, as messages; pure."""

from __future__ import annotations

from collections.abc import Sequence

from sdcore.messages import Message, message

from .arm_result import ArmResult
from .evaluate import LabelledImages

_FEW_GROUPS = 20


def notes_on(truth: LabelledImages, results: Sequence[ArmResult], groups: int | None) -> tuple[Message, ...]:
    """Caveats, each a sentence or two.

    Args:
        truth: labels of the test images.
        results: every arm.
        groups: number of groups the test images fall into; None when unknown.
    """
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
