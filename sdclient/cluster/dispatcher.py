"""Sends jobs to workers and receives results, on the owner's machine."""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import ray
from ray.exceptions import ActorDiedError, ActorUnschedulableError, RayError, RayTaskError

from ..batch.dispatcher import JobFinished, JobStarted, RunContext
from ..batch.job_execution import FailureKind, classify_failure
from ..batch.jobs import Job
from ..batch.requests import SourcesOnDisk
from ..batch.servers import ServerHealth, ServerStatus
from ..errors import OutputError, SDClientError, ServerOutOfMemory, ServerUnreachable, WebUIError
from ..masks.mask import SourceMasks
from ..output.store import GeneratedFile
from .nodes import last_line, on_node
from .worker import Endpoint, JobMessage, JobReply, SourceFiles, Worker, WorkerContext

SEARCH_INTERVAL_S = 15.0
"""Seconds between two searches for nodes that joined."""
START_S = 300.0
"""Seconds within which the first worker must have started."""
_AHEAD = 2
"""Jobs of a worker beyond those at its WebUI: one ready to be sent, one being finished."""
_HELD_PER_SLOT = 2
_PROBE_ANSWER_S = 60.0
_CONTROL = "control"
_PERMANENT = (ActorDiedError, ActorUnschedulableError)
"""Ray's errors for a worker whose node is gone, or that cannot start there."""


class _WorkerHandle:
    """The owner's view of a worker."""

    def __init__(self, endpoint: Endpoint, actor: Any, slots: int) -> None:
        self.endpoint = endpoint
        self.actor = actor
        self.slots = slots
        self.busy = 0
        self.is_up = False
        self.health = ServerHealth(endpoint.name, self._probe)

    @property
    def free(self) -> int:
        """Number of jobs it can take now."""
        return self.slots - self.busy if self.is_up and self.health.away is None else 0

    def status(self) -> ServerStatus:
        """The worker's row in the table."""
        row = self.health.status()
        return row if self.is_up or self.health.is_lost else replace(row, state="starting")

    def call(self, method: str) -> Any:
        """Call a method while jobs run; returns a reference to its result."""
        return getattr(self.actor, method).options(concurrency_group=_CONTROL).remote()

    def _probe(self) -> None:
        try:
            error = ray.get(self.call("probe"), timeout=_PROBE_ANSWER_S)
        except _PERMANENT as died:
            self.health.lose(_unreachable(self.endpoint, died))
            raise _unreachable(self.endpoint, died) from died
        except RayError as failed:
            raise _unreachable(self.endpoint, failed) from failed
        if error is not None:
            raise error


class EndpointPool(Protocol):
    """What the dispatcher needs from the pool of WebUIs."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The WebUIs that answered before the run."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Address -> why its WebUI is not used."""

    def lost(self, endpoint: Endpoint) -> None:
        """Forget a WebUI whose worker is gone, so that it can be found again."""

    def find_new_endpoints(self, stopped: threading.Event) -> Sequence[Endpoint]:
        """WebUIs that joined since the last search."""


