"""ExperimentResult -> plain data for `experiment.json` and `--json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..comparison_json import arm_result_as_json
from ..messages import metric_names, text
from ..stats import Interval
from .judge import Against, Judgement
from .result import ArmOutcome, ExperimentResult, Separability

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


def _against(one: Against) -> dict[str, Any]:
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
