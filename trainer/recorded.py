"""Finds the trainings at a path, ours or upstream's, with what is known of each besides its curves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.files import read_json

from .errors import DataError
from .evidence import Conditions
from .history import HISTORY_NAME, History, read_history
from .upstream_history import is_upstream, read_label_smoothing, read_upstream_history


@dataclass(frozen=True)
class Recorded:
    """One training as it was recorded."""

    name: str
    """Of its folder."""
    path: Path
    """The results.csv."""
    history: History
    conditions: Conditions
    upstream: bool
    """Written by YOLOv5's own classify/train.py."""


def find_recorded(path: Path) -> list[Recorded]:
    """The training in a results.csv, in a run folder, or in each `seed-*` folder of one, by their numbers.

    Raises:
        DataError: nothing of the kind is there, or a record or config cannot be read.
    """
    if path.is_file():
        return [_read(path)]
    if not path.exists():
        raise DataError(f"{path}: no such folder or file; expected a run of 'trainer train' or its {HISTORY_NAME}")
    if (path / HISTORY_NAME).is_file():
        return [_read(path / HISTORY_NAME)]
    seeds = sorted(path.glob(f"seed-*/{HISTORY_NAME}"), key=_seed_number)
    if not seeds:
        raise DataError(
            f"{path}: neither {HISTORY_NAME} nor seed-* folders with one in it; no training has finished an epoch "
            "here, expected a run of 'trainer train'"
        )
    return [_read(one) for one in seeds]


def _read(path: Path) -> Recorded:
    run = path.parent
    name = run.resolve().name
    if is_upstream(path):
        conditions = Conditions(label_smoothing=read_label_smoothing(run))
        return Recorded(name, path, read_upstream_history(path), conditions, upstream=True)
    config, data = _read_json(run / "config.json"), _read_json(run / "data.json")
    classes = data.get("classes") or list(data.get("train", {}))
    conditions = Conditions(
        classes=len(classes) or None,
        label_smoothing=_number(run / "config.json", config, "label_smoothing"),
        epochs_planned=round(planned) if (planned := _number(run / "config.json", config, "epochs")) else None,
    )
    return Recorded(name, path, read_history(path), conditions, upstream=False)


def _number(path: Path, content: dict[str, Any], name: str) -> float | None:
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{path}: {name} is {value!r}; expected a number, as 'trainer train' writes it")
    return float(value)


def _read_json(path: Path) -> dict[str, Any]:
    """Empty when there is no such file."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON ({error}); remove it to judge the curves alone") from error


def _seed_number(path: Path) -> tuple[int, str]:
    number = re.search(r"\d+$", path.parent.name)
    return (int(number.group()) if number else -1, path.parent.name)
