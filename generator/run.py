"""One start of a training: step by step to its end, validated, saved and drawn on the way."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sdcore.diffusion_model import ModelDescription, PixelCodec, fit_pixel_codec, save_model
from sdcore.files import write_bytes_atomically
from sdcore.progress import Interrupted

from .bar import TrainingBar
from .budget import Budget
from .config import NetworkConfig, TrainConfig
from .dataset import TrainingSet
from .errors import SettingsError
from .record import HISTORY_NAME, Report, best_of, write_history
from .resume import RESUME_NAME, Progress, save_progress
from .session import Session, lr_share
from .sheet import draw_sheet, sample_rows
from .validation import Validation

SHEET_NAME = "sheet.png"

_COPIES_ON_DISK = 6
"""Weights, their average, two moments of the optimizer, the saved model, and one to spare, each 4 bytes a weight."""
_RISEN_BY = 1.05
"""A validation loss above the lowest one times this is worth a sentence."""


class Run:
    """One start of a training.

    Args:
        folder: where the model goes.
        config: how it is trained.
        pictures: what it learns from.
        before: the state to go on from, or None.
        device: where it is trained.
        threads: of the CPU, for the record.
        progress: show a bar and sentences on stderr.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        pictures: TrainingSet,
        before: Progress | None,
        *,
        device: torch.device,
        threads: int,
        progress: bool,
    ) -> None:
        self.folder, self.config, self.pictures = folder, config, pictures
        self.reports: list[Report] = list(before.reports) if before else []
        self._progress, self._threads, self._device = progress, threads, device
        network = config.network
        self._code = fit_pixel_codec((picture.pixels for picture in pictures.train), network.packing)
        self._session = Session(pictures, self._code, config, device)
        if before is not None:
            self._session.restore(before.session)
        self.resumed_after = self._session.steps_done
        self._budget = Budget(config, spent_s=before.training_s if before else 0.0)
        self._facts = _describe(pictures, network, self._code)
        self._validation = (
            Validation(pictures, self._code, size_px=network.size_px, device=device) if pictures.val else None
        )
        self._losses: list[float] = []
        self._stepping_s = 0.0

    def refuse_full_disk(self) -> None:
        """Ask for room before the work, not after it.

        Raises:
            SettingsError: there is too little.
        """
        weights = sum(one.numel() for one in self._session.network.parameters())
        needed, free = 4 * weights * _COPIES_ON_DISK, shutil.disk_usage(self.folder).free
        if free < needed:
            raise SettingsError(
                f"{self.folder}: {free / 2**20:.0f} MiB free on this disk, but saving takes {needed / 2**20:.0f}; "
                "free some, or choose another -o"
            )

    def go(self, asked_to_stop: Callable[[], bool]) -> None:
        """Train to the end of the budget, saving on the way.

        Raises:
            Interrupted: when asked to stop.
        """
        config, session = self.config, self._session
        self._say_what_begins()
        with TrainingBar(shown=self._progress) as bar:
            while (share := self._budget.share_done(session.steps_done)) < 1:
                begin_s = time.perf_counter()
                self._losses.append(session.step(share))
                self._stepping_s += time.perf_counter() - begin_s
                bar.show(
                    share=self._budget.share_done(session.steps_done),
                    step=session.steps_done,
                    images_per_s=self._images_per_s(),
                    train_loss=sum(self._losses) / len(self._losses),
                    val_loss=self.reports[-1].val_loss if self.reports else None,
                    left_s=self._budget.seconds_left(session.steps_done),
                )
                if asked_to_stop():
                    self._report(is_end=False)
                    raise Interrupted(
                        f"stopped after step {session.steps_done}, all of it saved in {self.folder}; "
                        "the same command goes on"
                    )
                is_end = self._budget.share_done(session.steps_done) >= 1
                if is_end or session.steps_done % config.save_every == 0:
                    self._report(is_end=is_end)

    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        found = list(self.pictures.notes)
        best, last = best_of(self.reports), self.reports[-1]
        if best is not None and last.val_loss is not None and last.val_loss > _RISEN_BY * (best.val_loss or 0):
            kept = (
                "those weights are kept" if self.config.keep == "best" else "--keep best would have kept those weights"
            )
            found.append(
                f"the validation loss was lowest at step {best.step} ({best.val_loss:.3f}) and rose to "
                f"{last.val_loss:.3f}: it begins to learn the pictures by heart; {kept}"
            )
        return tuple(found)

    def _report(self, *, is_end: bool) -> None:
        """Validate, save, and draw where it is time."""
        session, config = self._session, self.config
        val_loss = None
        if self._validation is not None:
            val_loss = self._validation.loss(session.average.network, session.precision, batch_size=config.batch_size)
        share = self._budget.share_done(session.steps_done)
        report = Report(
            step=session.steps_done,
            minutes=self._budget.spent_s / 60,
            train_loss=sum(self._losses) / len(self._losses),
            val_loss=val_loss,
            lr=config.lr * lr_share(session.steps_done - 1, share, config),
            images_per_s=self._images_per_s(),
        )
        self.reports.append(report)
        if config.keep == "last" or best_of(self.reports) in (report, None):
            training = self._training_record(report)
            save_model(
                self.folder,
                session.average.network,
                session.schedule,
                self._facts,
                training=training,
                half=config.half,
            )
        # After the model: broken off between the two, these steps are done again, to the same model.
        save_progress(
            self.folder / RESUME_NAME,
            Progress(
                config=config.model_dump(mode="json"),
                fingerprint=self.pictures.fingerprint,
                training_s=self._budget.spent_s,
                reports=tuple(self.reports),
                session=session.state(),
            ),
        )
        write_history(self.folder / HISTORY_NAME, self.reports)
        if is_end or (config.sheet_every and session.steps_done % config.sheet_every == 0):
            self._draw_sheet(report)
        self._losses, self._stepping_s = [], 0.0

    def _draw_sheet(self, report: Report) -> None:
        session, size_px = self._session, self.config.network.size_px
        rows = sample_rows(
            session.average.network, self.pictures, self._code, size_px=size_px, precision=session.precision
        )
        loss = "" if report.val_loss is None else f", validation loss {report.val_loss:.3f}"
        title = f"{self.folder.name}: step {report.step}, {report.minutes:.0f} min{loss}"
        write_bytes_atomically(self.folder / SHEET_NAME, draw_sheet(rows, title))

    def _training_record(self, report: Report) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "steps": report.step,
            "minutes": round(report.minutes, 2),
            "train_loss": report.train_loss,
            "val_loss": report.val_loss,
            "images_per_s": round(report.images_per_s, 1),
            "device": self._device.type,
            "threads": self._threads,
            "precision": self._session.precision.name,
        }

    def _images_per_s(self) -> float:
        return len(self._losses) * self.config.batch_size / max(self._stepping_s, 1e-9)

    def _say_what_begins(self) -> None:
        if not self._progress:
            return
        pictures, session = self.pictures, self._session
        weights = sum(one.numel() for one in session.network.parameters())
        colour = "grey" if pictures.channels == 1 else "colour"
        counts = ", ".join(f"{name} {count}" for name, count in pictures.counts.items())
        machine = f"{self._device.type}, {session.precision.name}, {self._threads} thread(s)"
        lines = [
            *(f"note: {words}" for words in pictures.notes),
            f"learns from {len(pictures.train)} {colour} pictures: {counts}",
            f"held out: {pictures.val_from}",
            f"{weights / 1e6:.1f} million weights, {machine}",
        ]
        if self.resumed_after:
            lines.append(f"goes on after step {self.resumed_after}")
        for line in lines:
            tqdm.write(line, file=sys.stderr)


def _describe(pictures: TrainingSet, network: NetworkConfig, codec: PixelCodec) -> ModelDescription:
    """What a model of these images says of itself."""
    lineage = [
        {"file": picture.file, "class": pictures.classes[picture.label], "sha256": picture.sha256}
        for picture in pictures.train
    ]
    data = {
        "fingerprint": pictures.fingerprint,
        "images": len(pictures.train),
        "counts": pictures.counts,
        "held_out": len(pictures.val),
        "held_out_from": pictures.val_from,
        "learned_from": lineage,
    }
    return ModelDescription(pictures.classes, network.size_px, codec, data)
