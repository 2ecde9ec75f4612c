"""The crew of a run on a cluster: hands jobs out to the workers, and hears from them; runs on the owner's machine."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorDiedError, ActorUnschedulableError, RayError, RayTaskError

from ..batch.crew import Orders, Outcome, Started
from ..batch.failures import Meaning, meaning_of
from ..batch.finish import MadeImage
from ..batch.jobs import Job
from ..batch.servers import ServerHealth, ServerStatus
from ..errors import OutputError, SDClientError, ServerOutOfMemory, ServerUnreachable, WebUIError
from .nodes import at
from .shelf import Shelf
from .wire import Place, Reply, SentJob, WorkerOrders
from .worker import Worker

if TYPE_CHECKING:
    from .fleet import RayFleet

LOOK_S = 15.0
"""Seconds between two looks for nodes that joined."""
START_S = 300.0
"""Seconds in which the first worker must have started."""
_AHEAD = 2
"""Jobs at a worker beyond those at its WebUI: one that is ready to be sent, one that is being finished."""
_HELD_PER_SLOT = 2
_PROBE_ANSWER_S = 60.0
_CONTROL = "control"
_FOR_GOOD = (ActorDiedError, ActorUnschedulableError)
"""What Ray says of a worker whose node is gone, or that cannot be started on it."""


class _Member:
    """A worker as its owner sees it."""

    def __init__(self, place: Place, actor: Any, slots: int) -> None:
        self.place = place
        self.actor = actor
        self.slots = slots
        self.busy = 0
        self.is_up = False
        self.health = ServerHealth(place.name, self._probe)

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
        except _FOR_GOOD as died:
            self.health.lose(_gone(self.place, died))
            raise _gone(self.place, died) from died
        except RayError as failed:
            raise _gone(self.place, failed) from failed
        if error is not None:
            raise error


class RayCrew:
    """One worker beside each WebUI, each with as many jobs as keep it busy; a `Crew`.

    A worker that does not answer any more, whatever happened to its node, gives its jobs back to the queue, as a server
    does that is away. Ray starts the worker anew where only its process ended; a node that joins, or comes back, gets
    workers of its own.

    Args:
        fleet: the WebUIs.
        orders: what for.
    """

    def __init__(self, fleet: RayFleet, orders: Orders) -> None:
        self._fleet = fleet
        self._orders = orders
        self._shelf = Shelf(orders.masks)
        self._box: queue.SimpleQueue[Started | Outcome | Exception] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._members: list[_Member] = []
        self._begun = time.monotonic()
        self._under_way = 0
        self._unread = 0
        self._threads = [
            threading.Thread(target=self._hand_out, name="hand out", daemon=True),
            threading.Thread(target=self._look_out, name="look for nodes", daemon=True),
        ]

    def start(self) -> None:
        """Begin to work."""
        for place in self._fleet.places:
            self._engage(place)
        for thread in self._threads:
            thread.start()

    def next_message(self, timeout_s: float) -> Started | Outcome | None:
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
        if isinstance(message, Outcome):
            with self._changed:
                self._unread -= 1
                self._changed.notify_all()
        return message

    def _refuse_endless_start(self) -> None:
        if time.monotonic() - self._begun < START_S or self._stopped.is_set():
            return
        with self._changed:
            if not any(member.is_up for member in self._members):
                raise ServerUnreachable(
                    f"no worker started on any node within {START_S:g} s; look into Ray's logs on the nodes "
                    "(/tmp/ray/session_latest/logs), and run the same command again"
                )

    def stop(self) -> None:
        """Send nothing more; what is at the WebUIs is still brought back."""
        self._stopped.set()
        self._orders.jobs.close()
        with self._changed:
            members = list(self._members)
            self._changed.notify_all()
        for member in members:
            with suppress(RayError):
                member.call("stop")

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
        for member in self._members:
            ray.kill(member.actor)

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the WebUIs, and nobody else's; returns when none is there any more."""
        with self._changed:
            members = list(self._members)
        calls = [member.call("interrupt_jobs") for member in members]
        if calls:
            ray.wait(calls, num_returns=len(calls))

    def statuses(self) -> list[ServerStatus]:
        """How each WebUI is doing, and which ones are not used."""
        with self._changed:
            members = list(self._members)
        refused = self._fleet.refused.items()
        return [member.status() for member in members] + [
            ServerStatus(name, f"left out: {reason}", 0, 0.0, 0, 0) for name, reason in refused
        ]

    def _engage(self, place: Place) -> None:
        most = self._orders.max_in_flight
        slots = most + _AHEAD
        orders = WorkerOrders(place, self._orders.native_px, self._orders.check, most)
        remote = ray.remote(concurrency_groups={_CONTROL: 2})  # type: ignore[call-overload]  # its types lack it
        actor = (
            remote(Worker)
            .options(num_cpus=0, max_restarts=-1, max_concurrency=slots, scheduling_strategy=at(place.node_id))
            .remote(orders)
        )
        member = _Member(place, actor, slots)
        with self._changed:
            self._members.append(member)
        # A worker's process may take long to start on a busy node, and would hold up the jobs it had been given.
        member.call("probe").future().add_done_callback(lambda future: self._came_up(member, future))

    def _came_up(self, member: _Member, future: Future[WebUIError | None]) -> None:
        """A worker has started, or cannot; runs in a thread of Ray's."""
        failed = future.exception()
        error = _gone(member.place, failed) if failed is not None else future.result()
        if isinstance(failed, _FOR_GOOD):
            member.health.lose(_gone(member.place, failed))
            self._fleet.lost(member.place)
            return
        with self._changed:
            member.is_up = True
            self._changed.notify_all()
        if error is not None:
            self._set_aside(member, error)

    def _hand_out(self) -> None:
        try:
            while self._wait_for_a_free_one() is not None:
                job = self._orders.jobs.take()
                if job is None:
                    return
                member = self._wait_for_a_free_one()  # anew, for much may have happened before there was a job
                if member is None:
                    self._orders.jobs.settle(job)
                    return
                self._send(member, job)
        except BaseException as error:  # a fault of ours must end the run, not leave it waiting
            self._box.put(OutputError(f"unexpected failure: {error!r}"))
            raise

    def _wait_for_a_free_one(self) -> _Member | None:
        """The member with most room; None when all is to stop."""
        with self._changed:
            while not self._stopped.is_set():
                free = [member for member in self._members if member.free > 0]
                # Bounds the images held in memory when the disk is slower than the cluster.
                most = _HELD_PER_SLOT * sum(member.slots for member in self._members)
                if free and self._under_way + self._unread < most:
                    return max(free, key=lambda member: member.free)
                self._changed.wait()
        return None

    def _send(self, member: _Member, job: Job) -> None:
        try:
            files = self._shelf.files_of(job)
        except (SDClientError, OSError) as error:
            self._tell(Outcome(job, error=error))
            return
        self._box.put(Started(job))
        member.health.asked()
        with self._changed:
            member.busy += 1
            self._under_way += 1
        ref = member.actor.make.remote(SentJob.of(job), files)
        ref.future().add_done_callback(lambda future: self._heard(member, job, future))

    def _heard(self, member: _Member, job: Job, future: Future[Reply]) -> None:
        """A job is over; runs in a thread of Ray's."""
        outcome = self._outcome_of(member, job, future)
        made = [] if outcome is None else [image for image in outcome.images if isinstance(image, MadeImage)]
        member.health.answered(len(made))
        if outcome is not None:
            self._tell(outcome)
        with self._changed:
            member.busy -= 1
            self._under_way -= 1
            self._changed.notify_all()

    def _outcome_of(self, member: _Member, job: Job, future: Future[Reply]) -> Outcome | None:
        """None where nothing was asked, for the run was to stop."""
        failed = future.exception()
        if isinstance(failed, RayTaskError) or (failed is not None and not isinstance(failed, RayError)):
            return Outcome(job, error=OutputError(f"{member.place.name}: unexpected failure: {_last_line(failed)}"))
        if failed is not None:
            error = _gone(member.place, failed)
            self._set_aside(member, error)
            return Outcome(job, error=error)
        reply = future.result()
        if reply.is_unsent:
            return None
        if isinstance(reply.error, ServerOutOfMemory):
            self._orders.too_large(job)
        if isinstance(reply.error, WebUIError) and meaning_of(reply.error) is Meaning.SERVER_AWAY:
            self._set_aside(member, reply.error)
        return Outcome(job, reply.images_of(job), reply.error)

    def _tell(self, outcome: Outcome) -> None:
        with self._changed:
            self._unread += 1
        self._box.put(outcome)

    def _set_aside(self, member: _Member, error: WebUIError) -> None:
        """Ask it nothing before it has answered a probe."""
        is_first = member.health.away is None
        member.health.set_aside(error)
        if is_first:
            name = f"probe {member.place.name}"
            threading.Thread(target=self._wait_until_back, args=(member,), name=name, daemon=True).start()

    def _wait_until_back(self, member: _Member) -> None:
        member.health.wait_until_back(self._stopped)
        if member.health.is_lost:
            self._fleet.lost(member.place)
        with self._changed:
            self._changed.notify_all()

    def _look_out(self) -> None:
        while not self._stopped.wait(LOOK_S):
            with suppress(RayError):
                for place in self._fleet.newcomers(self._stopped):
                    self._engage(place)


def _gone(place: Place, error: BaseException) -> ServerUnreachable:
    return ServerUnreachable(
        f"{place.name}: the node, or the worker on it, does not answer ({type(error).__name__})", may_have_arrived=True
    )


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else repr(error)
