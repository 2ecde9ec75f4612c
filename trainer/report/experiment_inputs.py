"""An experiment's result and what lies on disk -> ExperimentInputs, all that its report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..experiment.as_json import experiment_as_json
from ..experiment.result import ArmOutcome, CellResult, ExperimentResult
from .collect import embed_test_images, read_curves, software_versions
from .data import generated_set_as_json, training_as_json, worst_as_json
from .inputs import ArmFacts, GeneratedSet, SeedDiagnosis, stand_ins
from .operating import operating_curve
from .samples import collect_generated_set
from .worst import WorstMistakes, worst_mistakes

MOST_WORST = 8
"""Mistakes shown of each kind for each generated arm."""


@dataclass(frozen=True, eq=False)
class ExperimentInputs:
    """All the report of an experiment needs."""

    result: ExperimentResult
    arms: tuple[ArmFacts, ...]
    """In the order of `result.arms`: curves, diagnoses and operating curves."""
    generated_sets: tuple[GeneratedSet, ...] = ()
    worst: tuple[WorstMistakes, ...] = ()
    """One a generated arm."""
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    """Test image -> data URI, of those that are shown."""
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """The user's own caveats."""
    made_at: str = ""

    @property
    def stand_in_engines(self) -> tuple[str, ...]:
        """ReportWords of every engine that was not Stable Diffusion, each once."""
        return stand_ins([*(arm.engines for arm in self.result.arms), *(one.engines for one in self.generated_sets)])


def collect_experiment(
    result: ExperimentResult,
    *,
    output: Path,
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> ExperimentInputs:
    """Gather what a report shows; what is not on disk any more is left out, with words where it is missed.

    Args:
        result: of the experiment.
        output: the folder that the cells' folders are relative to.
        commands: lines that make this report again.
        notes: caveats of the user's own.

    Raises:
        DataError: a cell's results.csv, config.json or data.json is damaged.
    """
    abnormal = str(result.config.get("abnormal", "Abnormal"))
    worst = tuple(
        worst_mistakes(one.arm, normal=result.normal, abnormal=abnormal)
        for one in result.arms
        if one.kind == "generated"
    )
    shown = [one.image for arm in worst for kind in (arm.misses, arm.overkill) for one in kind[:MOST_WORST]]
    data = Path(str(result.data["path"])) if "path" in result.data and not result.folds else None
    return ExperimentInputs(
        result=result,
        arms=tuple(_facts(one, result, output, abnormal) for one in result.arms),
        generated_sets=tuple(collect_generated_set(one) for one in result.data.get("sets", ())),
        worst=worst,
        thumbnails=embed_test_images(shown, data),
        versions=software_versions(),
        commands=tuple(commands),
        notes=tuple(notes),
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _facts(one: ArmOutcome, result: ExperimentResult, output: Path, abnormal: str) -> ArmFacts:
    cells = [cell for cell in result.cells if cell.arm == one.name]
    recorded = [found for cell in cells if (found := read_curves(cell_name(cell), output / cell.folder)) is not None]
    return ArmFacts(
        name=one.name,
        engines=one.engines,
        curves=tuple(curve for curve, _ in recorded),
        diagnoses=tuple(SeedDiagnosis(cell_name(cell), "", cell.diagnosis) for cell in cells),
        operating=tuple(
            operating_curve(seed.seed, seed.predictions, normal=result.normal, abnormal=abnormal)
            for seed in one.arm.seeds
        ),
    )


def cell_name(cell: CellResult) -> str:
    """Which training of its arm a cell is."""
    return f"seed-{cell.seed}" if cell.fold is None else f"seed-{cell.seed} fold-{cell.fold}"


def experiment_data(inputs: ExperimentInputs) -> dict[str, Any]:
    """What the report's JSON block holds."""
    training = training_as_json(inputs.arms)
    return {
        "experiment": experiment_as_json(inputs.result),
        **{key: training[key] for key in ("curves", "operating")},
        "generated_sets": [generated_set_as_json(one) for one in inputs.generated_sets],
        "worst": [worst_as_json(one) for one in inputs.worst],
        "versions": dict(inputs.versions),
        "commands": list(inputs.commands),
        "notes": list(inputs.notes),
        "made_at": inputs.made_at,
    }
