"""Which runs a training makes, what is there already of each, and all that can be refused before one is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.progress import print_note

from .assemble import TrainingData, assemble
from .config import TrainConfig
from .errors import SettingsError
from .messages import text
from .near import NEAR_NAME
from .resume import Progress, load_progress
from .run_folder import CONFIG_NAME, finished_epochs, refuse_mixed_layout, what_changed
from .run_names import RESUME_NAME
from .session import refuse_unusable_weights
from .train_result import TrainResult, read_result


@dataclass(frozen=True)
class Job:
    """A run that is asked for."""

    run: Path
    """Its folder."""
    config: TrainConfig


def jobs_of(run: Path, config: TrainConfig, seeds: Sequence[int]) -> list[Job]:
    """The run of each seed: `run` itself for one, a folder in it for each of several."""
    return [
        Job(run if len(seeds) == 1 else run / f"seed-{seed}", config.model_copy(update={"seed": seed}))
        for seed in seeds
    ]


def prepare(
    data: Path,
    run: Path,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    overwrite: bool,
    strict: bool,
    progress: bool,
    **sets: Any,
) -> tuple[TrainingData, TrainConfig, list[TrainResult | Progress | None]]:
    """What is trained on, and what is there already of each run; nothing is written but the sheet of look-alikes.

    Args:
        data: see `trainer.train.train`, as are all but these two.
        run: see there.
        config: with the hash of its starting weights.
        seeds: one or more.
        overwrite: see there.
        strict: see there.
        progress: see there.
        sets: see `trainer.assemble.assemble`.

    Raises:
        DataError: the data cannot be used (with its branches LeakageError and GeneratedSetError).
        SettingsError: a run folder holds another run.
        CheckpointError: the weights to start from, or the state to go on from, cannot be used.
    """
    refuse_mixed_layout(run, several=len(seeds) > 1)
    sources = assemble(
        data,
        strict=strict,
        near_sheet=run / NEAR_NAME if strict and not (run / CONFIG_NAME).exists() else None,
        progress=progress,
        **sets,
    )
    for words in sources.notes:
        print_note(words, progress)
    for warning in sources.warnings:
        print_note(f"warning: {data}: {text(warning)}", progress)
    found = [_look_up(job, sources, overwrite=overwrite) for job in jobs_of(run, config, seeds)]
    if not all(isinstance(there, TrainResult) for there in found):
        refuse_unusable_weights(sources.classes, config)
    return sources, config, found


def _look_up(job: Job, sources: TrainingData, *, overwrite: bool) -> TrainResult | Progress | None:
    """What is there already of a run: all of it, some epochs, or (None) nothing that is wanted."""
    epochs = finished_epochs(job.run)
    broken_off = (job.run / RESUME_NAME).is_file()
    if not epochs and not broken_off:
        return None
    changed = what_changed(job.run, job.config, sources.summary["fingerprint"])
    if changed is None and epochs:
        return read_result(job.run, job.config, n_classes=len(sources.classes))
    if overwrite:
        return None
    if changed is None:
        return load_progress(job.run / RESUME_NAME)
    if epochs:
        raise SettingsError(
            f"{job.run}: holds a finished run with {changed}; choose another -o, or add --overwrite to replace it"
        )
    raise SettingsError(
        f"{job.run}: holds an interrupted run with {changed}, and going on would mix the two; give what it was "
        "started with, choose another -o, or add --overwrite to start anew"
    )
