"""Jobs to workers and back, on the owner's machine; knows the pool by a protocol only."""

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
from .nodes import on_node
from .worker import Endpoint, JobMessage, JobReply, SourceFiles, Worker, WorkerContext

SEARCH_INTERVAL_S = 15.0
"""Seconds between two looks for nodes that joined."""
START_S = 300.0
"""Seconds in which the first worker must have started."""
_AHEAD = 2
"""Jobs at a worker beyond those at its WebUI: one that is ready to be sent, one that is being finished."""
_HELD_PER_SLOT = 2
_PROBE_ANSWER_S = 60.0
_CONTROL = "control"
_PERMANENT = (ActorDiedError, ActorUnschedulableError)
"""What Ray says of a worker whose node is gone, or that cannot be started on it."""


class _WorkerHandle:
    """A worker as its owner sees it."""

    def __init__(self, endpoint: Endpoint, actor: Any, slots: int) -> None:
        self.endpoint = endpoint
        self.actor = actor
        self.slots = slots
        self.busy = 0
        self.is_up = False
        self.health = ServerHealth(endpoint.name, self._probe)

    @property
    def free(self) -> int:
        """How many jobs it takes now."""
        return self.slots - self.busy if self.is_up and self.health.away is None else 0

    def status(self) -> ServerStatus:
        """Its row in the table."""
        row = self.health.status()
        return row if self.is_up or self.health.is_lost else replace(row, state="starting")

    def call(self, method: str) -> Any:
        """Call a method beside the jobs; gives the reference."""
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
    """What the dispatcher needs of the pool that knows the WebUIs of a cluster."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The WebUIs that answered before the run."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Address -> why its WebUI is not used."""

    def lost(self, endpoint: Endpoint) -> None:
        """Forget a WebUI whose worker is gone, so that it can be found anew."""

    def find_new_endpoints(self, stopped: threading.Event) -> Sequence[Endpoint]:
        """WebUIs that have come since the last look."""


