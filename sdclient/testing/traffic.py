"""What came to the server: each request, each job, and whether a job was sent while the same one was running."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

NAME_FIELD = "force_task_id"
"""The request field with the job's name."""


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    fault: str | None
    """Name of the planned fault it met."""


@dataclass(frozen=True)
class Job:
    """One generating request that reached the server."""

    path: str
    body: Mapping[str, Any] = field(repr=False)
    """The request's JSON."""
    doubled: bool
    """Whether the same work was being done already when it came."""
    status: int | None = None
    """The server's answer, also where the client never got it; None while the job runs."""
    images: int = 0
    """How many images the server made."""

    @property
    def task_id(self) -> str | None:
        """The name the client gave it."""
        name = self.body.get(NAME_FIELD)
        return None if name is None else str(name)


class JobLog:
    """Keeps the jobs in the order they came; safe to use from many threads."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._jobs: list[Job] = []
        self._running: Counter[str] = Counter()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs so far."""
        with self._changing:
            return tuple(self._jobs)

    @contextmanager
    def running(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Note a job for as long as the server works on it; the block fills in `status` and `images`."""
        work = json.dumps([path, {name: value for name, value in body.items() if name != NAME_FIELD}], sort_keys=True)
        outcome: dict[str, Any] = {}
        with self._changing:
            number = len(self._jobs)
            self._jobs.append(Job(path, body, doubled=self._running[work] > 0))
            self._running[work] += 1
        try:
            yield outcome
        finally:
            with self._changing:
                self._running[work] -= 1
                self._jobs[number] = replace(self._jobs[number], **outcome)