class RayDispatcher:
    """A `Dispatcher` with one worker beside each WebUI, each with enough jobs to keep it busy.

    If a worker stops answering, for whatever reason, its jobs go back into the queue, as with a server that is away.
    Ray restarts a worker whose process ended; a node that joins or returns gets new workers.
    """

    def __init__(self, pool: EndpointPool, context: RunContext) -> None:
        self._pool = pool
        self._context = context
        self._source_cache = SourceCache(context.masks)
        self._messages: queue.SimpleQueue[JobStarted | JobFinished | Exception] = queue.SimpleQueue()
        self._stopped = threading.Event()
        # Guards the fields below: this thread, the two threads below and Ray's callback threads use them.
        self._changed = threading.Condition()
        self._workers: list[_WorkerHandle] = []
        self._begun = time.monotonic()
        self._in_flight = 0
        self._unread = 0
        self._threads = [
            threading.Thread(target=self._dispatch, name="hand out", daemon=True),
            threading.Thread(target=self._watch_for_nodes, name="look for nodes", daemon=True),
        ]

    def start(self) -> None:
        """Start the workers and the threads."""
        for endpoint in self._pool.endpoints:
            self._start_worker(endpoint)
        for thread in self._threads:
            thread.start()

    def next_message(self, timeout_s: float) -> JobStarted | JobFinished | None:
        """The next event; None if there is none within the time.

        Raises:
            OutputError: dispatching failed unexpectedly.
            ServerUnreachable: no worker started within `START_S`.
        """
        try:
            message = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            self._refuse_endless_start()
            return None
        if isinstance(message, Exception):
            raise message
        if isinstance(message, JobFinished):
            with self._changed:
                self._unread -= 1
                self._changed.notify_all()
        return message

    def _refuse_endless_start(self) -> None:
        if time.monotonic() - self._begun < START_S or self._stopped.is_set():
            return
        with self._changed:
            if not any(worker.is_up for worker in self._workers):
                raise ServerUnreachable(
                    f"no worker started on any node within {START_S:g} s; look into Ray's logs on the nodes "
                    "(/tmp/ray/session_latest/logs), and run the same command again"
                )

    def stop(self) -> None:
        """Send nothing more; jobs at the WebUIs are still finished."""
        self._stopped.set()
        self._context.jobs.close()
        with self._changed:
            workers = list(self._workers)
            self._changed.notify_all()
        for worker in workers:
            with suppress(RayError):
                worker.call("stop")

    @property
    def is_busy(self) -> bool:
        """Whether more events may come."""
        with self._changed:
            in_flight = self._in_flight > 0
        return in_flight or self._threads[0].is_alive() or not self._messages.empty()

    def join(self) -> None:
        """Wait until everything that was started has ended, and end the workers."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            ray.kill(worker.actor)

    def interrupt_jobs(self) -> None:
        """Interrupt only our own jobs at the WebUIs; returns when none is left there."""
        with self._changed:
            workers = list(self._workers)
        calls = [worker.call("interrupt_jobs") for worker in workers]
        if calls:
            ray.wait(calls, num_returns=len(calls))

    def statuses(self) -> list[ServerStatus]:
        """The state of each WebUI, also of those that are not used."""
        with self._changed:
            workers = list(self._workers)
        refused = self._pool.refused.items()
        left_out = [ServerStatus(name, f"left out: {reason}", 0, 0.0, 0, 0) for name, reason in refused]
        return [*(worker.status() for worker in workers), *left_out]

    def _start_worker(self, endpoint: Endpoint) -> None:
        most = self._context.max_in_flight
        slots = most + _AHEAD
        context = WorkerContext(endpoint, self._context.native_px, self._context.check, most)
        remote = ray.remote(concurrency_groups={_CONTROL: 2})  # type: ignore[call-overload]  # its types lack it
        actor = (
            remote(Worker)
            .options(num_cpus=0, max_restarts=-1, max_concurrency=slots, scheduling_strategy=on_node(endpoint.node_id))
            .remote(context)
        )
        worker = _WorkerHandle(endpoint, actor, slots)
        with self._changed:
            self._workers.append(worker)
        # A worker's process may take long to start on a busy node; it gets jobs only when it has answered.
        worker.call("probe").future().add_done_callback(lambda future: self._worker_ready(worker, future))

    def _worker_ready(self, worker: _WorkerHandle, future: Future[WebUIError | None]) -> None:
        """Called in a thread of Ray when a worker has started, or failed to."""
        failed = future.exception()
        error = _unreachable(worker.endpoint, failed) if failed is not None else future.result()
        if isinstance(failed, _PERMANENT):
            worker.health.lose(_unreachable(worker.endpoint, failed))
            self._pool.lost(worker.endpoint)
            return
        with self._changed:
            worker.is_up = True
            self._changed.notify_all()
        if error is not None:
            self._set_aside(worker, error)

    def _dispatch(self) -> None:
        try:
            while self._wait_for_free_worker() is not None:
                job = self._context.jobs.take()
                if job is None:
                    return
                worker = self._wait_for_free_worker()  # again: the wait for a job may have been long
                if worker is None:
                    self._context.jobs.finish(job)
                    return
                self._send(worker, job)
        except BaseException as error:  # a bug here must end the run, not leave it waiting
            self._messages.put(OutputError(f"unexpected failure: {error!r}"))
            raise

    def _wait_for_free_worker(self) -> _WorkerHandle | None:
        """The worker that can take most jobs; None once stopped."""
        with self._changed:
            while not self._stopped.is_set():
                free = [worker for worker in self._workers if worker.free > 0]
                # Bounds the images held in memory when the disk is slower than the cluster.
                most = _HELD_PER_SLOT * sum(worker.slots for worker in self._workers)
                if free and self._in_flight + self._unread < most:
                    return max(free, key=lambda worker: worker.free)
                self._changed.wait()
        return None

    def _send(self, worker: _WorkerHandle, job: Job) -> None:
        try:
            files = self._source_cache.files_of(job)
        except (SDClientError, OSError) as error:
            self._report(JobFinished(job, error=error))
            return
        self._messages.put(JobStarted(job))
        worker.health.request_started()
        with self._changed:
            worker.busy += 1
            self._in_flight += 1
        ref = worker.actor.make.remote(JobMessage.of(job), files)
        ref.future().add_done_callback(lambda future: self._job_done(worker, job, future))

    def _job_done(self, worker: _WorkerHandle, job: Job, future: Future[JobReply]) -> None:
        """Called in a thread of Ray when a job has ended."""
        finished = self._finished_job(worker, job, future)
        made = [] if finished is None else [image for image in finished.images if isinstance(image, GeneratedFile)]
        worker.health.request_ended(len(made))
        if finished is not None:
            self._report(finished)  # before `_in_flight` falls: `is_busy` must not be False while a message is to come
        with self._changed:
            worker.busy -= 1
            self._in_flight -= 1
            self._changed.notify_all()

    def _finished_job(self, worker: _WorkerHandle, job: Job, future: Future[JobReply]) -> JobFinished | None:
        """The result of a job; None if it was not sent because the run stopped."""
        failed = future.exception()
        if isinstance(failed, RayTaskError) or (failed is not None and not isinstance(failed, RayError)):
            reason = last_line(failed)
            return JobFinished(job, error=OutputError(f"{worker.endpoint.name}: unexpected failure: {reason}"))
        if failed is not None:
            error = _unreachable(worker.endpoint, failed)
            self._set_aside(worker, error)
            return JobFinished(job, error=error)
        reply = future.result()
        if reply.is_unsent:
            return None
        if isinstance(reply.error, ServerOutOfMemory):
            self._context.too_large(job)
        if isinstance(reply.error, WebUIError) and classify_failure(reply.error) is FailureKind.SERVER_AWAY:
            self._set_aside(worker, reply.error)
        return JobFinished(job, reply.images_of(job), reply.error)

    def _report(self, finished: JobFinished) -> None:
        with self._changed:
            self._unread += 1
        self._messages.put(finished)

    def _set_aside(self, worker: _WorkerHandle, error: WebUIError) -> None:
        """Send nothing to the worker until it has answered a probe."""
        is_first = worker.health.away is None
        worker.health.set_aside(error)
        if is_first:
            name = f"probe {worker.endpoint.name}"
            threading.Thread(target=self._wait_until_back, args=(worker,), name=name, daemon=True).start()

    def _wait_until_back(self, worker: _WorkerHandle) -> None:
        worker.health.wait_until_back(self._stopped)
        if worker.health.is_lost:
            self._pool.lost(worker.endpoint)
        with self._changed:
            self._changed.notify_all()

    def _watch_for_nodes(self) -> None:
        while not self._stopped.wait(SEARCH_INTERVAL_S):
            with suppress(RayError):
                for endpoint in self._pool.find_new_endpoints(self._stopped):
                    self._start_worker(endpoint)


def _unreachable(endpoint: Endpoint, error: BaseException) -> ServerUnreachable:
    return ServerUnreachable(
        f"{endpoint.name}: the node, or its worker, does not answer ({type(error).__name__})", may_have_arrived=True
    )


_BYTES_KEPT = 2**25
_FILES_KEPT = 64


class SourceCache:
    """References to the files of the sources used last. A job keeps its own reference while it runs."""

    def __init__(self, masks: SourceMasks | None) -> None:
        self._sources = SourcesOnDisk(masks)
        self._kept: OrderedDict[tuple[str, str, str], tuple[Any, int]] = OrderedDict()

    def files_of(self, job: Job) -> Any:
        """A reference to the files of a job's source.

        Raises:
            SourceError: the source is no longer the file that was planned with.
            MaskError: the same for its mask.
            OSError: a file cannot be read.
        """
        inpainting = job.parameters.inpainting
        sha256 = job.images[0].source_sha256
        wanted = (job.source.relative, sha256, inpainting.mask_sha256 if inpainting is not None else "")
        found = self._kept.get(wanted)
        if found is None:
            files = self._read(job)
            found = self._kept[wanted] = ray.put(files), len(files.data) + len(files.mask or b"")
            while len(self._kept) > 1 and (len(self._kept) > _FILES_KEPT or self._bytes_kept() > _BYTES_KEPT):
                self._kept.popitem(last=False)
        self._kept.move_to_end(wanted)
        return found[0]

    def _read(self, job: Job) -> SourceFiles:
        source, inpainting = job.source, job.parameters.inpainting
        data = self._sources.file_bytes(source, job.images[0].source_sha256)
        mask = self._sources.mask_bytes(source, inpainting.mask_sha256) if inpainting is not None else None
        return SourceFiles(data, mask)

    def _bytes_kept(self) -> int:
        return sum(size for _, size in self._kept.values())
