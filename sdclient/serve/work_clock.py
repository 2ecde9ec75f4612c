"""The server's own clock: how long it worked on jobs, and how long it waited for them in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter


@dataclass(frozen=True)
class WorkTimes:
    """What the clock shows."""

    jobs: int
    """Jobs that have ended."""
    busy_s: float
    """Time that these held the queue lock."""
    idle_s: float
    """The rest of the time from the first one's beginning to the last one's end."""

    @property
    def idle_rate(self) -> float:
        """Idle share of that time, in [0, 1]; 0 where no time has passed."""
        span_s = self.busy_s + self.idle_s
        return self.idle_s / span_s if span_s > 0 else 0.0


class WorkClock:
    """Counts a job as work from when it gets the queue lock to when it lets go of it.

    In that time a genuine WebUI decodes the source and generates; what comes before (reading the request) and after
    (encoding the reply) happens beside the next job's work.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._changing = threading.Lock()
        self._first_s: float | None = None
        self._times = WorkTimes(0, 0.0, 0.0)

    @contextmanager
    def job(self) -> Iterator[None]:
        """A job holds the lock for as long as the block lasts."""
        begun_s = self._clock()
        try:
            yield
        finally:
            self._add(begun_s, self._clock())

    def _add(self, begun_s: float, ended_s: float) -> None:
        with self._changing:
            first_s = begun_s if self._first_s is None else self._first_s
            busy_s = self._times.busy_s + ended_s - begun_s
            self._first_s = first_s
            self._times = WorkTimes(self._times.jobs + 1, busy_s, max(ended_s - first_s - busy_s, 0.0))

    def read(self) -> WorkTimes:
        """What it shows now; a running job counts once it has ended."""
        with self._changing:
            return self._times


def clock_router(clock: WorkClock, check: Any) -> APIRouter:
    """`GET /sdclient/clock`: what the clock shows. Ours alone; a genuine WebUI has no such call."""
    router = APIRouter(dependencies=[check])

    @router.get("/sdclient/clock", include_in_schema=False)
    async def read() -> dict[str, Any]:
        times = clock.read()
        return {**asdict(times), "idle_rate": times.idle_rate}

    return router
