"""The threads that ask the servers; what they bring back goes through one box to the thread that writes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import OutputError, SDClientError
from .finish import Answer, Check, MadeImage, SpoiledImage, finish
from .job_queue import JobQueue
from .jobs import Job
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
    """Keeps each server busy: some requests at it, the next already waiting, finishing done beside them.

    Args:
        servers: whom to ask.
        jobs: what to ask for.
        ask: sends one job to one server and gives its answer.
        check: finds spoiled images.
        max_in_flight: requests at a server of weight 1.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        jobs: JobQueue,
        ask: Callable[[Server, Job], Answer],
        check: Check | None,
        *,
        max_in_flight: int,
    ) -> None:
        self.health = [ServerHealth(server) for server in servers]
        self.stopped = threading.Event()
        self._jobs = jobs
        self._ask = ask
        self._check = check
        self._box: queue.SimpleQueue[Started | Outcome] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(health,), name=f"{health.server.name} {n}", daemon=True)
            for health in self.health
            for n in range(max(1, round(max_in_flight * health.server.weight)))
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

    def _work(self, health: ServerHealth) -> None:
        while not self.stopped.is_set():
            health.wait_until_back(self.stopped)
            job = None if self.stopped.is_set() else self._jobs.take()
            if job is None:
                return
            self._held.acquire()
            self._box.put(Started(job))
            health.asked()
            try:
                answer = self._ask(health.server, job)
            except (SDClientError, OSError) as error:
                health.answered(0)
                self._box.put(Outcome(job, health, error=error))
            except BaseException as error:  # a fault of ours must end the run, not leave it waiting
                health.answered(0)
                self._box.put(Outcome(job, health, error=OutputError(f"unexpected failure: {error!r}")))
                raise
            else:
                health.answered(len(job.images))
                with self._counting:
                    self._finishing += 1
                self._finishers.submit(self._finish, answer, health)

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
