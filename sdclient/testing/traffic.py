"""What came to the server: each request, each job, and whether a job was sent while the same one was running."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

NAME_FIELD = "force_task_id"
"""The request field with the job's name."""


@dataclass(frozen=True)
class SeenRequest:
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


@dataclass(frozen=True)
class _Running:
    name: str
    work: str


class JobLog:
    """Keeps the jobs in the order they came; safe to use from many threads."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._jobs: list[Job] = []
        self._running: list[_Running] = []

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs so far."""
        with self._changing:
            return tuple(self._jobs)

    @contextmanager
    def running(self, name: str, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Note a job from its coming to its answer; the block fills in `status` and `images`.

        The server is done with it when it says so with `ended`, which is before its reply has been sent.
        """
        work = json.dumps([path, {name: value for name, value in body.items() if name != NAME_FIELD}], sort_keys=True)
        outcome: dict[str, Any] = {}
        with self._changing:
            number = len(self._jobs)
            self._jobs.append(Job(path, body, doubled=any(other.work == work for other in self._running)))
            mine = _Running(name, work)
            self._running.append(mine)
        try:
            yield outcome
        finally:
            with self._changing:
                self._running = [other for other in self._running if other is not mine]
                self._jobs[number] = replace(self._jobs[number], **outcome)

    def ended(self, name: str) -> None:
        """The server says that it no longer works on the job of this name; the first of them, where several are."""
        with self._changing:
            mine = next((running for running in self._running if running.name == name), None)
            self._running = [other for other in self._running if other is not mine]
