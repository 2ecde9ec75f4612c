"""The declaration of an experiment, and the state of each cell."""

import hashlib
import json
from dataclasses import asdict, dataclass
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
    """The declared metric, and later changes of the file."""

    declared: dict[str, Any]
    """`primary`, `at` (UTC, ISO 8601) and `sha256` of the settings."""
    revisions: tuple[dict[str, Any], ...]
    """Changes made after cells had finished: `at`, `sha256`, `changed` keys, number of `finished` cells."""
    late: int
    """Number of cells that had finished before the declaration; normally 0."""

    def notes(self) -> list[Message]:
        """Notes on the declaration for the reader of the report."""
        late = [message("declared_late", late=self.late, file=EXPERIMENT_NAME)] if self.late else []
        return late + [
            message("declaration_changed", changed=", ".join(one["changed"]), finished=one["finished"])
            for one in self.revisions
        ]


def declare(config: ExperimentConfig, *, finished: int, now: str) -> Declaration:
    """Write the declaration, or check the settings against the existing one.

    Args:
        finished: number of cells that have finished.
        now: UTC, ISO 8601.

    Raises:
        SettingsError: the primary metric is not the one declared before the finished cells, or `experiment.json`
            is not a file of this program.
        OSError: it cannot be written.
    """
    path = Path(config.output) / EXPERIMENT_NAME
    existing = _read_declaration(path)
    content = as_declared(config)
    digest = _hash_settings(content)
    if existing is None or not finished:
        declaration = Declaration({"primary": config.primary, "at": now, "sha256": digest}, (), finished)
    else:
        declared = existing["declared"]
        if declared["primary"] != config.primary:
            raise SettingsError(
                f"primary: found {config.primary!r}, but {path} declared {declared['primary']!r} on {declared['at']}, "
                f"before {finished} cells were finished; put that back, or start anew with another 'output'"
            )
        revisions = list(existing.get("revisions", []))
        before = existing.get("config", {})
        if _hash_settings(before) != digest:
            changed = sorted(key for key in {*before, *content} if before.get(key) != content.get(key))
            revisions.append({"at": now, "sha256": digest, "changed": changed, "finished": finished})
        declaration = Declaration(declared, tuple(revisions), int(existing.get("late", 0)))
    head = {"format": FORMAT, "version": VERSION, "state": "running"}
    write_json(path, {**head, **asdict(declaration), "config": content})
    return declaration


def as_declared(config: ExperimentConfig) -> dict[str, Any]:
    """The settings as plain data, without the output folder and the number of threads, which change no result."""
    content = config.model_dump(mode="json", exclude={"output": True, "train": {"threads"}})
    for arm in content["arm"]:
        if arm["curated"]:
            arm.pop("curated")  # the default, which older declarations do not contain
    return content


def _hash_settings(content: dict[str, Any]) -> str:
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
    """What a process needs to train a cell; it is pickled, so it holds plain data only."""

    name: str
    folder: Path
    """The run folder."""
    data: Path
    """DATA folder of the fold."""
    config: TrainConfig
    joins: Path | None
    """Folder of the images that are added to the real ones."""
    identity: str
    """SHA-256 over settings and images."""


def identity_of(config: TrainConfig, fold_fingerprint: str, set_identity: str) -> str:
    """SHA-256 over what decides a cell's outcome; `set_identity` is that of its added images, "" for none."""
    settings = config.model_dump(mode="json", exclude={"threads", "weights"})
    text = json.dumps([settings, fold_fingerprint, set_identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def started_identity(folder: Path) -> str | None:
    """Identity of the training in a folder, finished or not; None if there is none."""
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
    """Train the cell, or resume it, and predict its test images.

    A training with another identity in the folder is replaced.

    Raises:
        TrainerError: as from `trainer.training.train.train` and `trainer.models.predict.predict_folder`.
    """
    # Imports torch, so only in the process of a cell.
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
    # Written last: a cell whose process dies before this stays "started" and is resumed.
    done = {"state": "done", "identity": job.identity, "predictions_sha256": sha256_of(path)}
    write_json(job.folder / CELL_NAME, {**done, "images_per_s": result.images_per_s, "diagnosis": result.diagnosis})
