"""An experiment from its file to its result: sets, cells in parallel, judgement; taken up again where it stopped."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from tqdm import tqdm

from sdcore.files import lock_folder, write_json
from sdcore.torch_runtime import choose_device

from ..errors import SettingsError
from ..evaluation.history import count_epochs
from ..evaluation.stats import RESAMPLES
from ..processes import default_processes, refuse_torchrun, run_jobs
from .collect import collect
from .config import ExperimentConfig
from .plan import CELLS_FOLDER
from .prepare import Prepared, prepare
from .records import CELL_NAME, CellJob, declare, identity_of, read_done, run_cell, started_identity
from .result import EXPERIMENT_NAME, ExperimentResult, experiment_as_json
from .sets import ArmSet, classical_identity, classical_set, generated_identity, generated_set

SETS_FOLDER = "sets"


class Stopped(KeyboardInterrupt):
    """Ctrl-C stopped an experiment; its message says what is kept."""


@dataclass(frozen=True)
class Workers:
    """The processes that train the cells."""

    processes: int
    gpus: tuple[str, ...]
    """CUDA devices shared among them; empty on a CPU."""


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
        processes: cells at a time, each in a process with its own threads; None: one a physical core, or one a GPU;
            0 works in this process.
        overwrite: replace cells that were trained with other settings or images.
        work_cell: trains and predicts one cell.

    Raises:
        DataError: the data cannot be used (with its branch LeakageError).
        GeneratedSetError: a set cannot be used.
        SettingsError: a setting that cannot be used, cells of other settings, or another declared metric.
        EvaluationError: labels, Normal class or primary metric do not fit together.
        JobFailed: a cell failed; it is named, and finished ones are kept.
        Stopped: Ctrl-C; finished cells and epochs are kept.
        FolderInUse: another experiment writes into the same folder.
    """
    refuse_torchrun("experiment")
    workers = choose_workers(config, processes)
    prepared = prepare(config, progress=progress)
    prepared.output.mkdir(parents=True, exist_ok=True)
    with lock_folder(prepared.output, busy="another 'trainer experiment' is at work here"):
        cells = (prepared.output / CELLS_FOLDER).rglob(CELL_NAME)
        finished = sum(read_done(path.parent) is not None for path in cells)
        declaration = declare(prepared.config, finished=finished, now=_now())
        joined = plan_sets(prepared)
        jobs = plan_jobs(prepared, joined)
        _refuse_others(jobs, overwrite=overwrite)
        make_sets(prepared, joined, progress=progress)
        todo = [job for job in jobs if not is_done(job)]
        _run(todo, jobs, workers, prepared.config.train.epochs, work_cell, progress=progress)
        result = collect(prepared, joined, declaration, resamples=resamples, progress=progress)
        write_json(prepared.output / EXPERIMENT_NAME, {**experiment_as_json(result), "late": declaration.late})
        return result


def choose_workers(config: ExperimentConfig, processes: int | None) -> Workers:
    """How many cells at a time, and on which devices.

    Raises:
        SettingsError: a negative number, or a device that is not there.
    """
    if processes is not None and processes < 0:
        raise SettingsError(f"processes: found {processes}; expected 0 or more")
    if choose_device(config.train.device).type != "cuda":
        return Workers(default_processes() if processes is None else processes, ())
    import os

    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = tuple(named.split(",")) if named else tuple(str(n) for n in range(torch.cuda.device_count()))
    return Workers(len(gpus) if processes is None else processes, gpus)


def plan_sets(prepared: Prepared) -> dict[tuple[str, int | None], ArmSet]:
    """The folders of images that join, for every arm and fold that has any, whether they are there or not."""
    planned = {}
    for arm in prepared.arms:
        for fold in prepared.folds:
            images = prepared.joining.get((arm.name, fold.number))
            if images is None:
                continue
            folder = prepared.output / SETS_FOLDER / arm.name
            if arm.kind == "generated":
                identity = generated_identity(images)
            else:
                identity = classical_identity(
                    images, config=prepared.augment, imgsz=prepared.config.train.imgsz, seed=prepared.config.seed
                )
            planned[arm.name, fold.number] = ArmSet(
                folder if fold.number is None else folder / f"fold-{fold.number}", identity
            )
    return planned


def make_sets(prepared: Prepared, planned: Mapping[tuple[str, int | None], ArmSet], *, progress: bool = False) -> None:
    """Make the planned folders; existing ones are kept."""
    for arm in prepared.arms:
        for fold in prepared.folds:
            one = planned.get((arm.name, fold.number))
            if one is None:
                continue
            images = prepared.joining[arm.name, fold.number]
            if arm.kind == "generated":
                generated_set(one.path, images, [prepared.sets[key] for key in arm.set_keys], progress=progress)
            else:
                classical_set(
                    one.path,
                    images,
                    fold,
                    config=prepared.augment,
                    imgsz=prepared.config.train.imgsz,
                    seed=prepared.config.seed,
                    progress=progress,
                )


def is_done(job: CellJob) -> bool:
    """Whether the cell is finished with these very settings and images."""
    done = read_done(job.folder)
    return done is not None and done.get("identity") == job.identity


def plan_jobs(prepared: Prepared, joined: Mapping[tuple[str, int | None], ArmSet]) -> list[CellJob]:
    """The job of every cell, in the order of the cells; nothing is written."""
    jobs = []
    for cell in prepared.cells:
        fold = prepared.fold(cell.fold)
        joins = joined.get((cell.arm.name, cell.fold))
        config = prepared.settings(cell)
        jobs.append(
            CellJob(
                name=cell.name,
                folder=prepared.output / cell.folder,
                data=fold.dataset.root,
                config=config,
                joins=joins.path if joins else None,
                identity=identity_of(config, fold.fingerprint, joins.identity if joins else ""),
            )
        )
    return jobs


def _refuse_others(jobs: Sequence[CellJob], *, overwrite: bool) -> None:
    others = [job for job in jobs if started_identity(job.folder) not in (None, job.identity)]
    if others and not overwrite:
        raise SettingsError(
            f"{others[0].folder}: trained with other settings or images, as are {len(others)} of {len(jobs)} cells; "
            "put them back, choose another 'output', or add --overwrite to train these cells anew"
        )


def _run(
    todo: Sequence[CellJob],
    jobs: Sequence[CellJob],
    workers: Workers,
    epochs: int,
    work_cell: Callable[[CellJob], None],
    *,
    progress: bool,
) -> None:
    left = {job.folder for job in todo}
    kept = {job.folder: epochs for job in jobs if job.folder not in left}
    kept.update({job.folder: count_epochs(job.folder) for job in todo})
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


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
