"""The threads that ask the servers; what they bring back goes through one box to the thread that writes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import OutputError, SDClientError, WebUIError
from .failures import Meaning, meaning_of
from .finish import Answer, Check, MadeImage, SpoiledImage, finish
from .job_queue import JobQueue
from .jobs import Job
from .preparing import ReadyJob
from .servers import Server, ServerHealth

_FINISHERS = 2
_HELD_PER_ASKER = 2


@dataclass(frozen=True)
class Started:
    """A job is on its way."""

    job: Job


@dataclass(frozen=True)
class Outcome:
    """A job is over."""

    job: Job
    health: ServerHealth
    images: Sequence[MadeImage | SpoiledImage] = ()
    error: Exception | None = None
    """Why there are no images; a WebUIError, or a fault of the user's files."""


class Crew:
    """Keeps each server busy: some requests at it, the next one ready to be sent, finishing done beside them.

    Args:
        servers: whom to ask.
        jobs: what to ask for.
        prepare: makes one job ready to be sent.
        send: sends a ready job to one server and gives its answer.
        check: finds spoiled images.
        max_in_flight: requests at a server of weight 1.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        jobs: JobQueue,
        prepare: Callable[[Job], ReadyJob],
        send: Callable[[Server, ReadyJob], Answer],
        check: Check | None,
        *,
        max_in_flight: int,
    ) -> None:
        self.health = [ServerHealth(server) for server in servers]
        self.stopped = threading.Event()
        self._jobs = jobs
        self._prepare = prepare
        self._send = send
        self._check = check
        self._box: queue.SimpleQueue[Started | Outcome] = queue.SimpleQueue()
        self._threads = []
        for health in self.health:
            most = max(1, round(max_in_flight * health.server.weight))
            places = threading.Semaphore(most)
            # One thread more than there are places: it has the next request ready when a place falls free.
            self._threads += [
                threading.Thread(
                    target=self._work, args=(health, places), name=f"{health.server.name} {n}", daemon=True
                )
                for n in range(most + 1)
            ]
        # Bounds the answers held in memory when the disk is slower than the servers.
        self._held = threading.BoundedSemaphore(_HELD_PER_ASKER * len(self._threads) + _FINISHERS)
        self._counting = threading.Lock()
        self._finishing = 0
        self._finishers = ThreadPoolExecutor(_FINISHERS, thread_name_prefix="finish")

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def next_message(self, timeout_s: float) -> Started | Outcome | None:
        """What happened next; None when nothing did within the time."""
        try:
            message = self._box.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(message, Outcome):
            self._held.release()
        return message

    def stop(self) -> None:
        """Send nothing more; what is at the servers is still brought back."""
        self.stopped.set()
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

    def _work(self, health: ServerHealth, places: threading.Semaphore) -> None:
        while not self.stopped.is_set():
            health.wait_until_back(self.stopped)
            job = None if self.stopped.is_set() else self._jobs.take()
            if job is None:
                return
            self._held.acquire()
            try:
                ready = self._prepare(job)
                with places:
                    if self.stopped.is_set() or health.away is not None or not self._jobs.fits(job):
                        self._held.release()
                        self._jobs.settle(job)
                        continue
                    answer = self._ask(health, ready)
            except (SDClientError, OSError) as error:
                if isinstance(error, WebUIError) and meaning_of(error) is Meaning.SERVER_AWAY:
                    health.set_aside(error)
                self._box.put(Outcome(job, health, error=error))
            except BaseException as error:  # a fault of ours must end the run, not leave it waiting
                self._box.put(Outcome(job, health, error=OutputError(f"unexpected failure: {error!r}")))
                raise
            else:
                with self._counting:
                    self._finishing += 1
                self._finishers.submit(self._finish, answer, health)

    def _ask(self, health: ServerHealth, ready: ReadyJob) -> Answer:
        self._box.put(Started(ready.job))
        made = 0
        health.asked()
        try:
            answer = self._send(health.server, ready)
            made = len(ready.job.images)
            return answer
        finally:
            health.answered(made)

    def _finish(self, answer: Answer, health: ServerHealth) -> None:
        try:
            images = finish(answer, self._check)
        except (SDClientError, OSError) as error:
            self._box.put(Outcome(answer.job, health, error=error))
        except BaseException as error:
            self._box.put(Outcome(answer.job, health, error=OutputError(f"unexpected failure: {error!r}")))
            raise
        else:
            self._box.put(Outcome(answer.job, health, images=images))
        finally:
            with self._counting:
                self._finishing -= 1
