"""Names of the files in a run folder, its settings, and which runs a folder holds. Loads no torch."""

from pathlib import Path

from sdcore.files import read_json_or_none
from sdcore.images.folders import natural_key

from .config import TrainConfig, make_config
from .errors import EvaluationError

BEST_NAME = "best.pt"
LAST_NAME = "last.pt"
RESUME_NAME = "resume.pt"
"""Exists while a training is unfinished."""
CONFIG_NAME = "config.json"
DATA_NAME = "data.json"
ENVIRONMENT_NAME = "environment.json"
EVENTS_FOLDER = "tensorboard"
NEAR_NAME = "near_duplicates.html"


def read_config(run: Path) -> TrainConfig:
    """The settings that a run was started with, with every "auto" resolved.

    Raises:
        SettingsError: `config.json` is missing or was changed.
    """
    return make_config(**(read_json_or_none(run / CONFIG_NAME) or {}))


def find_runs(path: Path) -> list[Path]:
    """The runs at `path`: the folder itself, or its `seed-*` folders by number.

    Raises:
        EvaluationError: there are none, or a training is unfinished.
    """
    if (path / BEST_NAME).is_file():
        _refuse_unfinished(path)
        return [path]
    seeds = sorted(
        (folder for folder in path.glob("seed-*") if folder.is_dir()), key=lambda folder: natural_key(folder.name)
    )
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
