"""Work in several processes: jobs, files mapped by a function, and the ranks that torchrun gives. Loads no torch."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait as _wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .errors import DataError, SettingsError, TrainerError

_POLL_S = 0.5
_END_S = 10.0
"""A process that has not ended after this time is killed."""


class FolderJob(Protocol):
    """Anything with a name, and a folder for the traceback of an unexpected error; must be picklable."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def folder(self) -> Path:
        """Where the traceback is written."""


JobT = TypeVar("JobT", bound=FolderJob)

ERROR_NAME = "error.txt"


class JobFailed(TrainerError):
    """A job failed; the message names it and says why."""

    def __init__(self, name: str, words: str) -> None:
        self.name = name
        super().__init__(f"{name}: {words}")


def default_processes() -> int:
    """One per physical core that this process may use; per logical core where the system does not distinguish them."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii").strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def run_jobs(
    jobs: Sequence[JobT],
    work: Callable[[JobT], None],
    *,
    processes: int,
    gpus: Sequence[str] = (),
    done: Callable[[JobT], None],
    look: Callable[[Sequence[JobT]], None],
) -> None:
    """Work through the jobs in order, several at a time.

    Args:
        jobs: in the order in which they start.
        work: does one job; defined at the top of a module, so that a new process can import it.
        processes: how many; 0 works in this one.
        gpus: names of CUDA devices, one per process in turn; empty: the environment stays as it is.
        done: called in this process after each job.
        look: called in this process about twice a second, with the running jobs.

    Raises:
        JobFailed: a job failed; the running ones are ended, the finished ones stay as they are.
    """
    if processes == 0:
        for job in jobs:
            try:
                work(job)
            except TrainerError as error:
                raise JobFailed(job.name, str(error)) from error
            done(job)
        return
    waiting = list(reversed(jobs))
    workers = [_WorkerProcess(work, gpus[n % len(gpus)] if gpus else None) for n in range(min(processes, len(jobs)))]
    try:
        for worker in workers:
            worker.take(waiting.pop())
        while any(worker.job is not None for worker in workers):
            wait([worker.connection for worker in workers if worker.job is not None], timeout=_POLL_S)
            for worker in workers:
                finished = worker.collect()
                if finished is None:
                    continue
                done(finished)
                if waiting:
                    worker.take(waiting.pop())
            look([worker.job for worker in workers if worker.job is not None])
    finally:
        for worker in workers:
            worker.end()


class _WorkerProcess:
    """A process and its current job."""

    def __init__(self, work: Callable[[Any], None], gpu: str | None) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        # A daemon, so that it ends with this process.
        self._process = context.Process(target=_serve, args=(theirs, work, gpu), daemon=True)
        self._process.start()
        # Only the child may hold its end: then `recv` raises EOFError here when the child dies.
        theirs.close()
        self.job: Any = None

    def take(self, job: Any) -> None:
        self.job = job
        with suppress(BrokenPipeError):  # `collect` reports a process that died
            self.connection.send(job)

    def collect(self) -> Any:
        """The job if it is finished, else None.

        Raises:
            JobFailed: it failed, or its process died.
        """
        if self.job is None or not self.connection.poll():
            return None
        try:
            failure = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(_END_S)
            raise JobFailed(
                self.job.name,
                f"its process died (exit code {self._process.exitcode}), perhaps out of memory; finished ones are kept "
                "and the same command continues; try fewer processes",
            ) from None
        if failure:
            raise JobFailed(self.job.name, failure)
        finished, self.job = self.job, None
        return finished

    def end(self) -> None:
        if self.job is None:
            with suppress(OSError):
                self.connection.send(None)
        else:
            self._process.terminate()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()


def _serve(connection: Connection[Any, Any], work: Callable[[Any], None], gpu: str | None) -> None:
    """Main loop of a process: receive jobs, send "" or the error, until None arrives or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent, which ends this process
    # An orderly exit, so that system resources are released without a warning.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        if job is None:
            return
        failure = _try(work, job)
        with suppress(OSError):
            connection.send(failure)


def _try(work: Callable[[Any], None], job: Any) -> str:
    try:
        work(job)
    except TrainerError as error:
        return str(error)
    except Exception as error:  # a bug or a fault of the machine: the user must see it too
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / ERROR_NAME).write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {error}; the traceback is in {job.folder / ERROR_NAME}"
    return ""


_CHUNK = 32
_CHUNKS_AHEAD = 4
"""Chunks queued for each worker: enough to keep it busy, few enough to keep memory flat."""

_CRASHES_IN_A_ROW = 3
"""If so many workers die before any file was read, the files are not the cause."""

