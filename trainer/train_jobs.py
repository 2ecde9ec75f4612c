"""What is there already of each run a job makes, and all that can be refused before one is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from sdcore.progress import print_note
from sdcore.torch_runtime import choose_device

from .assemble import TrainingData, build_training_set
from .config import TrainingJob, require_whole_parts
from .errors import SettingsError
from .group import ProcessGroup
from .messages import text
from .near import NEAR_NAME
from .resume import Progress, load_progress
from .run_folder import CONFIG_NAME, finished_epochs, refuse_mixed_layout, what_changed
from .run_names import RESUME_NAME
from .sampling import steps_in_epoch
from .start import with_weights_hash
from .tasks.classification import Classification
from .train_result import TrainResult, read_result


@dataclass(frozen=True)
class PreparedRuns:
    """What is trained on, and what is there of the runs."""

    data: TrainingData
    there: tuple[TrainResult | Progress | None, ...]
    """Of each seed in order: a finished run, the epochs of an interrupted one, or None for nothing that is wanted."""


def prepare_runs(job: TrainingJob, group: ProcessGroup, *, progress: bool) -> PreparedRuns:
    """Read and check everything before the first epoch; nothing is written but the page of look-alikes.

    The first process does it, the others wait for what it found.

    Args:
        job: all seeds of it.
        group: the processes that train together.
        progress: show bars, notes and warnings on stderr.

    Raises:
        DataError: the data cannot be used (with its branches LeakageError and GeneratedSetError).
        SettingsError: a run folder holds another run, or the settings do not fit the processes or the images.
        CheckpointError: the weights to start from, or the state to go on from, cannot be used.
        SaidElsewhere: in a process that is not the first, whatever the first one raised.
    """
    return group.on_first(partial(_prepare, job, group, progress=progress))


def _prepare(job: TrainingJob, group: ProcessGroup, *, progress: bool) -> PreparedRuns:
    _refuse_for_processes(job, group)
    job = replace(job, config=with_weights_hash(job.config))
    run, runs = job.run, job.by_seed()
    refuse_mixed_layout(run, several=len(runs) > 1)
    data = build_training_set(
        job,
        near_sheet=run / NEAR_NAME if job.strict and not (run / CONFIG_NAME).exists() else None,
        progress=progress,
    )
    for words in data.notes:
        print_note(words, progress)
    for warning in data.warnings:
        print_note(f"warning: {job.data}: {text(warning)}", progress)
    there = tuple(_look_up(one, data) for one in runs)
    if not all(isinstance(one, TrainResult) for one in there):
        Classification(data.classes, job.config).refuse_unusable_weights()
    if None in there:
        parts = job.config.accumulate * group.count
        steps_in_epoch(job.config.images_per_epoch or len(data.train), parts, parts=parts)  # refuses too few
    return PreparedRuns(data, there)


def _refuse_for_processes(job: TrainingJob, group: ProcessGroup) -> None:
    """Refuse what several processes cannot do together, or one cannot do alone.

    Raises:
        SettingsError: a step's images do not divide, or batch statistics cannot be had over the processes.
    """
    config = job.config
    if config.sync_bn and (group.count == 1 or choose_device(config.device).type != "cuda"):
        found = "one process" if group.count == 1 else "the CPU"
        raise SettingsError(f"sync_bn: found {found}; it is for several processes on CUDA, leave it out")
    if config.batch_size != "auto":
        try:
            require_whole_parts(config.batch_size, config.accumulate, group.count)
        except ValueError as error:
            raise SettingsError(str(error)) from error


def _look_up(job: TrainingJob, data: TrainingData) -> TrainResult | Progress | None:
    """What is there already of a run of one seed: all of it, some epochs, or (None) nothing that is wanted."""
    epochs = finished_epochs(job.run)
    broken_off = (job.run / RESUME_NAME).is_file()
    if not epochs and not broken_off:
        return None
    changed = what_changed(job.run, job.config, data.summary["fingerprint"])
    if changed is None and epochs:
        return read_result(job.run, job.config, n_classes=len(data.classes))
    if job.overwrite:
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
