"""Runs, generated folders and test images on disk -> ReportInputs."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from ..arms import TEST_FOLDER, Arm
from ..compare import Comparison
from ..errors import DataError
from ..history import HISTORY_NAME, read_history
from .html import MOST_FLIPS
from .inputs import ArmFacts, ClassCount, Curve, ReportInputs
from .samples import collect_generated_set, embed_image

_SOFTWARE = ("sd-defects", "torch", "torchvision", "yolov5", "numpy", "scipy", "pillow")


def collect_inputs(
    comparison: Comparison,
    arms: Sequence[Arm],
    data: Path | None,
    *,
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> ReportInputs:
    """Gather what a report shows; what is not on disk any more is left out, with words where it is missed.

    Args:
        comparison: of `arms`.
        arms: baseline, candidate and, where there is one, control.
        data: the DATA folder, for thumbnails of test images; None when there is none.
        commands: lines that make this report again.
        notes: caveats of the user's own, as that the images are drawn.

    Raises:
        DataError: a run's config.json, data.json or results.csv is damaged.
    """
    summaries = [_read_json(_first_run(arm), "data.json") for arm in arms]
    sets: dict[str, Mapping[str, Any]] = {}
    for summary in summaries:
        for one in summary.get("generated_sets", []):
            sets.setdefault(str(one["path"]), one)
    flips = [*comparison.gained[:MOST_FLIPS], *comparison.lost[:MOST_FLIPS]]
    thumbnails = {}
    if data is not None:
        for flip in flips:
            uri = embed_image(data / TEST_FOLDER / flip.image)
            if uri is not None:
                thumbnails[flip.image] = uri
    return ReportInputs(
        comparison=comparison,
        arms=tuple(_facts(arm, summary) for arm, summary in zip(arms, summaries, strict=True)),
        generated_sets=tuple(collect_generated_set(one) for one in sets.values()),
        flip_thumbnails=thumbnails,
        versions=_versions(),
        commands=tuple(commands),
        notes=tuple(notes),
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _facts(arm: Arm, summary: Mapping[str, Any]) -> ArmFacts:
    runs = [(one.seed, one.run) for one in arm.seeds if one.run is not None]
    curves = []
    for seed, run in runs:
        if (run / HISTORY_NAME).is_file():
            epochs = read_history(run).epochs
            curves.append(
                Curve(
                    seed=seed,
                    epochs=tuple(one.epoch for one in epochs),
                    train_loss=tuple(one.train_loss for one in epochs),
                    val_loss=tuple(one.val_loss for one in epochs),
                )
            )
    engines = [part for one in summary.get("generated_sets", []) for part in str(one["engine"]).split("; ")]
    return ArmFacts(
        name=arm.name,
        counts=tuple(
            ClassCount(
                class_name,
                real=int(counts.get("real", 0)),
                generated=int(counts.get("generated", 0)),
                repeated=int(counts.get("repeated", 0)),
            )
            for class_name, counts in summary.get("train", {}).items()
        ),
        engines=tuple(dict.fromkeys(engines)),
        settings=_merge([_read_settings(run) for _, run in runs]),
        curves=tuple(curves),
    )


def _read_settings(run: Path) -> dict[str, str]:
    """What was asked for, and what it was made with."""
    return {
        **dict(_flatten(_read_json(run, "config.json"))),
        **dict(_flatten(_read_json(run, "environment.json"), "environment.")),
    }


def _first_run(arm: Arm) -> Path | None:
    return arm.seeds[0].run


def _read_json(run: Path | None, name: str) -> dict[str, Any]:
    """The content of a run's JSON file; empty when there is none."""
    if run is None or not (run / name).is_file():
        return {}
    try:
        content = json.loads((run / name).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{run / name}: not readable as JSON: {error}; train into a new folder") from error
    if not isinstance(content, dict):
        raise DataError(f"{run / name}: found {type(content).__name__}; expected a JSON object")
    return content


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)


def _merge(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """One value a name; where the seeds of an arm differ, all of their values."""
    names = dict.fromkeys(name for one in settings for name in one)
    return {name: ", ".join(dict.fromkeys(one.get(name, "") for one in settings)) for name in names}


def _versions() -> dict[str, str]:
    installed = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return {
        "Python": platform.python_version(),
        **{name: installed[name] for name in _SOFTWARE if name in installed},
    }
