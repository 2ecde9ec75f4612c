"""One start of a training: its budget, progress bar, `history.csv` and `resume.pt`."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sdcore.diffusion_model import ModelDescription, PixelCodec, fit_pixel_codec, save_model
from sdcore.files import write_bytes_atomically
from sdcore.progress import Interrupted

from ..config import NetworkConfig, TrainConfig
from ..errors import ModelError, SettingsError
from .dataset import TrainingSet
from .sampling import draw_sheet, sample_rows
from .session import DiffusionSession, Validation, lr_share

SHEET_NAME = "sheet.png"

_COPIES_ON_DISK = 6
"""Weights, average, two moments of the optimizer, the saved model and one in reserve; each has 4 bytes a weight."""
_BAR_FORMAT = "{percentage:3.0f}%|{bar}| {postfix}"
_RISEN_BY = 1.05
"""A note is written if the last validation loss is above this times the lowest one."""


class TrainingRun:
    """One start of a training; `before` is the saved state to resume."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        data: TrainingSet,
        before: SavedTraining | None,
        *,
        device: torch.device,
        threads: int,
        progress: bool,
    ) -> None:
        self.folder, self.config, self.data = folder, config, data
        self.reports: list[ProgressRecord] = list(before.reports) if before else []
        self._progress, self._threads, self._device = progress, threads, device
        network = config.network
        self._codec = fit_pixel_codec((image.pixels for image in data.train), network.packing)
        self._session = DiffusionSession(data, self._codec, config, device)
        if before is not None:
            self._session.restore(before.session)
        self.resumed_after = self._session.steps_done
        self._budget = Budget(config, spent_s=before.training_s if before else 0.0)
        self._description = _describe(data, network, self._codec)
        self._validation = Validation(data, self._codec, size_px=network.size_px, device=device) if data.val else None
        self._losses: list[float] = []
        self._stepping_s = 0.0

    def refuse_full_disk(self) -> None:
        """Check the free space before the training, not at its first save.

        Raises:
            SettingsError: there is too little of it.
        """
        weights = sum(one.numel() for one in self._session.network.parameters())
        needed, free = 4 * weights * _COPIES_ON_DISK, shutil.disk_usage(self.folder).free
        if free < needed:
            raise SettingsError(
                f"{self.folder}: {free / 2**20:.0f} MiB free on this disk, but saving takes {needed / 2**20:.0f}; "
                "free some, or choose another -o"
            )

    def go(self, should_stop: Callable[[], bool]) -> None:
        """Train until the budget is spent, and save at regular steps.

        Raises:
            Interrupted: the user asked to stop; everything is saved.
        """
        config, session = self.config, self._session
        self._print_start()
        # The bar shows the share of the whole training, because it may end by time.
        with tqdm(total=1.0, bar_format=_BAR_FORMAT, disable=not self._progress, file=sys.stderr) as bar:
            while (share := self._budget.share_done(session.steps_done)) < 1:
                begin_s = time.perf_counter()
                self._losses.append(session.step(share))
                self._stepping_s += time.perf_counter() - begin_s
                bar.set_postfix_str(self._progress_in_words(), refresh=False)
                bar.update(max(self._budget.share_done(session.steps_done) - bar.n, 0.0))
                if should_stop():
                    self._report(is_end=False)
                    raise Interrupted(
                        f"stopped after step {session.steps_done}, all of it saved in {self.folder}; "
                        "the same command goes on"
                    )
                is_end = self._budget.share_done(session.steps_done) >= 1
                if is_end or session.steps_done % config.save_every == 0:
                    self._report(is_end=is_end)

    def notes(self) -> tuple[str, ...]:
        """What the user should know, in sentences."""
        found = list(self.data.notes)
        best, last = best_of(self.reports), self.reports[-1]
        if best is not None and last.val_loss is not None and last.val_loss > _RISEN_BY * (best.val_loss or 0):
            kept = "are kept" if self.config.keep == "best" else "would have been kept with --keep best"
            found.append(
                f"the validation loss was lowest at step {best.step} ({best.val_loss:.3f}) and rose to "
                f"{last.val_loss:.3f}: the model begins to memorise the images; the weights of step {best.step} {kept}"
            )
        return tuple(found)

    def _report(self, *, is_end: bool) -> None:
        """Validate and save; draw the sheet when it is due."""
        session, config = self._session, self.config
        network, val_loss = session.average.network, None
        if self._validation is not None:
            val_loss = self._validation.loss(network, session.precision, batch_size=config.batch_size)
        share = self._budget.share_done(session.steps_done)
        report = ProgressRecord(
            step=session.steps_done,
            minutes=self._budget.spent_s / 60,
            train_loss=self._train_loss,
            val_loss=val_loss,
            lr=config.lr * lr_share(session.steps_done - 1, share, config),
            images_per_s=self._images_per_s,
        )
        self.reports.append(report)
        if config.keep == "last" or best_of(self.reports) in (report, None):
            training = self._training_record(report)
            save_model(self.folder, network, session.schedule, self._description, training=training, half=config.half)
        # After the model: if the process is killed between the two, the repeated steps give the same model.
        save_training(
            self.folder / RESUME_NAME,
            SavedTraining(
                config=config.model_dump(mode="json"),
                fingerprint=self.data.fingerprint,
                training_s=self._budget.spent_s,
                reports=tuple(self.reports),
                session=session.state(),
            ),
        )
        write_history(self.folder / HISTORY_NAME, self.reports)
        if is_end or (config.sheet_every and session.steps_done % config.sheet_every == 0):
            self._draw_sheet(report)
        self._losses, self._stepping_s = [], 0.0

    def _draw_sheet(self, report: ProgressRecord) -> None:
        session, size_px = self._session, self.config.network.size_px
        rows = sample_rows(
            session.average.network, self.data, self._codec, size_px=size_px, precision=session.precision
        )
        loss = "" if report.val_loss is None else f", validation loss {report.val_loss:.3f}"
        title = f"{self.folder.name}: step {report.step}, {report.minutes:.0f} min{loss}"
        write_bytes_atomically(self.folder / SHEET_NAME, draw_sheet(rows, title))

    def _training_record(self, report: ProgressRecord) -> dict[str, Any]:
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

    @property
    def _train_loss(self) -> float:
        """Mean since the last report."""
        return sum(self._losses) / len(self._losses)

    @property
    def _images_per_s(self) -> float:
        """Since the last report, without validation and drawing."""
        return len(self._losses) * self.config.batch_size / max(self._stepping_s, 1e-9)

    def _progress_in_words(self) -> str:
        val_loss = self.reports[-1].val_loss if self.reports else None
        validated = "" if val_loss is None else f", val {val_loss:.3f}"
        left_s = self._budget.seconds_left(self._session.steps_done)
        left = "" if left_s is None else f", {describe_duration(left_s)} left"
        speed = f"{self._images_per_s:.0f} images/s"
        return f"step {self._session.steps_done}, {speed}, loss {self._train_loss:.3f}{validated}{left}"

    def _print_start(self) -> None:
        if not self._progress:
            return
        data, session = self.data, self._session
        weights = sum(one.numel() for one in session.network.parameters())
        colour = "grey" if data.channels == 1 else "colour"
        counts = ", ".join(f"{name} {count}" for name, count in data.counts.items())
        machine = f"{self._device.type}, {session.precision.name}, {self._threads} thread(s)"
        lines = [
            *(f"note: {words}" for words in data.notes),
            f"learns from {len(data.train)} {colour} images: {counts}",
            f"held out: {data.val_from}",
            f"{weights / 1e6:.1f} million weights, {machine}",
            *([f"goes on after step {self.resumed_after}"] if self.resumed_after else []),
        ]
        for line in lines:
            tqdm.write(line, file=sys.stderr)


