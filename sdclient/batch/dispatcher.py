"""Server pool, dispatcher, run context, job source; the threads that ask local servers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from ..errors import OutputError, SDClientError, WebUIError
from ..manifest.database import ImageRecord
from ..masks.mask import SourceMasks
from ..output.artifacts import ImageCheck
from ..output.store import GeneratedFile
from .job_execution import FailureKind, JobRunner, RejectedImage, ServerReply, classify_failure, finish_reply
from .jobs import BatchSizeLimits, Job, JobQueue, PlannedImage
from .requests import PreparedJob, RequestPreparer
from .servers import Server, ServerFacts, ServerHealth, ServerStatus, check_servers


@dataclass(frozen=True)
class JobStarted:
    """A job is on its way."""

    job: Job


@dataclass(frozen=True)
class JobFinished:
    """A job is over."""

    job: Job
    images: Sequence[GeneratedFile | RejectedImage] = ()
    error: Exception | None = None
    """Why there are no images; a WebUIError, or a fault of the user's files."""


@dataclass(frozen=True)
class RunContext:
    """What a dispatcher works with."""

    jobs: JobQueue
    """What to ask for."""
    native_px: int
    """Side of the square the servers' model was trained on."""
    preparer: RequestPreparer
    """Makes jobs ready from the sources on this machine."""
    masks: SourceMasks | None
    """Where the masks are of jobs that have one."""
    limits: BatchSizeLimits
    """Learns what the servers' memory does not take."""
    check: ImageCheck | None
    """Finds spoiled images."""
    max_in_flight: int
    """Requests at a server of weight 1."""

    def too_large(self, job: Job) -> None:
        """A server's memory did not take so many images at once: told before the next job of this size goes out."""
        if len(job.images) > 1:
            self.limits.exceeded(self.preparer.size_of(job), len(job.images))


class Dispatcher(Protocol):
    """Keeps each server busy, and finishes what comes back.

    One thread alone reads its messages, the one that writes. Every job that is taken from the queue ends in one
    `JobFinished`, or goes back into the queue; none is dropped.
    """

    def start(self) -> None:
        """Begin to work."""

    def next_message(self, timeout_s: float) -> JobStarted | JobFinished | None:
        """What happened next; None when nothing did within the time.

        Raises:
            OutputError: a fault of the dispatcher itself, after which it does not go on.
        """

    def stop(self) -> None:
        """Send nothing more; what is at the servers is still brought back."""

    @property
    def is_busy(self) -> bool:
        """Whether anything may still come."""

    def join(self) -> None:
        """Wait for the end of all that was begun."""

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and nobody else's; returns when none is there any more."""

    def statuses(self) -> list[ServerStatus]:
        """How each server is doing."""


class ServerPool(Protocol):
    """The servers of a run."""

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> ServerFacts:
        """What all of them make of a run's settings; see `server.check_servers`, whose errors are raised."""

    def dispatcher(self, context: RunContext) -> Dispatcher:
        """The dispatcher that asks them; not started yet."""


class JobSource(Protocol):
    """Decides what is made next, and hears what became of it.

    `next_job` is called by the threads that ask the servers, one at a time; the others by the thread that writes.
    """

    def next_job(self) -> Job | None:
        """The next job; None when there is nothing to ask for until something that is on its way has come back."""

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """These images are in place and recorded."""

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """These are given up."""


class PlannedJobs:
    """Jobs that are known from the start, read only as far as needed."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)

    def next_job(self) -> Job | None:
        """The next job; None after the last."""
        return next(self._jobs, None)

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """Nothing follows from it."""

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """Nothing follows from it."""


_FINISHERS = 2
_HELD_PER_ASKER = 2


class LocalServerPool:
    """Servers that are reached from this machine; a `ServerPool`.

    Args:
        servers: one or more.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = list(servers)

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> ServerFacts:
        """See `check_servers`."""
        return check_servers(self._servers, samplers, loras, allow_mixed=allow_mixed)

    def dispatcher(self, context: RunContext) -> ThreadDispatcher:
        """Threads that ask them; not started yet."""
        return ThreadDispatcher(self._servers, context)


