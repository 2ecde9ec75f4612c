"""Trains several seeds at a time, each in its own process, since training on small images gains little from threads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from sdcore.files import read_json
from sdcore.progress import print_note
from sdcore.torch_runtime import choose_device

from ..config import TrainConfig, TrainingJob
from ..data.training_set import notes_on_sets
from ..errors import SettingsError
from ..evaluation.history import count_epochs
from ..processes import default_processes, read_ranks, run_jobs
from ..run_files import BEST_NAME, DATA_NAME
from .image_cache import memory_limit
from .run_folder import TrainResult, read_result, refuse_mixed_layout
from .train import train


def processes_for(config: TrainConfig, seeds: Sequence[int], processes: int | None = None) -> int:
    """Number of seeds trained at a time: `processes`; by default one per physical core on the CPU, one on a GPU.

    It is 1 under torchrun, whose processes train each seed together.

    Raises:
        SettingsError: `processes` is below 1, or given under torchrun; or the device is not available.
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
        processes = 1 if on_gpu else max(1, default_processes() // config.threads)
    return min(processes, len(seeds))


def train_seeds(job: TrainingJob, *, processes: int | None = None, progress: bool = True) -> list[TrainResult]:
    """As `train`, with several seeds at a time; the runs are the same to the bit.

    Processes are spawned, so a script that calls this needs `if __name__ == "__main__":`. `job.cache_gb` is for all
    processes together; `processes` is by default as `processes_for` says.

    Raises:
        JobFailed: a seed could not be trained; the message names its run and the reason.
        KeyboardInterrupt: Ctrl-C; every finished epoch is saved.
    """
    seeds = job.all_seeds
    several = processes_for(job.config, seeds, processes)
    if several <= 1 or len(set(seeds)) < len(seeds):
        return train(job, progress=progress)
    refuse_mixed_layout(job.run, several=True)
    jobs = replace(job, cache_gb=memory_limit(job.cache_gb) / 1e9 / several).by_seed()
    before = {one.run: _written_at(one.run) for one in jobs}
    _run(jobs, several, job.config.epochs, progress=progress)
    facts = read_json(jobs[0].run / DATA_NAME)
    for words in notes_on_sets(facts):
        print_note(words, progress)
    for words in facts.get("warnings", []):
        print_note(f"warning: {job.data}: {words}", progress)
    results = [read_result(one.run, one.config, n_classes=len(facts["classes"])) for one in jobs]
    return [replace(one, was_there=before[one.run] == _written_at(one.run)) for one in results]


def _run(jobs: Sequence[TrainingJob], several: int, epochs: int, *, progress: bool) -> None:
    done_epochs: dict[Path, int] = {}
    with tqdm(total=len(jobs) * epochs, desc=f"{len(jobs)} seeds", unit="epoch", disable=not progress) as bar:

        def show(counts: dict[Path, int]) -> None:
            done_epochs.update(counts)
            bar.update(sum(done_epochs.values()) - bar.n)

        try:
            run_jobs(
                jobs,
                _train_one_seed,
                processes=several,
                done=lambda job: show({job.run: epochs}),
                look=lambda running: show({job.run: count_epochs(job.run) for job in running}),
            )
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt("stopped; every finished epoch is saved, and the same command goes on") from stop


def _train_one_seed(job: TrainingJob) -> None:
    train(job, progress=False)


def _written_at(run: Path) -> int | None:
    """When the run's weights were written; None when there are none."""
    try:
        return (run / BEST_NAME).stat().st_mtime_ns
    except OSError:
        return None
