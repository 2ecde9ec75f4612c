"""The result of an experiment, and its JSON."""

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
    """How well the generated images of one class can be distinguished from real ones."""

    name: str
    auroc: float
    real: int
    generated: int


@dataclass(frozen=True)
class Separability:
    """How well generated images can be distinguished from real training images by texture alone.

    AUROC 0.5: not at all; 1: always, so a network could learn "was generated" as a cue.
    """

    auroc: float | None
    """Mean over classes, weighted by the number of pairs of a real and a generated image; None if undefined."""
    interval: Interval | None
    """95 %, over resampled sources."""
    real: int
    generated: int
    per_class: tuple[ClassSeparability, ...]
    """Classes with enough images of both kinds."""
    reason: Message | None
    """Why the AUROC is undefined; None if it is defined."""


@dataclass(frozen=True)
class CellResult:
    """One training and the place of its files."""

    arm: str
    seed: int
    fold: int | None
    """None without folds."""
    folder: str
    """Relative to the output folder, with forward slashes."""
    steps: int
    """Optimizer steps; equal in all cells."""
    best_epoch: int
    val_macro_f1: float
    """At the best epoch."""
    seconds: float
    """Training time of all epochs."""
    images_per_s: float
    """Training speed alone, median over the epochs."""
    train: Mapping[str, Mapping[str, int]]
    """Class -> origin ("real", "generated", "classical") -> entries in the training list."""
    fingerprint: str
    """Hash over all images that the training read."""
    predictions_sha256: str
    diagnosis: Message
    """What the loss curves show, in one sentence."""


@dataclass(frozen=True, eq=False)
class ArmOutcome:
    """One arm: its training images and its results."""

    name: str
    kind: Kind
    controls: str
    """Of a classical arm: the generated arm whose number of images it copies; "" for other kinds."""
    sets: tuple[str, ...]
    """Folders of generated images that the arm, or the arm it controls, takes images from."""
    engines: tuple[str, ...]
    """What generated their pixels, as written in their manifests."""
    share: float | None
    """Requested share of generated images in the training list; None: all usable images, or nothing added."""
    added: Mapping[str, float]
    """Class -> images added to the real ones, mean over folds; a class without added images has no entry."""
    real: Mapping[str, float]
    """Class -> real training images, mean over folds."""
    result: ArmResult
    """Rates of every seed and their means; with folds, from the predictions pooled over the folds."""
    arm: Arm
    """Every prediction."""
    separability: Separability | None
    """None for an arm to which no images were added."""
    defects_only: bool
    """A generated arm without generated Normal images: "generated" may become a cue for "defect"."""
    curated: bool = True
    """Whether only the accepted images of curated sets are used."""

    @property
    def added_share(self) -> float:
        """Share of added images in the actual training list."""
        added = sum(self.added.values())
        return added / (added + sum(self.real.values()))


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """The whole experiment."""

    primary: str
    """The metric declared before the first run, a key of `trainer.evaluation.verdict.COMPARED`."""
    normal: str
    images: int
    """Test images, each counted once over all folds."""
    groups: int | None
    """Number of groups of test images; None if unknown: then each image is its own group."""
    labels: tuple[str, ...]
    """Row names of the confusion matrices."""
    classes: tuple[str, ...]
    """Column names of the confusion matrices."""
    seeds: tuple[int, ...]
    folds: int
    """0: one division into train, val and test."""
    steps: int
    """Optimizer steps in every training."""
    images_per_epoch: int
    arms: tuple[ArmOutcome, ...]
    """In the order of the file."""
    judgements: tuple[Judgement, ...]
    """One per generated arm, in the order of `arms`."""
    notes: tuple[Message, ...]
    """What the reader must know before trusting the verdicts."""
    cells: tuple[CellResult, ...]
    config: Mapping[str, Any]
    """The settings of the experiment file, with defaults."""
    declared: Mapping[str, Any]
    """The declaration before the first run: `primary`, `at` (UTC) and `sha256` of the settings."""
    revisions: tuple[Mapping[str, Any], ...]
    """Changes of the file made after cells had finished: `at`, `sha256`, `changed`."""
    data: Mapping[str, Any]
    """Path and fingerprints of the images."""
    environment: Mapping[str, Any]
    resamples: int
    bootstrap_seed: int

    def arm(self, name: str) -> ArmOutcome:
        """Find an arm by its name."""
        return next(one for one in self.arms if one.name == name)


FORMAT = "sd-defects experiment"
VERSION = 1
EXPERIMENT_NAME = "experiment.json"


def experiment_as_json(result: ExperimentResult) -> dict[str, Any]:
    """Every number of an experiment; undefined numbers are null."""
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