MAX_DEFAULT_WORKERS = 8
FEW_FILES = 500
"""With fewer files, starting processes costs more than it saves."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class CrashedFile:
    """In place of the result of a file whose process died or ran out of memory."""

    reason: str


def default_workers(files: int) -> int:
    """Worker processes for a number of files: 0 for few, else one per core that this process may use, at most 8."""
    return 0 if files < FEW_FILES else min(MAX_DEFAULT_WORKERS, usable_cores())


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_files(
    function: Callable[[Path], Result], paths: Sequence[Path], *, workers: int, progress: bool, label: str
) -> list[Result | CrashedFile]:
    """`function` of every path, in the order of `paths`.

    Args:
        function: defined at the top of a module, so that a new process can import it.
        workers: processes; 0 calls the function in this one.

    Raises:
        ValueError: `workers` is negative.
        DataError: worker processes cannot start.
    """
    if workers < 0:
        raise ValueError(f"workers: found {workers}; expected 0 or more")
    from tqdm import tqdm

    with tqdm(total=len(paths), desc=label, unit="file", disable=not progress) as bar:
        if workers == 0:
            results: list[Result | CrashedFile] = []
            for path in paths:
                results.append(_call(function, path))
                bar.update()
            return results
        return _map_in_processes(function, paths, workers, bar.update)


def _map_in_processes(
    function: Callable[[Path], Result], paths: Sequence[Path], workers: int, advance: Callable[[int], object]
) -> list[Result | CrashedFile]:
    results: dict[int, Result | CrashedFile] = {}
    todo = [range(start, min(start + _CHUNK, len(paths))) for start in range(0, len(paths), _CHUNK)]
    # A dead worker breaks its whole pool, and any submitted chunk may be the cause: their files are read one by one.
    suspects = _run(function, paths, todo, workers, results, advance)
    alone = [range(place, place + 1) for chunk in suspects for place in chunk]
    while alone and (dead := _run(function, paths, alone, 1, results, advance, ahead=1)):
        results[dead[0].start] = CrashedFile("crashed the process that read it: damaged, or too large for the memory")
        advance(1)
        if len(results) >= _CRASHES_IN_A_ROW and all(isinstance(one, CrashedFile) for one in results.values()):
            raise DataError(
                f"{paths[0]}: worker processes die before they have read anything; read without them (workers 0). "
                "A script of your own that uses workers needs 'if __name__ == \"__main__\":' around its work"
            )
        alone = [chunk for chunk in alone if chunk.start not in results]
    return [results[place] for place in range(len(paths))]


def _run(
    function: Callable[[Path], Result],
    paths: Sequence[Path],
    chunks: Sequence[range],
    workers: int,
    results: dict[int, Result | CrashedFile],
    advance: Callable[[int], object],
    ahead: int | None = None,
) -> list[range]:
    """Fill `results`; return the chunks that were being processed when a worker died.

    With `ahead` None the remaining chunks then go to a new pool; else the first death ends the run.
    """
    waiting = iter(chunks)
    suspects: list[range] = []
    left = True
    while left:
        left = False
        submitted: set[range] = set()
        running: dict[Future[list[Result | CrashedFile]], range] = {}
        with _pool(workers) as pool:
            try:
                while True:
                    while len(running) < (ahead or workers * _CHUNKS_AHEAD) and (chunk := next(waiting, None)):
                        submitted.add(chunk)
                        running[pool.submit(_call_each, function, [paths[place] for place in chunk])] = chunk
                    if not running:
                        break
                    for done in _wait(running, return_when=FIRST_COMPLETED).done:
                        chunk = running[done]
                        results.update(zip(chunk, done.result(), strict=True))
                        advance(len(chunk))
                        submitted.remove(running.pop(done))
            except BrokenProcessPool:
                suspects += sorted(submitted, key=lambda one: one.start)
                left = ahead is None
    return suspects


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    from PIL import Image

    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(Image.MAX_IMAGE_PIXELS,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(max_image_pixels: int | None) -> None:
    from PIL import Image

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    Image.MAX_IMAGE_PIXELS = max_image_pixels


def _call_each(function: Callable[[Path], Result], paths: Sequence[Path]) -> list[Result | CrashedFile]:
    return [_call(function, path) for path in paths]


def _call(function: Callable[[Path], Result], path: Path) -> Result | CrashedFile:
    try:
        return function(path)
    except MemoryError:
        return CrashedFile("too large for the memory of this machine")


_MARK = "TORCHELASTIC_RUN_ID"
"""Only torchrun sets this one; job schedulers set RANK and WORLD_SIZE too, for other kinds of processes."""


@dataclass(frozen=True)
class Ranks:
    """The place of a process among those that train together; the default is a single process."""

    rank: int = 0
    """From 0, over all machines."""
    count: int = 1
    """Processes on all machines."""
    local_rank: int = 0
    """From 0, on this machine."""
    local_count: int = 1
    """Processes on this machine."""

    @property
    def first(self) -> bool:
        """Whether this process decides, writes and prints for all."""
        return self.rank == 0

    @property
    def leads_machine(self) -> bool:
        """Whether this process does the work needed once per machine."""
        return self.local_rank == 0


def read_ranks(environment: Mapping[str, str] | None = None) -> Ranks:
    """The place that torchrun gave this process; a single process without torchrun.

    Args:
        environment: variables; None: those of this process.

    Raises:
        SettingsError: torchrun's variables are incomplete or contradict each other.
    """
    found = os.environ if environment is None else environment
    if _MARK not in found:
        return Ranks()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        rank, count, local_rank, local_count = (int(found[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"environment: {_MARK} is set, but {', '.join(names)} are not four numbers ({error}); "
            "start with torchrun, or without its variables"
        ) from error
    if not (0 <= local_rank < local_count <= count and 0 <= rank < count):
        raise SettingsError(
            f"environment: RANK {rank} of WORLD_SIZE {count}, LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE "
            f"{local_count} contradict each other; start with torchrun, or without its variables"
        )
    return Ranks(rank, count, local_rank, local_count)


def refuse_torchrun(what: str) -> None:
    """Refuse a command that does not work together over processes: each process of torchrun would do all of it.

    Args:
        what: name of the command, with which the message begins.

    Raises:
        SettingsError: this is one of several processes of torchrun.
    """
    ranks = read_ranks()
    if ranks.count > 1:
        raise SettingsError(
            f"{what}: torchrun started {ranks.count} processes, and each would do the same work; start it without "
            "torchrun, which is for 'trainer train' alone"
        )
