"""The threads that ask the servers; what they bring back goes through one box to the thread that writes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..errors import OutputError, SDClientError, WebUIError
from .crew import Orders, Outcome, Started
from .failures import Meaning, meaning_of
from .finish import Answer, finish
from .preparing import ReadyJob
from .sending import Sender
from .server import CheckedServer, check_servers
from .servers import Server, ServerHealth, ServerStatus

_FINISHERS = 2
_HELD_PER_ASKER = 2


class Servers:
    """Servers that are reached from this machine; a `Fleet`.

    Args:
        servers: one or more.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = list(servers)

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> CheckedServer:
        """See `check_servers`."""
        return check_servers(self._servers, samplers, loras, allow_mixed=allow_mixed)

    def crew(self, orders: Orders) -> ThreadCrew:
        """Threads that ask them; not started yet."""
        return ThreadCrew(self._servers, orders)


class ThreadCrew:
    """Some requests at each server, the next one ready to be sent, finishing done beside them; a `Crew`.

    Args:
        servers: whom to ask.
        orders: what for.
    """

    def __init__(self, servers: Sequence[Server], orders: Orders) -> None:
        self._stopped = threading.Event()
        self._jobs = orders.jobs
        self._preparer = orders.preparer
        self._check = orders.check
        self._sender = Sender(orders.too_large)
        self._health = [ServerHealth(server.name, server.webui.samplers) for server in servers]
        self._box: queue.SimpleQueue[Started | Outcome] = queue.SimpleQueue()
        self._threads = []
        for server, health in zip(servers, self._health, strict=True):
            most = max(1, round(orders.max_in_flight * server.weight))
            places = threading.Semaphore(most)
            # One thread more than there are places: it has the next request ready when a place falls free.
            self._threads += [
                threading.Thread(
                    target=self._work, args=(server, health, places), name=f"{server.name} {n}", daemon=True
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
        self._sender.interrupt_jobs()

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
                ready = self._preparer.prepare(job)
                with places:
                    if self._stopped.is_set() or health.away is not None or not self._jobs.fits(job):
                        self._held.release()
                        self._jobs.settle(job)
                        continue
                    answer = self._ask(server, health, ready)
            except (SDClientError, OSError) as error:
                if isinstance(error, WebUIError) and meaning_of(error) is Meaning.SERVER_AWAY:
                    health.set_aside(error)
                self._box.put(Outcome(job, error=error))
            except BaseException as error:  # a fault of ours must end the run, not leave it waiting
                self._box.put(Outcome(job, error=OutputError(f"unexpected failure: {error!r}")))
                raise
            else:
                with self._counting:
                    self._finishing += 1
                self._finishers.submit(self._finish, answer)

    def _ask(self, server: Server, health: ServerHealth, ready: ReadyJob) -> Answer:
        self._box.put(Started(ready.job))
        made = 0
        health.asked()
        try:
            answer = self._sender.send(server, ready)
            made = len(ready.job.images)
            return answer
        finally:
            health.answered(made)

    def _finish(self, answer: Answer) -> None:
        try:
            images = finish(answer, self._check)
        except (SDClientError, OSError) as error:
            self._box.put(Outcome(answer.job, error=error))
        except BaseException as error:
            self._box.put(Outcome(answer.job, error=OutputError(f"unexpected failure: {error!r}")))
            raise
        else:
            self._box.put(Outcome(answer.job, images=images))
        finally:
            with self._counting:
                self._finishing -= 1
