"""Names of the files of a run, and reading them; no torch."""

from __future__ import annotations

import re
from pathlib import Path

from sdcore.files import read_json_or_none

from .config import TrainConfig, make_config
from .errors import EvaluationError

BEST_NAME = "best.pt"
LAST_NAME = "last.pt"
RESUME_NAME = "resume.pt"
"""There while a training is unfinished."""


CONFIG_NAME = "config.json"
DATA_NAME = "data.json"
ENVIRONMENT_NAME = "environment.json"


def read_config(run: Path) -> TrainConfig:
    """The settings a run was started with, every "auto" resolved.

    Raises:
        SettingsError: `config.json` is missing or was changed.
    """
    return make_config(**(read_json_or_none(run / CONFIG_NAME) or {}))


def find_runs(path: Path) -> list[Path]:
    """The runs at `path`: itself, or its `seed-*` folders in the order of their numbers.

    Raises:
        EvaluationError: neither is there, or a training is unfinished.
    """
    if (path / BEST_NAME).is_file():
        _refuse_unfinished(path)
        return [path]
    seeds = sorted((folder for folder in path.glob("seed-*") if folder.is_dir()), key=_natural_key)
    for seed in seeds:
        if not (seed / BEST_NAME).is_file():
            raise EvaluationError(
                f"{seed}: no {BEST_NAME} here, so this training has not finished an epoch; "
                "run the same 'trainer train' again, or remove the folder"
            )
        _refuse_unfinished(seed)
    if not seeds:
        raise EvaluationError(
            f"{path}: neither a run ({BEST_NAME}), nor a folder of seed-* runs, nor a predictions file; "
            "make one with 'trainer train' or 'trainer predict'"
        )
    return seeds


def _refuse_unfinished(run: Path) -> None:
    if (run / RESUME_NAME).is_file():
        raise EvaluationError(
            f"{run}: this training was interrupted, so its best epoch may be yet to come; run the same 'trainer train' "
            "again to finish it"
        )


def _natural_key(path: Path) -> tuple[int, str]:
    number = re.search(r"\d+$", path.name)
    return (int(number.group()) if number else -1, path.name)


EVENTS_FOLDER = "tensorboard"


NEAR_NAME = "near_duplicates.html"
