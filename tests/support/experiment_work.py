"""A stand-in for training that writes what a cell of an experiment leaves behind."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from trainer.config import TrainingJob
from trainer.data.training_set import build_training_set
from trainer.evaluation.history import HISTORY_NAME, EpochRecord, write_history
from trainer.experiment.records import CELL_NAME, CellJob
from trainer.models.predictions import write_predictions
from trainer.training.run_folder import write_facts


class FakeWork:
    """Works a cell without a network: the baseline is right in half of the images, other arms in all."""

    def __init__(self) -> None:
        self.worked: list[str] = []
        self.fail: str | None = None
        self.error: BaseException = RuntimeError("no error was set")
        self.steps_too_few: str | None = None

    def __call__(self, job: CellJob) -> None:
        if job.name == self.fail:
            raise self.error
        self.worked.append(job.name)
        joins = (job.joins,) if job.joins else ()
        found = build_training_set(TrainingJob(job.data, job.folder, generated=joins))
        epochs = job.config.epochs if job.name != self.steps_too_few else job.config.epochs - 1
        write_facts(job.folder, job.config, found.summary, {"python": "3"})
        write_history(
            job.folder / HISTORY_NAME, [EpochRecord(n + 1, 1.0, 1.0, 0.5, 0.5, 1e-3, 100.0, 1.0) for n in range(epochs)]
        )
        images = list(found.dataset.test)
        rng = np.random.default_rng([job.config.seed, sum(map(ord, job.name.split()[0]))])
        table = np.full((len(images), len(found.classes)), 0.1)
        for row, image in zip(table, images, strict=True):
            right = found.classes.index(image.label)
            wrong = job.name.startswith("baseline") and rng.random() < 0.5
            row[(right + wrong) % len(found.classes)] += 1 - row.sum()
        write_predictions(
            job.folder / "predictions.csv",
            [image.path.relative_to(job.data / "test").as_posix() for image in images],
            [image.label for image in images],
            found.classes,
            table,
        )
        digest = hashlib.sha256((job.folder / "predictions.csv").read_bytes()).hexdigest()
        content = {"state": "done", "identity": job.identity, "predictions_sha256": digest}
        (job.folder / CELL_NAME).write_text(
            json.dumps({**content, "images_per_s": 100.0, "diagnosis": "still falling"}), encoding="utf-8"
        )
