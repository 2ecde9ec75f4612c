"""Jobs over processes of one thread each; a job that fails or kills its process is named."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .errors import TrainerError

_LOOK_EVERY_S = 0.5
_END_S = 10.0


class Job(Protocol):
    """Anything with a name, and a folder for the words of an unforeseen error; it must travel between processes."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def folder(self) -> Path:
        """Its own."""


JobT = TypeVar("JobT", bound=Job)

ERROR_NAME = "error.txt"


class JobFailed(TrainerError):
    """A job did not come to its end; the message names it and says why."""

    def __init__(self, name: str, words: str) -> None:
        self.name = name
        super().__init__(f"{name}: {words}")


def sensible_processes() -> int:
    """One a physical core that this process may use; logical ones where the system does not tell them apart."""
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
        jobs: what to do.
        work: does one; at the top of a module, so that a new process can import it.
        processes: how many; 0 works in this one.
        gpus: names of CUDA devices, dealt out to the processes in turn; empty leaves them as they are.
        done: called here after each job.
        look: called here about twice a second, with the jobs that are running.

    Raises:
        JobFailed: one failed; those that were running are ended, the finished ones are not touched.
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
    hands = [_Hand(work, gpus[n % len(gpus)] if gpus else None) for n in range(min(processes, len(jobs)))]
    try:
        for hand in hands:
            hand.take(waiting.pop())
        while any(hand.job is not None for hand in hands):
            wait([hand.connection for hand in hands if hand.job is not None], timeout=_LOOK_EVERY_S)
            for hand in hands:
                finished = hand.collect()
                if finished is None:
                    continue
                done(finished)
                if waiting:
                    hand.take(waiting.pop())
            look([hand.job for hand in hands if hand.job is not None])
    finally:
        for hand in hands:
            hand.end()


class _Hand:
    """A process and the job it has in hand."""

    def __init__(self, work: Callable[[Any], None], gpu: str | None) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        # A daemon, so that it does not outlive this process.
        self._process = context.Process(target=_serve, args=(theirs, work, gpu), daemon=True)
        self._process.start()
        theirs.close()
        self.job: Any = None

    def take(self, job: Any) -> None:
        self.job = job
        with suppress(BrokenPipeError):  # a process that died is found when its answer is asked for
            self.connection.send(job)

    def collect(self) -> Any:
        """The job that is finished, or None while it goes on.

        Raises:
            JobFailed: it failed, or its process died.
        """
        if self.job is None or not self.connection.poll():
            return None
        try:
            words = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(_END_S)
            raise JobFailed(
                self.job.name,
                f"its process died (exit code {self._process.exitcode}), perhaps for want of memory; finished ones are "
                "kept, and the same command goes on; try fewer processes",
            ) from None
        if words:
            raise JobFailed(self.job.name, words)
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
    """What a process does: jobs in, "" or the words of an error out, until None comes or nobody is there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked; it ends this one
    # Ended in order, so that what it holds of the system is given back without a warning.
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
        words = _try(work, job)
        with suppress(OSError):
            connection.send(words)


def _try(work: Callable[[Any], None], job: Any) -> str:
    try:
        work(job)
    except TrainerError as error:
        return str(error)
    except Exception as error:  # a fault of ours, or of the machine: its words must reach the user all the same
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / ERROR_NAME).write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {error}; all of its words are in {job.folder / ERROR_NAME}"
    return ""
