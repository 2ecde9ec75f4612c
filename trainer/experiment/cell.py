"""One cell of an experiment: train, then predict the test images; `cell.json` says how far it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.files import read_json_or_none, sha256_of, write_json

from ..config import TrainConfig, TrainingJob

PREDICTIONS_NAME = "predictions.csv"
CELL_NAME = "cell.json"


@dataclass(frozen=True)
class CellJob:
    """What a process needs to work a cell; plain data that travels."""

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
    """What `cell.json` says of a cell that is done, its predictions being those it knew; None otherwise."""
    content = read_json_or_none(folder / CELL_NAME)
    if content is None or content.get("state") != "done":
        return None
    try:
        found = sha256_of(folder / PREDICTIONS_NAME)
    except OSError:
        return None
    return content if content.get("predictions_sha256") == found else None


def work(job: CellJob) -> None:
    """Train the cell, or go on where it was broken off, and predict its test images; the libraries load only now.

    A training of another identity that lies there is replaced.

    Raises:
        TrainerError: as `trainer.train.train` and `trainer.predict.predict_folder` do.
    """
    from ..predict import PredictOptions, predict_folder
    from ..predictions import write_predictions
    from ..train import train

    another = started_identity(job.folder) not in (None, job.identity)
    write_json(job.folder / CELL_NAME, {"state": "started", "identity": job.identity})
    joins = (job.joins,) if job.joins else ()
    training = TrainingJob(job.data, job.folder, job.config, generated=joins, overwrite=another)
    (result,) = train(training, progress=False)
    options = PredictOptions(device=job.config.device, threads=job.config.threads)
    said = predict_folder(job.folder, job.data / "test", options, progress=False)
    write_predictions(job.folder / PREDICTIONS_NAME, said.images, said.labels, said.classes, said.probabilities)
    write_json(
        job.folder / CELL_NAME,
        {
            "state": "done",
            "identity": job.identity,
            "predictions_sha256": sha256_of(job.folder / PREDICTIONS_NAME),
            "images_per_s": result.images_per_s,
            "diagnosis": result.diagnosis,
        },
    )
