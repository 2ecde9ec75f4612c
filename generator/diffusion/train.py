"""Train a class-conditional diffusion model on a folder of images, and save it for `sdclient serve`."""

from dataclasses import dataclass
from pathlib import Path

from sdcore.diffusion_model import GENERATOR_NAME, clear_model, prepare_folder
from sdcore.progress import deferred_interrupts
from sdcore.torch_runtime import choose_device, explain_out_of_memory, torch_threads, usable_threads

from ..config import TrainConfig, what_differs
from ..errors import SettingsError
from .dataset import read_training_set
from .run import (
    HISTORY_NAME,
    RESUME_NAME,
    SHEET_NAME,
    Budget,
    ProgressRecord,
    SavedTraining,
    TrainingRun,
    best_of,
    load_training,
)


@dataclass(frozen=True)
class TrainResult:
    """The outcome of a training."""

    folder: Path
    steps: int
    minutes: float
    train_loss: float
    val_loss: float | None
    """Of the saved weights; None without held-out images."""
    weights_of_step: int
    """The step of the saved weights; below `steps` if the validation loss was lowest before the end."""
    images_per_s: float
    resumed_after: int
    """Number of steps that earlier starts did."""
    was_there: bool
    """Whether an earlier start finished the training."""
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

    Started again with the same settings and images, it resumes from its last save; on the same CPU the result is equal
    bit by bit. A finished training continues if `steps` or `minutes` is raised.

    Args:
        data: one folder of images per class, training images only.
        folder: for the model; see `sdcore.diffusion_model`.
        val: held-out images in the same layout; None: a folder `val` beside `data`, or else a share of `data`.

    Raises:
        DataError: the images cannot be used; also its subclasses TooFewImages and GeneratedImages.
        SettingsError: the folder holds a training with other settings or images, the disk is full, or there is no such
            device.
        ModelFileError: the folder is a file.
        ModelError: the saved state cannot be read.
        OutOfMemory: the batch does not fit.
        TrainingDiverged: the loss is no longer a number.
        MissingExtra: diffusers is not installed.
        Interrupted: Ctrl-C; everything is saved.
        OSError: a file cannot be written; everything that was saved before is kept.
    """
    device, size_px = choose_device(config.device), config.network.size_px
    before = _read_saved_training(folder, config, overwrite=overwrite)
    found = read_training_set(
        data, size_px=size_px, val_folder=val, val_share=config.val_share, seed=config.seed, progress=progress
    )
    if before is not None:
        if before.fingerprint != found.fingerprint:
            raise SettingsError(
                f"{folder}: its training began with other images than {data} holds now; give the same ones, choose "
                "another -o, or add --overwrite to start anew"
            )
        steps_done = int(before.session["steps_done"])
        if Budget(config, spent_s=before.training_s).share_done(steps_done) >= 1:
            return _result(folder, config, before.reports, found.notes, was_there=True)
    threads = config.threads or usable_threads()
    with (
        torch_threads(threads),
        explain_out_of_memory(batch_size=config.batch_size, size_px=size_px),
        deferred_interrupts() as should_stop,
    ):
        prepare_folder(folder)
        if before is None:
            clear_model(folder)
            for name in (RESUME_NAME, HISTORY_NAME, SHEET_NAME):
                (folder / name).unlink(missing_ok=True)
        run = TrainingRun(folder, config, found, before, device=device, threads=threads, progress=progress)
        run.refuse_full_disk()
        run.go(should_stop)
        return _result(folder, config, tuple(run.reports), run.notes(), resumed_after=run.resumed_after)


def _read_saved_training(folder: Path, config: TrainConfig, *, overwrite: bool) -> SavedTraining | None:
    """The saved training to resume; None to start anew."""
    if overwrite or not folder.is_dir():
        return None
    path = folder / RESUME_NAME
    if not path.is_file():
        if (folder / GENERATOR_NAME).is_file():
            raise SettingsError(
                f"{folder}: holds a model but not its {RESUME_NAME}, which is needed to resume; choose another -o, or "
                "add --overwrite to replace it"
            )
        return None
    before = load_training(path)
    differs = what_differs(before.config, config)
    if differs is not None:
        raise SettingsError(
            f"{folder}: holds a training with {differs}; give the settings it was started with, choose another -o, or "
            "add --overwrite to start anew"
        )
    return before


def _result(
    folder: Path,
    config: TrainConfig,
    reports: tuple[ProgressRecord, ...],
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
