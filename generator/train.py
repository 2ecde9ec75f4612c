"""Train a class-conditional diffusion model on a folder of pictures, and save it so that it can be served."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ._atomic import write_bytes_atomically
from .bar import TrainingBar
from .budget import Budget
from .config import TrainConfig, what_differs
from .dataset import TrainingSet, read_training_set
from .device import choose_device, memory_in_words, torch_threads, usable_threads
from .errors import ConfigError
from .interrupt import Interrupted, deferred_interrupts
from .model_files import GENERATOR_NAME, ModelFacts, clear_model, prepare_folder, save_model
from .pixels import measure_code
from .record import HISTORY_NAME, Report, best_of, write_history
from .resume import RESUME_NAME, Progress, load_progress, save_progress
from .session import Session, lr_share
from .sheet import draw_sheet, sample_rows
from .validation import Validation

SHEET_NAME = "sheet.png"

_COPIES_ON_DISK = 6
"""Weights, their average, two moments of the optimizer, the saved model, and one to spare, each 4 bytes a weight."""
_RISEN_BY = 1.05
"""A validation loss above the lowest one times this is worth a sentence."""


@dataclass(frozen=True)
class TrainResult:
    """What a training achieved."""

    folder: Path
    steps: int
    minutes: float
    train_loss: float
    val_loss: float | None
    """Of the weights that were saved; None without held-out pictures."""
    weights_of_step: int
    """After which step the saved weights were; earlier than `steps` when validation was better there."""
    images_per_s: float
    resumed_after: int
    """Steps of earlier starts."""
    was_there: bool
    """Whether all of it had been trained before."""
    notes: tuple[str, ...] = ()
    """What the user should know, in sentences."""


def train(
    data: Path,
    folder: Path,
    config: TrainConfig,
    *,
    val: Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> TrainResult:
    """Train on the class folders of `data` and save the model in `folder`.

    Started again with the same settings and pictures it goes on where it was saved last, on the same CPU to the
    same bits; with more `steps` or `minutes` a finished one goes on too.

    Args:
        data: one folder of images per class, of a training part only.
        folder: where to write; see `model_files`.
        config: how.
        val: held-out images, the same layout; None takes a folder `val` beside `data`, else a share of `data`.
        overwrite: replace what is in `folder`.
        progress: show bars and sentences on stderr.

    Raises:
        DataError: the pictures cannot be used (with its branches TooFewImages and GeneratedImages).
        ConfigError: the folder holds a training of other settings or pictures, the disk has no room, no such device.
        ModelError: the folder is a file, or the state to go on from cannot be read.
        OutOfMemory: the batch does not fit.
        TrainingDiverged: the loss is no longer a number.
        MissingExtra: diffusers is not installed.
        Interrupted: Ctrl-C; everything is saved.
        OSError: a file cannot be written; what was saved before is still there.
    """
    device = choose_device(config.device)
    before = _look_up(folder, config, overwrite=overwrite)
    pictures = read_training_set(
        data,
        size_px=config.network.size_px,
        val_folder=val,
        val_share=config.val_share,
        seed=config.seed,
        progress=progress,
    )
    if before is not None and before.fingerprint != pictures.fingerprint:
        raise ConfigError(
            f"{folder}: its training began with other pictures than {data} holds now; give the same ones, choose "
            "another -o, or add --overwrite to start anew"
        )
    if before is not None and Budget(config, spent_s=before.training_s).share_done(_steps_of(before)) >= 1:
        return _result(folder, config, before.reports, pictures.notes, was_there=True)
    threads = config.threads or usable_threads()
    with (
        torch_threads(threads),
        memory_in_words(batch_size=config.batch_size, size_px=config.network.size_px),
        deferred_interrupts() as asked_to_stop,
    ):
        prepare_folder(folder)
        if before is None:
            _clear(folder)
        run = _Run(folder, config, pictures, before, device=device, threads=threads, progress=progress)
        run.refuse_full_disk()
        run.go(asked_to_stop)
        return _result(folder, config, tuple(run.reports), run.notes(), resumed_after=run.resumed_after)


class _Run:
    """One start of a training."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        pictures: TrainingSet,
        before: Progress | None,
        *,
        device: Any,
        threads: int,
        progress: bool,
    ) -> None:
        self.folder, self.config, self.pictures = folder, config, pictures
        self.reports: list[Report] = list(before.reports) if before else []
        self._progress, self._threads, self._device = progress, threads, device
        network = config.network
        self._code = measure_code((picture.pixels for picture in pictures.train), network.packing)
        self._session = Session(pictures, self._code, config, device)
        if before is not None:
            self._session.restore(before.session)
        self.resumed_after = self._session.steps_done
        self._budget = Budget(config, spent_s=before.training_s if before else 0.0)
        self._facts = ModelFacts.of(pictures, network, self._code)
        self._validation = (
            Validation(pictures, self._code, size_px=network.size_px, device=device) if pictures.val else None
        )
        self._losses: list[float] = []
        self._stepping_s = 0.0

    def refuse_full_disk(self) -> None:
        """Ask for room before the work, not after it.

        Raises:
            ConfigError: there is too little.
        """
        weights = sum(one.numel() for one in self._session.network.parameters())
        needed, free = 4 * weights * _COPIES_ON_DISK, shutil.disk_usage(self.folder).free
        if free < needed:
            raise ConfigError(
                f"{self.folder}: {free / 2**20:.0f} MiB free on this disk, but saving takes {needed / 2**20:.0f}; "
                "free some, or choose another -o"
            )

    def go(self, asked_to_stop: Any) -> None:
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
                    raise Interrupted(self.folder, session.steps_done)
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


def _look_up(folder: Path, config: TrainConfig, *, overwrite: bool) -> Progress | None:
    """The training to go on from; None to start anew."""
    if overwrite or not folder.is_dir():
        return None
    path = folder / RESUME_NAME
    if not path.is_file():
        if (folder / GENERATOR_NAME).is_file():
            raise ConfigError(
                f"{folder}: holds a model but not its {RESUME_NAME} to go on from; choose another -o, or add "
                "--overwrite to replace it"
            )
        return None
    before = load_progress(path)
    differs = what_differs(before.config, config)
    if differs is not None:
        raise ConfigError(
            f"{folder}: holds a training with {differs}; give what it was started with, choose another -o, or add "
            "--overwrite to start anew"
        )
    return before


def _clear(folder: Path) -> None:
    clear_model(folder)
    for name in (RESUME_NAME, HISTORY_NAME, SHEET_NAME):
        (folder / name).unlink(missing_ok=True)


def _steps_of(progress: Progress) -> int:
    return int(progress.session["steps_done"])


def _result(
    folder: Path,
    config: TrainConfig,
    reports: tuple[Report, ...],
    notes: tuple[str, ...],
    *,
    was_there: bool = False,
    resumed_after: int = 0,
) -> TrainResult:
    last = reports[-1]
    kept = (best_of(reports) if config.keep == "best" else None) or last
    rates = sorted(report.images_per_s for report in reports)
    return TrainResult(
        folder=folder,
        steps=last.step,
        minutes=last.minutes,
        train_loss=last.train_loss,
        val_loss=kept.val_loss,
        weights_of_step=kept.step,
        images_per_s=rates[len(rates) // 2],
        resumed_after=resumed_after,
        was_there=was_there,
        notes=notes,
    )
