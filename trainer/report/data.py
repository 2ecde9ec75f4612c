"""ReportInputs -> the JSON block inside the report; pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..comparison_json import comparison_as_json
from .inputs import ClassCount, ReportInputs, sum_counts


def report_data(inputs: ReportInputs) -> dict[str, Any]:
    """What the report's JSON block holds: the comparison and the balance of training images."""
    return {
        "comparison": comparison_as_json(inputs.comparison),
        "balance": {
            arm.name: {
                "classes": {one.class_name: _count_as_json(one) for one in arm.counts},
                "all": _count_as_json(sum_counts(arm.counts)),
            }
            for arm in inputs.arms
        },
        "generated_sets": [
            {"folder": one.folder, "images": one.images, "engines": list(one.engines)} for one in inputs.generated_sets
        ],
        "versions": dict(inputs.versions),
        "settings": {arm.name: dict(arm.settings) for arm in inputs.arms},
        "curves": {arm.name: [asdict(curve) for curve in arm.curves] for arm in inputs.arms},
        "commands": list(inputs.commands),
        "notes": list(inputs.notes),
        "made_at": inputs.made_at,
    }


def _count_as_json(one: ClassCount) -> dict[str, Any]:
    return {
        "real": one.real,
        "generated": one.generated,
        "repeated": one.repeated,
        "total": one.total,
        "generated_share": one.generated_share,
    }