def _describe(training_set: TrainingSet, network: NetworkConfig, codec: PixelCodec) -> ModelDescription:
    """The content of `generator.json` for a model of these images."""
    lineage = [
        {"file": image.file, "class": training_set.classes[image.label], "sha256": image.sha256}
        for image in training_set.train
    ]
    data = {
        "fingerprint": training_set.fingerprint,
        "images": len(training_set.train),
        "counts": training_set.counts,
        "held_out": len(training_set.val),
        "held_out_from": training_set.val_from,
        "learned_from": lineage,
    }
    return ModelDescription(training_set.classes, network.size_px, codec, data)


class Budget:
    """The time and steps of a training over all its starts, and the share of them that is done.

    Whichever of `config.steps` and `config.minutes` is reached first ends the training.
    """

    def __init__(
        self, config: TrainConfig, *, spent_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps, self._minutes = config.steps, config.minutes
        self._clock = clock
        self._begin_s = clock() - spent_s

    @property
    def spent_s(self) -> float:
        """Seconds of training so far."""
        return self._clock() - self._begin_s

    def share_done(self, steps_done: int) -> float:
        """Share of the training that is done, 0 to 1."""
        shares = [0.0]
        if self._steps is not None:
            shares.append(steps_done / self._steps)
        if self._minutes is not None:
            shares.append(self.spent_s / (60 * self._minutes))
        return min(max(shares), 1.0)

    def seconds_left(self, steps_done: int) -> float | None:
        """Time to the end at the present speed; None before the first step."""
        share = self.share_done(steps_done)
        return self.spent_s * (1 - share) / share if share > 0 else None


def describe_duration(duration_s: float) -> str:
    """Like "1:02:03" or "4:05"."""
    hours, rest = divmod(round(duration_s), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


HISTORY_NAME = "history.csv"


@dataclass(frozen=True)
class ProgressRecord:
    """One row of `history.csv`: a training at one of its validations."""

    step: int
    minutes: float
    """Training time so far."""
    train_loss: float
    """Mean over the steps since the previous record."""
    val_loss: float | None
    """Of the averaged weights; None without held-out images."""
    lr: float
    images_per_s: float
    """Since the previous record, without validation and drawing."""


def write_history(path: Path, reports: Sequence[ProgressRecord]) -> None:
    """Write `history.csv`, one row per record, numbers with six digits."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([field.name for field in fields(ProgressRecord)])
    for report in reports:  # csv writes None as an empty field
        writer.writerow([float(f"{one:.6g}") if isinstance(one, float) else one for one in astuple(report)])
    write_bytes_atomically(path, buffer.getvalue().encode())


def best_of(reports: Sequence[ProgressRecord]) -> ProgressRecord | None:
    """The record with the lowest validation loss, the first of equal ones; None if nothing was validated."""
    judged = [report for report in reports if report.val_loss is not None]
    return min(judged, key=lambda report: report.val_loss or 0.0, default=None)


RESUME_NAME = "resume.pt"
_STATE_FORMAT = "sd-defects generator training"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class SavedTraining:
    """The content of `resume.pt`: everything that is needed to resume a training."""

    config: dict[str, Any]
    """The settings as plain JSON."""
    fingerprint: str
    """See `TrainingSet.fingerprint`."""
    training_s: float
    """Training time so far."""
    reports: tuple[ProgressRecord, ...]
    session: dict[str, Any]
    """See `DiffusionSession.state`."""


def save_training(path: Path, progress: SavedTraining) -> None:
    """Write `resume.pt` atomically; if that fails, the previous file stays.

    Raises:
        OSError: it cannot be written, for example because the disk is full.
    """
    reports = [asdict(report) for report in progress.reports]
    buffer = io.BytesIO()
    torch.save({"format": _STATE_FORMAT, "version": _VERSION, **vars(progress), "reports": reports}, buffer)
    write_bytes_atomically(path, buffer.getbuffer())


def load_training(path: Path) -> SavedTraining:
    """Read `resume.pt`; no code in the file is run.

    Raises:
        ModelError: it is damaged, or another version wrote it.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other pickle protocols; an unreadable file raises
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content["format"] != _STATE_FORMAT or content["version"] != _VERSION:
            raise ValueError(f"format {content['format']!r}, version {content['version']}")
        return SavedTraining(
            config=dict(content["config"]),
            fingerprint=str(content["fingerprint"]),
            training_s=float(content["training_s"]),
            reports=tuple(ProgressRecord(**row) for row in content["reports"]),
            session=dict(content["session"]),
        )
    except OSError:
        raise
    except Exception as error:  # on damaged bytes torch.load raises many kinds of errors
        words = str(error).partition("\n")[0][:120] or type(error).__name__
        raise ModelError(
            f"{path}: the state of an earlier training cannot be read ({words}); add --overwrite to start anew"
        ) from error
