"""What a run is made of while it works: job source, server pool, dispatcher; and the threads that send to servers.

The flow of a job: a `JobSource` decides on it, the `JobQueue` hands it to a sending thread of the `Dispatcher`, which
sends it to a server and passes the finished reply as a message to the one thread that writes (`BatchRunner`).
"""

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
    """A job is being sent."""

    job: Job


@dataclass(frozen=True)
class JobFinished:
    """A job has ended; `error` says why there are no images: a `WebUIError`, or an error about the user's files."""

    job: Job
    images: Sequence[GeneratedFile | RejectedImage] = ()
    error: Exception | None = None


@dataclass(frozen=True)
class RunContext:
    """What a dispatcher works with."""

    jobs: JobQueue
    native_px: int
    """Side of the square the servers' model was trained on."""
    preparer: RequestPreparer
    """Prepares jobs from the sources on this machine."""
    masks: SourceMasks | None
    limits: BatchSizeLimits
    check: ImageCheck | None
    max_in_flight: int
    """Requests at a server of weight 1."""

    def too_large(self, job: Job) -> None:
        """A server had too little memory for a job; called before the next job of its size is sent."""
        if len(job.images) > 1:
            self.limits.exceeded(self.preparer.size_of(job), len(job.images))


class Dispatcher(Protocol):
    """Keeps each server busy, and finishes its replies.

    Only the thread that writes reads the messages. Every job that is taken from the queue ends in one `JobFinished` or
    goes back into the queue; no job is lost.
    """

    def start(self) -> None:
        """Begin to work."""

    def next_message(self, timeout_s: float) -> JobStarted | JobFinished | None:
        """The next message; None if there is none in time. `OutputError`: the dispatcher itself failed and stopped."""

    def stop(self) -> None:
        """Send nothing more; replies to what is at the servers still come."""

    @property
    def is_busy(self) -> bool:
        """Whether messages may still come."""

    def join(self) -> None:
        """Wait for the end of all work."""

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and no other jobs; returns when none of ours is left there."""

    def statuses(self) -> list[ServerStatus]:
        """The state of each server."""


class ServerPool(Protocol):
    """The servers of a run."""

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> ServerFacts:
        """Check the servers for a run's settings; arguments and errors as in `check_servers`."""

    def dispatcher(self, context: RunContext) -> Dispatcher:
        """A dispatcher for the servers, not started yet."""


class JobSource(Protocol):
    """Decides which images are made next, and is told the results.

    The sending threads call `next_job`, one at a time; the thread that writes calls the other methods.
    """

    def next_job(self) -> Job | None:
        """The next job; None if there is none until a job that is out has ended."""

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """These images are written and recorded."""

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """These images are given up."""


class PlannedJobs:
    """Jobs that are known from the start; each is created when it is needed."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)

    def next_job(self) -> Job | None:
        """The next job; None after the last one."""
        return next(self._jobs, None)

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """Do nothing: the plan is fixed."""

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """Do nothing: the plan is fixed."""


_FINISHERS = 2
_HELD_PER_THREAD = 2


class LocalServerPool:
    """Servers, one or more, that this machine sends to; a `ServerPool`."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = list(servers)

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> ServerFacts:
        """See `ServerPool`."""
        return check_servers(self._servers, samplers, loras, allow_mixed=allow_mixed)

    def dispatcher(self, context: RunContext) -> ThreadDispatcher:
        """See `ServerPool`."""
        return ThreadDispatcher(self._servers, context)


class ThreadDispatcher:
    """Threads that send to each server, and threads that finish the replies; a `Dispatcher`."""

    def __init__(self, servers: Sequence[Server], context: RunContext) -> None:
        self._stopped = threading.Event()
        self._jobs = context.jobs
        self._preparer = context.preparer
        self._check = context.check
        self._runner = JobRunner(context.too_large)
        self._health = [ServerHealth(server.name, server.webui.samplers) for server in servers]
        self._messages: queue.SimpleQueue[JobStarted | JobFinished] = queue.SimpleQueue()
        self._threads = []
        for server, health in zip(servers, self._health, strict=True):
            most = max(1, round(context.max_in_flight * server.weight))
            places = threading.Semaphore(most)
            # One thread more than requests at the server: it has the next request ready when one of them ends.
            for n in range(most + 1):
                work = (server, health, places)
                thread = threading.Thread(target=self._work, args=work, name=f"{server.name} {n}", daemon=True)
                self._threads.append(thread)
        # Limits the replies held in memory when the disk is slower than the servers: acquired before a job is prepared,
        # released when the writing thread reads its JobFinished, or when the job goes back into the queue unsent.
        self._held = threading.BoundedSemaphore(_HELD_PER_THREAD * len(self._threads) + _FINISHERS)
        # Guards `_finishing`, the number of replies at the finishers: both kinds of threads change it, the writing
        # thread reads it. Everything else that is shared has its own lock: job queue, messages, health of each server.
        # A crash loses only what is in memory here; its rows say running, and the next start makes those images anew.
        self._counting = threading.Lock()
        self._finishing = 0
        self._finishers = ThreadPoolExecutor(_FINISHERS, thread_name_prefix="finish")

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def next_message(self, timeout_s: float) -> JobStarted | JobFinished | None:
        """See `Dispatcher`."""
        try:
            message = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(message, JobFinished):
            self._held.release()
        return message

    def stop(self) -> None:
        """See `Dispatcher`."""
        self._stopped.set()
        self._jobs.close()

    @property
    def is_busy(self) -> bool:
        """See `Dispatcher`."""
        with self._counting:
            finishing = self._finishing > 0
        return finishing or any(thread.is_alive() for thread in self._threads) or not self._messages.empty()

    def join(self) -> None:
        """See `Dispatcher`."""
        for thread in self._threads:
            thread.join()
        self._finishers.shutdown()

    def interrupt_jobs(self) -> None:
        """See `Dispatcher`."""
        self._runner.interrupt_jobs()

    def statuses(self) -> list[ServerStatus]:
        """See `Dispatcher`."""
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
                    reply = self._send(server, health, prepared)
            except (SDClientError, OSError) as error:
                if isinstance(error, WebUIError) and classify_failure(error) is FailureKind.SERVER_AWAY:
                    health.set_aside(error)
                self._messages.put(JobFinished(job, error=error))
            except BaseException as error:  # a fault of our own ends the run; without a message it would wait
                self._messages.put(JobFinished(job, error=OutputError(f"unexpected failure: {error!r}")))
                raise
            else:
                with self._counting:  # counted before this thread can end, so that `is_busy` never misses the reply
                    self._finishing += 1
                self._finishers.submit(self._finish, reply)

    def _send(self, server: Server, health: ServerHealth, prepared: PreparedJob) -> ServerReply:
        self._messages.put(JobStarted(prepared.job))
        made = 0
        health.request_started()
        try:
            reply = self._runner.send(server, prepared)
            made = len(prepared.job.images)
        finally:
            health.request_ended(made)
        return reply

    def _finish(self, reply: ServerReply) -> None:
        try:
            self._messages.put(JobFinished(reply.job, images=finish_reply(reply, self._check)))
        except (SDClientError, OSError) as error:
            self._messages.put(JobFinished(reply.job, error=error))
        except BaseException as error:
            self._messages.put(JobFinished(reply.job, error=OutputError(f"unexpected failure: {error!r}")))
            raise
        finally:
            with self._counting:
                self._finishing -= 1
