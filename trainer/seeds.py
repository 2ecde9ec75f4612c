"""Several seeds of one training at a time, each in a process of its own: small images do not gain from threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from sdcore.files import read_json
from sdcore.progress import print_note
from sdcore.torch_runtime import choose_device

from .assemble import notes_on_sets
from .config import TrainConfig
from .errors import SettingsError
from .history import count_epochs
from .pictures import memory_limit
from .processes import run_jobs, sensible_processes
from .ranks import read_ranks
from .run_folder import DATA_NAME, refuse_mixed_layout
from .run_names import BEST_NAME
from .train import train
from .train_result import TrainResult, read_result


@dataclass(frozen=True)
class _SeedJob:
    """One seed, as it travels to a process."""

    folder: Path
    data: Path
    config: TrainConfig
    generated: tuple[Path, ...]
    control_for: tuple[Path, ...]
    uncurated: bool
    strict: bool
    overwrite: bool
    cache_gb: float
    tensorboard: bool

    @property
    def name(self) -> str:
        return str(self.folder)


def processes_for(config: TrainConfig, seeds: Sequence[int], processes: int | None = None) -> int:
    """How many seeds are trained at a time: as many as asked; else one a physical core on the CPU, one on a GPU.

    One where torchrun started this process, since all of its processes then train each seed together.

    Raises:
        SettingsError: fewer than 1 were asked for, any where torchrun decides, or the device is not there.
    """
    if processes is not None and processes < 1:
        raise SettingsError(f"processes: found {processes}; expected 1 or more")
    together = read_ranks().count
    if together > 1 and processes is not None:
        raise SettingsError(
            f"processes: found {processes}, but torchrun started {together}, which train each seed together; leave out "
            "--processes, or start without torchrun to train several seeds at a time"
        )
    if together > 1:
        return 1
    if processes is None:
        on_gpu = choose_device(config.device).type == "cuda"
        processes = 1 if on_gpu else max(1, sensible_processes() // config.threads)
    return min(processes, len(seeds))


def train_seeds(
    data: Path,
    run: Path,
    config: TrainConfig,
    *,
    seeds: Sequence[int],
    processes: int | None = None,
    generated: Sequence[Path] = (),
    control_for: Sequence[Path] = (),
    uncurated: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    cache_gb: float | None = None,
    tensorboard: bool = False,
) -> list[TrainResult]:
    """As `train`, with several seeds at a time; the runs are the same to the bit.

    Processes are spawned, so a script that calls this needs `if __name__ == "__main__":`.

    Args:
        data: see `train`, as are all but these two.
        run: with several seeds each is `run/seed-<seed>`.
        config: see `train`.
        seeds: one or more, no two alike.
        processes: at a time; None: one a physical core on the CPU, one on a GPU.
        generated: see `train`.
        control_for: see `train`.
        uncurated: see `train`.
        strict: see `train`.
        overwrite: see `train`.
        progress: show a bar over the epochs of all seeds on stderr.
        cache_gb: most memory in GB for the decoded pictures of all processes together; None: half of what is free.
        tensorboard: see `train`.

    Raises:
        JobFailed: a seed could not be trained; the message names its run, and says why.
        KeyboardInterrupt: Ctrl-C; every finished epoch is saved.
    """
    several = processes_for(config, seeds, processes)
    common = {"uncurated": uncurated, "strict": strict, "overwrite": overwrite, "tensorboard": tensorboard}
    if several <= 1 or len(set(seeds)) < len(seeds):
        return train(
            data,
            run,
            config,
            seeds=seeds,
            generated=generated,
            control_for=control_for,
            progress=progress,
            cache_gb=cache_gb,
            **common,
        )
    refuse_mixed_layout(run, several=True)
    jobs = [
        _SeedJob(
            folder=run / f"seed-{seed}",
            data=data,
            config=config.model_copy(update={"seed": seed}),
            generated=tuple(generated),
            control_for=tuple(control_for),
            cache_gb=memory_limit(cache_gb) / 1e9 / several,
            **common,
        )
        for seed in seeds
    ]
    before = {job.folder: _written_at(job.folder) for job in jobs}
    _run(jobs, several, config.epochs, progress=progress)
    facts = read_json(jobs[0].folder / DATA_NAME)
    for words in notes_on_sets(facts):
        print_note(words, progress)
    for words in facts.get("warnings", []):
        print_note(f"warning: {data}: {words}", progress)
    results = [read_result(job.folder, job.config, n_classes=len(facts["classes"])) for job in jobs]
    return [replace(one, was_there=before[one.run] == _written_at(one.run)) for one in results]


def _run(jobs: Sequence[_SeedJob], several: int, epochs: int, *, progress: bool) -> None:
    done_epochs: dict[Path, int] = {}
    with tqdm(total=len(jobs) * epochs, desc=f"{len(jobs)} seeds", unit="epoch", disable=not progress) as bar:

        def done(job: _SeedJob) -> None:
            done_epochs[job.folder] = epochs
            bar.update(sum(done_epochs.values()) - bar.n)

        def look(running: Sequence[_SeedJob]) -> None:
            done_epochs.update({job.folder: count_epochs(job.folder) for job in running})
            bar.update(sum(done_epochs.values()) - bar.n)

        try:
            run_jobs(jobs, _train_one_seed, processes=several, done=done, look=look)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt("stopped; every finished epoch is saved, and the same command goes on") from stop


def _train_one_seed(job: _SeedJob) -> None:
    train(
        job.data,
        job.folder,
        job.config,
        generated=job.generated,
        control_for=job.control_for,
        uncurated=job.uncurated,
        strict=job.strict,
        overwrite=job.overwrite,
        progress=False,
        cache_gb=job.cache_gb,
        tensorboard=job.tensorboard,
    )


def _written_at(run: Path) -> int | None:
    """When its weights were written; None when there are none."""
    try:
        return (run / BEST_NAME).stat().st_mtime_ns
    except OSError:
        return None