class RayDispatcher:
    """One worker beside each WebUI, each with as many jobs as keep it busy; a `Dispatcher`.

    A worker that does not answer any more, whatever happened to its node, gives its jobs back to the queue, as a server
    does that is away. Ray starts the worker anew where only its process ended; a node that joins, or comes back, gets
    workers of its own.

    Args:
        pool: the WebUIs.
        context: what for.
    """

    def __init__(self, pool: EndpointPool, context: RunContext) -> None:
        self._pool = pool
        self._context = context
        self._source_cache = SourceCache(context.masks)
        self._box: queue.SimpleQueue[JobStarted | JobFinished | Exception] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._workers: list[_WorkerHandle] = []
        self._begun = time.monotonic()
        self._under_way = 0
        self._unread = 0
        self._threads = [
            threading.Thread(target=self._dispatch, name="hand out", daemon=True),
            threading.Thread(target=self._watch_for_nodes, name="look for nodes", daemon=True),
        ]

    def start(self) -> None:
        """Begin to work."""
        for endpoint in self._pool.endpoints:
            self._start_worker(endpoint)
        for thread in self._threads:
            thread.start()

    def next_message(self, timeout_s: float) -> JobStarted | JobFinished | None:
        """What happened next; None when nothing did within the time.

        Raises:
            OutputError: handing out failed in a way that was not foreseen.
            ServerUnreachable: no worker has started, for so long that none will.
        """
        try:
            message = self._box.get(timeout=timeout_s)
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
        """Send nothing more; what is at the WebUIs is still brought back."""
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
        """Whether anything may still come."""
        with self._changed:
            under_way = self._under_way > 0
        return under_way or self._threads[0].is_alive() or not self._box.empty()

    def join(self) -> None:
        """Wait for the end of all that was begun, and dismiss the workers."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            ray.kill(worker.actor)

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the WebUIs, and nobody else's; returns when none is there any more."""
        with self._changed:
            workers = list(self._workers)
        calls = [worker.call("interrupt_jobs") for worker in workers]
        if calls:
            ray.wait(calls, num_returns=len(calls))

    def statuses(self) -> list[ServerStatus]:
        """How each WebUI is doing, and which ones are not used."""
        with self._changed:
            workers = list(self._workers)
        refused = self._pool.refused.items()
        return [worker.status() for worker in workers] + [
            ServerStatus(name, f"left out: {reason}", 0, 0.0, 0, 0) for name, reason in refused
        ]

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
        # A worker's process may take long to start on a busy node, and would hold up the jobs it had been given.
        worker.call("probe").future().add_done_callback(lambda future: self._worker_ready(worker, future))

    def _worker_ready(self, worker: _WorkerHandle, future: Future[WebUIError | None]) -> None:
        """A worker has started, or cannot; runs in a thread of Ray's."""
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
            while self._wait_for_a_free_one() is not None:
                job = self._context.jobs.take()
                if job is None:
                    return
                worker = self._wait_for_a_free_one()  # anew, for much may have happened before there was a job
                if worker is None:
                    self._context.jobs.finish(job)
                    return
                self._send(worker, job)
        except BaseException as error:  # a fault of ours must end the run, not leave it waiting
            self._box.put(OutputError(f"unexpected failure: {error!r}"))
            raise

    def _wait_for_a_free_one(self) -> _WorkerHandle | None:
        """The member with most room; None when all is to stop."""
        with self._changed:
            while not self._stopped.is_set():
                free = [worker for worker in self._workers if worker.free > 0]
                # Bounds the images held in memory when the disk is slower than the cluster.
                most = _HELD_PER_SLOT * sum(worker.slots for worker in self._workers)
                if free and self._under_way + self._unread < most:
                    return max(free, key=lambda worker: worker.free)
                self._changed.wait()
        return None

    def _send(self, worker: _WorkerHandle, job: Job) -> None:
        try:
            files = self._source_cache.files_of(job)
        except (SDClientError, OSError) as error:
            self._report(JobFinished(job, error=error))
            return
        self._box.put(JobStarted(job))
        worker.health.request_started()
        with self._changed:
            worker.busy += 1
            self._under_way += 1
        ref = worker.actor.make.remote(JobMessage.of(job), files)
        ref.future().add_done_callback(lambda future: self._job_done(worker, job, future))

    def _job_done(self, worker: _WorkerHandle, job: Job, future: Future[JobReply]) -> None:
        """A job is over; runs in a thread of Ray's."""
        finished = self._finished_job(worker, job, future)
        made = [] if finished is None else [image for image in finished.images if isinstance(image, GeneratedFile)]
        worker.health.request_ended(len(made))
        if finished is not None:
            self._report(finished)
        with self._changed:
            worker.busy -= 1
            self._under_way -= 1
            self._changed.notify_all()

    def _finished_job(self, worker: _WorkerHandle, job: Job, future: Future[JobReply]) -> JobFinished | None:
        """None where nothing was asked, for the run was to stop."""
        failed = future.exception()
        if isinstance(failed, RayTaskError) or (failed is not None and not isinstance(failed, RayError)):
            return JobFinished(
                job, error=OutputError(f"{worker.endpoint.name}: unexpected failure: {_last_line(failed)}")
            )
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
        self._box.put(finished)

    def _set_aside(self, worker: _WorkerHandle, error: WebUIError) -> None:
        """Ask it nothing before it has answered a probe."""
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
        f"{endpoint.name}: the node, or the worker on it, does not answer ({type(error).__name__})",
        may_have_arrived=True,
    )


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else repr(error)


_BYTES_KEPT = 2**25
_FILES_KEPT = 64


class SourceCache:
    """References to the files of the last sources asked for; a job holds its own for as long as it is under way.

    Args:
        masks: where the masks are of jobs that have one.
    """

    def __init__(self, masks: SourceMasks | None) -> None:
        self._sources = SourcesOnDisk(masks)
        self._kept: OrderedDict[tuple[str, str, str], tuple[Any, int]] = OrderedDict()

    def files_of(self, job: Job) -> Any:
        """A reference to the files of a job's source.

        Raises:
            SourceError: the source is no longer the file that was planned with.
            MaskError: the same of its mask.
            OSError: it cannot be read.
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
        if inpainting is None:
            return SourceFiles(data)
        return SourceFiles(data, self._sources.mask_bytes(source, inpainting.mask_sha256))

    def _bytes_kept(self) -> int:
        return sum(size for _, size in self._kept.values())
