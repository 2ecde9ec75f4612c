"""Run an experiment from its settings to its result: sets, parallel cells, judgement; it continues where it stopped."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from tqdm import tqdm

from sdcore.files import lock_folder, write_json
from sdcore.torch_runtime import choose_device

from ..errors import SettingsError
from ..evaluation.history import count_epochs
from ..evaluation.stats import RESAMPLES
from ..processes import default_processes, refuse_torchrun, run_jobs
from .collect import collect
from .config import ExperimentConfig
from .plan import CELLS_FOLDER, Fold, PlannedArm
from .prepare import Prepared, prepare
from .records import CELL_NAME, CellJob, declare, identity_of, read_done, run_cell, started_identity
from .result import EXPERIMENT_NAME, ExperimentResult, experiment_as_json
from .sets import ArmSet, classical_identity, classical_set, generated_identity, generated_set

SETS_FOLDER = "sets"


class Stopped(KeyboardInterrupt):
    """Ctrl-C stopped an experiment; the message says what is kept."""


@dataclass(frozen=True)
class Workers:
    """The processes that train the cells."""

    processes: int
    gpus: tuple[str, ...]
    """CUDA devices that they share; empty on a CPU."""


def run_experiment(
    config: ExperimentConfig,
    *,
    processes: int | None = None,
    overwrite: bool = False,
    resamples: int = RESAMPLES,
    progress: bool = True,
    work_cell: Callable[[CellJob], None] = run_cell,
) -> ExperimentResult:
    """Run every cell that is not done, then judge; writes `OUTPUT/experiment.json`.

    Args:
        processes: number of parallel cells, each in its own process; None: one per physical core, or one per GPU;
            0 runs them in this process.
        overwrite: replace cells that were trained with other settings or images.
        work_cell: trains and predicts one cell.

    Raises:
        DataError: the data cannot be used; LeakageError, a subclass, if it leaks.
        GeneratedSetError: a set cannot be used.
        SettingsError: a setting cannot be used, cells have other settings, or another metric was declared.
        EvaluationError: labels, Normal class or primary metric do not fit together.
        JobFailed: a cell failed; the message names it, and finished cells are kept.
        Stopped: Ctrl-C; finished cells and epochs are kept.
        FolderInUse: another experiment writes into the same folder.
    """
    refuse_torchrun("experiment")
    workers = choose_workers(config, processes)
    prepared = prepare(config, progress=progress)
    prepared.output.mkdir(parents=True, exist_ok=True)
    with lock_folder(prepared.output, busy="another 'trainer experiment' is at work here"):
        # Declared before any training; refused before any set is written.
        cells = (prepared.output / CELLS_FOLDER).rglob(CELL_NAME)
        finished = sum(read_done(path.parent) is not None for path in cells)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        declaration = declare(prepared.config, finished=finished, now=now)
        joined = plan_sets(prepared)
        jobs = plan_jobs(prepared, joined)
        others = [job for job in jobs if started_identity(job.folder) not in (None, job.identity)]
        if others and not overwrite:
            raise SettingsError(
                f"{others[0].folder}: trained with other settings or images, as are {len(others)} of {len(jobs)} "
                "cells; put them back, choose another 'output', or add --overwrite to train these cells anew"
            )
        make_sets(prepared, joined, progress=progress)
        _run(jobs, workers, prepared.config.train.epochs, work_cell, progress=progress)
        result = collect(prepared, joined, declaration, resamples=resamples, progress=progress)
        write_json(prepared.output / EXPERIMENT_NAME, {**experiment_as_json(result), "late": declaration.late})
        return result


def choose_workers(config: ExperimentConfig, processes: int | None) -> Workers:
    """How many cells run in parallel, and on which devices.

    Raises:
        SettingsError: the number is negative, or there is no such device.
    """
    if processes is not None and processes < 0:
        raise SettingsError(f"processes: found {processes}; expected 0 or more")
    if choose_device(config.train.device).type != "cuda":
        return Workers(default_processes() if processes is None else processes, ())
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = tuple(named.split(",")) if named else tuple(str(n) for n in range(torch.cuda.device_count()))
    return Workers(len(gpus) if processes is None else processes, gpus)


def plan_sets(prepared: Prepared) -> dict[tuple[str, int | None], ArmSet]:
    """The folders of added images, for every arm and fold that has any; nothing is written."""
    planned = {}
    for arm, fold in _arms_with_images(prepared):
        images = prepared.joining[arm.name, fold.number]
        folder = prepared.output / SETS_FOLDER / arm.name
        identity = (
            generated_identity(images)
            if arm.kind == "generated"
            else classical_identity(images, **_augmentation(prepared))
        )
        number = fold.number
        planned[arm.name, number] = ArmSet(folder if number is None else folder / f"fold-{number}", identity)
    return planned


def make_sets(prepared: Prepared, planned: Mapping[tuple[str, int | None], ArmSet], *, progress: bool = False) -> None:
    """Make the planned folders; existing ones are kept."""
    for arm, fold in _arms_with_images(prepared):
        folder, images = planned[arm.name, fold.number].path, prepared.joining[arm.name, fold.number]
        if arm.kind == "generated":
            generated_set(folder, images, [prepared.sets[key] for key in arm.set_keys], progress=progress)
        else:
            classical_set(folder, images, fold, **_augmentation(prepared), progress=progress)


def _arms_with_images(prepared: Prepared) -> list[tuple[PlannedArm, Fold]]:
    """Every arm and fold to which images are added."""
    return [
        (arm, fold) for arm in prepared.arms for fold in prepared.folds if (arm.name, fold.number) in prepared.joining
    ]


def _augmentation(prepared: Prepared) -> dict[str, Any]:
    """What decides the images of the classical control, besides their sources."""
    config = prepared.config
    return {"config": prepared.augment, "imgsz": config.train.imgsz, "seed": config.seed}


def is_done(job: CellJob) -> bool:
    """Whether the cell is finished with exactly these settings and images."""
    done = read_done(job.folder)
    return done is not None and done.get("identity") == job.identity


def plan_jobs(prepared: Prepared, joined: Mapping[tuple[str, int | None], ArmSet]) -> list[CellJob]:
    """The job of every cell, in the order of the cells; nothing is written."""
    jobs = []
    for cell in prepared.cells:
        fold, config = prepared.fold(cell.fold), prepared.settings(cell)
        added = joined.get((cell.arm.name, cell.fold))
        identity = identity_of(config, fold.fingerprint, added.identity if added else "")
        folder = prepared.output / cell.folder
        jobs.append(CellJob(cell.name, folder, fold.dataset.root, config, added.path if added else None, identity))
    return jobs


def _run(
    jobs: Sequence[CellJob], workers: Workers, epochs: int, work_cell: Callable[[CellJob], None], *, progress: bool
) -> None:
    """Run the jobs that are not done; the bar counts epochs, also those of earlier runs."""
    todo = [job for job in jobs if not is_done(job)]
    left = {job.folder for job in todo}
    kept = {job.folder: count_epochs(job.folder) if job.folder in left else epochs for job in jobs}
    with tqdm(
        total=len(jobs) * epochs,
        initial=sum(kept.values()),
        desc=f"{len(jobs)} cells",
        unit="epoch",
        disable=not progress,
        smoothing=0.05,
        mininterval=1.0,
    ) as bar:

        def show() -> None:
            bar.set_postfix_str(f"{len(jobs) - len(left)} done", refresh=False)
            bar.update(sum(kept.values()) - bar.n)

        def done(job: CellJob) -> None:
            left.discard(job.folder)
            kept[job.folder] = epochs
            show()

        def look(running: Sequence[CellJob]) -> None:
            kept.update({job.folder: count_epochs(job.folder) for job in running})
            show()

        try:
            run_jobs(todo, work_cell, processes=workers.processes, gpus=workers.gpus, done=done, look=look)
        except KeyboardInterrupt as stop:
            raise Stopped(
                f"stopped; {len(jobs) - len(left)} of {len(jobs)} cells are done and every finished epoch is saved; "
                "the same command goes on"
            ) from stop
