"""What was declared, and how far each cell is."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.files import read_json, read_json_or_none, sha256_of, write_json
from sdcore.messages import Message, message

from ..config import TrainConfig, TrainingJob
from ..errors import SettingsError
from .config import ExperimentConfig
from .result import EXPERIMENT_NAME, FORMAT, VERSION


@dataclass(frozen=True)
class Declaration:
    """The metric declared, and whether the file was changed since."""

    declared: dict[str, Any]
    """`primary`, `at` (UTC, ISO 8601) and `sha256` of the settings as understood."""
    revisions: tuple[dict[str, Any], ...]
    """Changes while finished cells were there: `at`, `sha256`, `changed` keys, `finished` cells."""
    late: int
    """Cells that were finished before anything was declared; 0 as it should be."""

    def notes(self) -> list[Message]:
        """Notes on the declaration for the reader of the report."""
        found = [message("declared_late", late=self.late, file=EXPERIMENT_NAME)] if self.late else []
        found += [
            message("declaration_changed", changed=", ".join(one["changed"]), finished=one["finished"])
            for one in self.revisions
        ]
        return found


def declare(config: ExperimentConfig, *, finished: int, now: str) -> Declaration:
    """Write the declaration, or check the settings against the existing one.

    Args:
        finished: cells that are done already.
        now: UTC, ISO 8601.

    Raises:
        SettingsError: another primary metric than was declared before the finished cells, or an `experiment.json`
            that is not ours.
        OSError: it cannot be written.
    """
    path = Path(config.output) / EXPERIMENT_NAME
    there = _read_declaration(path)
    content = as_declared(config)
    digest = _hash_settings(content)
    if there is None or not finished:
        made = Declaration({"primary": config.primary, "at": now, "sha256": digest}, (), finished)
    else:
        declared = there["declared"]
        if declared["primary"] != config.primary:
            raise SettingsError(
                f"primary: found {config.primary!r}, but {path} declared {declared['primary']!r} on {declared['at']}, "
                f"before {finished} cells were finished; put that back, or start anew with another 'output'"
            )
        revisions = list(there.get("revisions", []))
        before = there.get("config", {})
        if _hash_settings(before) != digest:
            changed = sorted(key for key in {*before, *content} if before.get(key) != content.get(key))
            revisions.append({"at": now, "sha256": digest, "changed": changed, "finished": finished})
        made = Declaration(declared, tuple(revisions), int(there.get("late", 0)))
    write_json(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "state": "running",
            "declared": made.declared,
            "revisions": list(made.revisions),
            "late": made.late,
            "config": content,
        },
    )
    return made


def as_declared(config: ExperimentConfig) -> dict[str, Any]:
    """The settings as plain data, without the output folder, which changes no result."""
    content = config.model_dump(mode="json", exclude={"output"})
    content["train"].pop("threads")
    for arm in content["arm"]:
        if arm["curated"]:
            arm.pop("curated")  # the default, which older declarations do not contain
    return content


def _hash_settings(content: dict[str, Any]) -> str:
    """Hex sha256 of settings in a fixed form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _read_declaration(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
        if content["format"] != FORMAT or not {"primary", "at"} <= content["declared"].keys():
            raise ValueError("not of this program")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{path}: not an {EXPERIMENT_NAME} of this program ({error}); choose another 'output', or remove it"
        ) from error
    return content


PREDICTIONS_NAME = "predictions.csv"
CELL_NAME = "cell.json"


@dataclass(frozen=True)
class CellJob:
    """What a process needs to train a cell; it is pickled, so plain data alone."""

    name: str
    folder: Path
    """The run folder."""
    data: Path
    """DATA folder of the fold."""
    config: TrainConfig
    joins: Path | None
    """Folder of images that join the real ones."""
    identity: str
    """SHA-256 over settings and images."""


def identity_of(config: TrainConfig, fold_fingerprint: str, set_identity: str) -> str:
    """SHA-256 over what decides a cell's outcome.

    Args:
        config: with seed, steps and the hash of its starting weights.
        fold_fingerprint: of the data.
        set_identity: of the images that join; "" for none.
    """
    settings = config.model_dump(mode="json", exclude={"threads", "weights"})
    text = json.dumps([settings, fold_fingerprint, set_identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def started_identity(folder: Path) -> str | None:
    """Identity of the training in a folder, done or not; None when there is none."""
    content = read_json_or_none(folder / CELL_NAME)
    return None if content is None else str(content.get("identity"))


def read_done(folder: Path) -> dict[str, Any] | None:
    """The content of `cell.json` of a finished cell whose predictions are unchanged; None otherwise."""
    content = read_json_or_none(folder / CELL_NAME)
    if content is None or content.get("state") != "done":
        return None
    try:
        found = sha256_of(folder / PREDICTIONS_NAME)
    except OSError:
        return None
    return content if content.get("predictions_sha256") == found else None


def run_cell(job: CellJob) -> None:
    """Train the cell, or resume it, and predict its test images; torch is imported here, not before.

    A training of another identity in the folder is replaced.

    Raises:
        TrainerError: as `trainer.training.train.train` and `trainer.models.predict.predict_folder` do.
    """
    from ..models.predict import PredictOptions, predict_folder
    from ..models.predictions import write_predictions
    from ..training.train import train

    another = started_identity(job.folder) not in (None, job.identity)
    write_json(job.folder / CELL_NAME, {"state": "started", "identity": job.identity})
    joins = (job.joins,) if job.joins else ()
    training = TrainingJob(job.data, job.folder, job.config, generated=joins, overwrite=another)
    (result,) = train(training, progress=False)
    options = PredictOptions(device=job.config.device, threads=job.config.threads)
    tested = predict_folder(job.folder, job.data / "test", options, progress=False)
    path = job.folder / PREDICTIONS_NAME
    write_predictions(path, tested.images, tested.labels, tested.classes, tested.probabilities)
    write_json(
        job.folder / CELL_NAME,
        {
            "state": "done",
            "identity": job.identity,
            "predictions_sha256": sha256_of(path),
            "images_per_s": result.images_per_s,
            "diagnosis": result.diagnosis,
        },
    )