class ThreadDispatcher:
    """Some requests at each server, the next one ready to be sent, finishing done beside them; a `Dispatcher`.

    Args:
        servers: whom to ask.
        context: what for.
    """

    def __init__(self, servers: Sequence[Server], context: RunContext) -> None:
        self._stopped = threading.Event()
        self._jobs = context.jobs
        self._preparer = context.preparer
        self._check = context.check
        self._runner = JobRunner(context.too_large)
        self._health = [ServerHealth(server.name, server.webui.samplers) for server in servers]
        self._box: queue.SimpleQueue[JobStarted | JobFinished] = queue.SimpleQueue()
        self._threads = []
        for server, health in zip(servers, self._health, strict=True):
            most = max(1, round(context.max_in_flight * server.weight))
            places = threading.Semaphore(most)
            # One thread more than there are places: it has the next request ready when a place falls free.
            self._threads += [
                threading.Thread(
                    target=self._work, args=(server, health, places), name=f"{server.name} {n}", daemon=True
                )
                for n in range(most + 1)
            ]
        # Bounds the replies held in memory when the disk is slower than the servers: taken before a job is prepared,
        # released when the writing thread has read its JobFinished, or when the job goes back unsent.
        self._held = threading.BoundedSemaphore(_HELD_PER_ASKER * len(self._threads) + _FINISHERS)
        # Guards `_finishing`, which threads and finishers change and the writing thread reads. All else that is shared
        # has a lock of its own: the queue of jobs, the box, each server's health.
        self._counting = threading.Lock()
        self._finishing = 0
        self._finishers = ThreadPoolExecutor(_FINISHERS, thread_name_prefix="finish")

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def next_message(self, timeout_s: float) -> JobStarted | JobFinished | None:
        """What happened next; None when nothing did within the time."""
        try:
            message = self._box.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(message, JobFinished):
            self._held.release()
        return message

    def stop(self) -> None:
        """Send nothing more; what is at the servers is still brought back."""
        self._stopped.set()
        self._jobs.close()

    @property
    def is_busy(self) -> bool:
        """Whether anything may still come."""
        with self._counting:
            finishing = self._finishing > 0
        return finishing or any(thread.is_alive() for thread in self._threads) or not self._box.empty()

    def join(self) -> None:
        """Wait for the end of all threads."""
        for thread in self._threads:
            thread.join()
        self._finishers.shutdown()

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and nobody else's; returns when none is there any more."""
        self._runner.interrupt_jobs()

    def statuses(self) -> list[ServerStatus]:
        """How each server is doing."""
        return [health.status() for health in self._health]

    def _work(self, server: Server, health: ServerHealth, places: threading.Semaphore) -> None:
        while not self._stopped.is_set():
            health.wait_until_back(self._stopped)
            job = None if self._stopped.is_set() else self._jobs.take()
            if job is None:
                return
            self._held.acquire()
            try:
                prepared = self._preparer.prepare(job)
                with places:
                    if self._stopped.is_set() or health.away is not None or not self._jobs.fits(job):
                        self._held.release()
                        self._jobs.finish(job)
                        continue
                    reply = self._ask(server, health, prepared)
            except (SDClientError, OSError) as error:
                if isinstance(error, WebUIError) and classify_failure(error) is FailureKind.SERVER_AWAY:
                    health.set_aside(error)
                self._box.put(JobFinished(job, error=error))
            except BaseException as error:  # a fault of ours must end the run, not leave it waiting
                self._box.put(JobFinished(job, error=OutputError(f"unexpected failure: {error!r}")))
                raise
            else:
                with self._counting:  # before this thread may end, so that `is_busy` never misses the reply
                    self._finishing += 1
                self._finishers.submit(self._finish, reply)

    def _ask(self, server: Server, health: ServerHealth, prepared: PreparedJob) -> ServerReply:
        self._box.put(JobStarted(prepared.job))
        made = 0
        health.asked()
        try:
            reply = self._runner.send(server, prepared)
            made = len(prepared.job.images)
            return reply
        finally:
            health.answered(made)

    def _finish(self, reply: ServerReply) -> None:
        try:
            images = finish_reply(reply, self._check)
        except (SDClientError, OSError) as error:
            self._box.put(JobFinished(reply.job, error=error))
        except BaseException as error:
            self._box.put(JobFinished(reply.job, error=OutputError(f"unexpected failure: {error!r}")))
            raise
        else:
            self._box.put(JobFinished(reply.job, images=images))
        finally:
            with self._counting:
                self._finishing -= 1
