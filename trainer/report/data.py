"""ReportInputs -> the JSON block inside the report; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..comparison_json import comparison_as_json
from ..messages import text
from ..metrics import Rate
from .inputs import ArmFacts, ClassCount, GeneratedSet, ReportInputs, SeedDiagnosis, sum_counts
from .operating import OperatingCurve
from .worst import WorstMistakes


def report_data(inputs: ReportInputs) -> dict[str, Any]:
    """What the report's JSON block holds: the comparison and the balance of training images."""
    return {
        "comparison": comparison_as_json(inputs.comparison),
        **training_as_json(inputs.arms),
        "generated_sets": [generated_set_as_json(one) for one in inputs.generated_sets],
        "worst": worst_as_json(inputs.worst) if inputs.worst else None,
        "versions": dict(inputs.versions),
        "commands": list(inputs.commands),
        "notes": list(inputs.notes),
        "made_at": inputs.made_at,
    }


def training_as_json(arms: Sequence[ArmFacts]) -> dict[str, Any]:
    """How each arm was trained, and what its cuts do, by the arm's name."""
    return {
        "balance": {
            arm.name: {
                "classes": {one.class_name: _count_as_json(one) for one in arm.counts},
                "all": _count_as_json(sum_counts(arm.counts)),
            }
            for arm in arms
        },
        "settings": {arm.name: dict(arm.settings) for arm in arms},
        "curves": {arm.name: [asdict(curve) for curve in arm.curves] for arm in arms},
        "diagnoses": {arm.name: [_diagnosis_as_json(one) for one in arm.diagnoses] for arm in arms},
        "operating": {arm.name: [_operating_as_json(one) for one in arm.operating] for arm in arms},
    }


def generated_set_as_json(one: GeneratedSet) -> dict[str, Any]:
    """A folder of generated images: engine, model, parameters, and the samples shown without their pixels."""
    return {
        "folder": one.folder,
        "images": one.images,
        "recorded": one.recorded,
        "engines": list(one.engines),
        "models": list(one.models),
        "parameters": dict(one.parameters),
        "missing": text(one.missing) if one.missing else "",
        "samples": [
            {
                "class": sample.class_name,
                "source": sample.source_name,
                "made": [
                    {"file": made.file, "strength": made.strength, "seed": made.seed} for made in sample.generated
                ],
            }
            for sample in one.samples
        ],
    }


def worst_as_json(worst: WorstMistakes) -> dict[str, Any]:
    """Every image that most trainings of an arm judge wrongly, the surest first."""
    return asdict(worst)


def _diagnosis_as_json(one: SeedDiagnosis) -> dict[str, Any]:
    return {
        "seed": one.seed,
        "kind": one.kind,
        "line": text(one.line),
        "advice": [text(each) for each in one.advice],
    }


def _operating_as_json(one: OperatingCurve) -> dict[str, Any]:
    chosen = one.chosen
    return {
        "seed": one.seed,
        "curve": {"overkill_rate": list(one.overkill_rate), "miss_rate": list(one.miss_rate)},
        "chosen": None
        if chosen is None
        else {
            "cut": chosen.cut,
            "promised": chosen.promised,
            "miss_rate": _rate_as_json(chosen.miss_rate),
            "overkill_rate": _rate_as_json(chosen.overkill_rate),
        },
    }


def _rate_as_json(rate: Rate) -> dict[str, Any]:
    return {"value": rate.value, "count": rate.count, "of": rate.of}


def _count_as_json(one: ClassCount) -> dict[str, Any]:
    return {
        "real": one.real,
        "generated": one.generated,
        "repeated": one.repeated,
        "total": one.total,
        "generated_share": one.generated_share,
    }
