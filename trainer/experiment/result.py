"""What an experiment found, and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sdcore.messages import Message

from ..evaluation.arms import Arm, ArmResult
from ..evaluation.compare import arm_result_as_json
from ..evaluation.stats import Interval
from ..messages import metric_names, text
from .judge import ArmComparison, Judgement, Kind


@dataclass(frozen=True)
class ClassSeparability:
    """How well generated images of one class are told from real ones."""

    name: str
    auroc: float
    real: int
    generated: int


@dataclass(frozen=True)
class Separability:
    """How well generated images are told from real training images by their texture alone.

    AUROC 0.5: not at all; 1: without fault, so that "was generated" may serve a network as a cue.
    """

    auroc: float | None
    """Mean over classes, weighted by pairs of a real and a generated image; None where it cannot be told."""
    interval: Interval | None
    """95 %, sources random."""
    real: int
    generated: int
    per_class: tuple[ClassSeparability, ...]
    """Classes with enough images of either kind."""
    reason: Message | None
    """Why it cannot be told; None when it can."""


@dataclass(frozen=True)
class CellResult:
    """One training, and where its files lie."""

    arm: str
    seed: int
    fold: int | None
    """None without folds."""
    folder: str
    """Relative to the output folder, forward slashes."""
    steps: int
    """Steps of the optimizer; the same for all cells."""
    best_epoch: int
    val_macro_f1: float
    """Of the best epoch."""
    seconds: float
    """Of training, all epochs."""
    images_per_s: float
    """Median over the epochs, training alone."""
    train: Mapping[str, Mapping[str, int]]
    """Class -> origin ("real", "generated", "classical") -> entries of the training list."""
    fingerprint: str
    """Of all images it read."""
    predictions_sha256: str
    diagnosis: Message
    """What its loss curves say, in one sentence."""


@dataclass(frozen=True, eq=False)
class ArmOutcome:
    """One arm: what it trained on, and what came of it."""

    name: str
    kind: Kind
    controls: str
    """For a classical arm: the generated arm whose count it has. "" otherwise."""
    sets: tuple[str, ...]
    """Folders of generated images it draws from (of a classical arm: those it has the count of)."""
    engines: tuple[str, ...]
    """What made their pixels, in their manifests' words."""
    share: float | None
    """Of the training list, asked for; None: all that is usable, or nothing added."""
    added: Mapping[str, float]
    """Class -> images that joined the real ones, mean over folds; classes without any are not named."""
    real: Mapping[str, float]
    """Class -> real training images, mean over folds."""
    result: ArmResult
    """Rates of every seed with their means; with folds, of predictions pooled over them."""
    arm: Arm
    """Every prediction."""
    separability: Separability | None
    """For a generated arm."""
    defects_only: bool
    """A generated arm without generated Normal images: "generated" may become a cue for "defect"."""
    curated: bool = True
    """Whether it takes only the accepted images of its sets, where those have been curated."""

    @property
    def added_share(self) -> float:
        """Of the training list, as it was."""
        added = sum(self.added.values())
        return added / (added + sum(self.real.values()))


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """The whole experiment."""

    primary: str
    """The metric declared before the first run, a key of `trainer.evaluation.verdict.COMPARED`."""
    normal: str
    images: int
    """Test images, each once over all folds."""
    groups: int | None
    """Number of groups they fall into; None when unknown and each image stands alone."""
    labels: tuple[str, ...]
    """Row names of the confusion matrices."""
    classes: tuple[str, ...]
    """Column names of the confusion matrices."""
    seeds: tuple[int, ...]
    folds: int
    """0: one division into train, val and test."""
    steps: int
    """Steps of the optimizer in every training."""
    images_per_epoch: int
    arms: tuple[ArmOutcome, ...]
    """In the order of the file."""
    judgements: tuple[Judgement, ...]
    """One a generated arm, in the order of `arms`."""
    notes: tuple[Message, ...]
    """What the reader must know before believing the verdicts."""
    cells: tuple[CellResult, ...]
    config: Mapping[str, Any]
    """The experiment file as it was understood, defaults filled in."""
    declared: Mapping[str, Any]
    """What was written down before the first run: `primary`, `at` (UTC), `sha256` of the file's content."""
    revisions: tuple[Mapping[str, Any], ...]
    """Later changes of the file while finished cells were there: `at`, `sha256`, `changed`."""
    data: Mapping[str, Any]
    """Path and fingerprints of the images."""
    environment: Mapping[str, Any]
    resamples: int
    bootstrap_seed: int

    def arm(self, name: str) -> ArmOutcome:
        """The arm of that name."""
        return next(one for one in self.arms if one.name == name)


FORMAT = "sd-defects experiment"
VERSION = 1
EXPERIMENT_NAME = "experiment.json"


def experiment_as_json(result: ExperimentResult) -> dict[str, Any]:
    """Every figure of an experiment; undefined figures are null."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "state": "finished",
        "declared": dict(result.declared),
        "revisions": [dict(one) for one in result.revisions],
        "config": dict(result.config),
        "primary": result.primary,
        "primary_name": metric_names(result.primary)[0],
        "verdicts": {
            one.arm: {"word": one.word, "provisional": one.provisional, "sentence": text(one.sentence)}
            for one in result.judgements
        },
        "judgements": {one.arm: _judgement(one) for one in result.judgements},
        "arms": {one.name: _arm(one) for one in result.arms},
        "images": result.images,
        "groups": result.groups,
        "normal": result.normal,
        "labels": list(result.labels),
        "classes": list(result.classes),
        "seeds": list(result.seeds),
        "folds": result.folds,
        "steps": result.steps,
        "images_per_epoch": result.images_per_epoch,
        "notes": [text(note) for note in result.notes],
        "cells": [asdict(one) | {"diagnosis": text(one.diagnosis)} for one in result.cells],
        "data": dict(result.data),
        "environment": dict(result.environment),
        "bootstrap": {"resamples": result.resamples, "seed": result.bootstrap_seed},
    }


def _arm(one: ArmOutcome) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "controls": one.controls or None,
        "sets": list(one.sets),
        "curated": one.curated,
        "engines": list(one.engines),
        "share_asked": one.share,
        "share": one.added_share,
        "real": dict(one.real),
        "added": dict(one.added),
        "defects_only": one.defects_only,
        "real_or_generated": _separability(one.separability) if one.separability else None,
        **arm_result_as_json(one.result),
    }


def _judgement(one: Judgement) -> dict[str, Any]:
    return {
        "word": one.word,
        "provisional": one.provisional,
        "sentence": text(one.sentence),
        "against_baseline": _against(one.baseline),
        "against_control": _against(one.control),
        "against_oversampling": [_against(other) for other in one.oversampling],
    }


def _against(one: ArmComparison) -> dict[str, Any]:
    return {
        "other": one.other,
        "kind": one.kind,
        "differences": {
            each.metric: {"first": each.first, "second": each.second, "value": each.value, **_bounds(each.interval)}
            for each in one.differences
        },
        "p_value": one.p_value,
        "p_holm": one.p_holm,
        "better": one.better,
        "worse": one.worse,
    }


def _separability(one: Separability) -> dict[str, Any]:
    return {
        "auroc": one.auroc,
        **_bounds(one.interval),
        "real": one.real,
        "generated": one.generated,
        "per_class": {each.name: asdict(each) for each in one.per_class},
        "reason": text(one.reason) if one.reason else None,
    }


def _bounds(interval: Interval | None) -> dict[str, float | None]:
    return {"low": interval.low if interval else None, "high": interval.high if interval else None}
