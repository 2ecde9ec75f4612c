"""Which job is running, waiting or done, by the names jobs carry: what a WebUI's page asks about its own jobs."""

from __future__ import annotations

import threading
from collections import deque

_REMEMBERED = 16


class TaskHistory:
    """Names of the running job, of those that wait, and of the last ones that ended well.

    Two traps of the genuine server are kept: a job that failed counts as running until another one begins, and
    one that failed before it began (a source that cannot be read) counts as waiting for ever.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._current: str | None = None
        self._waiting: dict[str, None] = {}
        self._done: deque[str] = deque(maxlen=_REMEMBERED)

    def add(self, task: str) -> None:
        """A job has come and waits for its turn."""
        with self._changing:
            self._waiting[task] = None

    def start(self, task: str) -> None:
        """It is its turn."""
        with self._changing:
            self._current = task
            self._waiting.pop(task, None)

    def finish(self, task: str) -> None:
        """It has ended well."""
        with self._changing:
            if self._current == task:
                self._current = None
            self._done.append(task)

    def waiting(self) -> list[str]:
        """Those that wait, in the order they came."""
        with self._changing:
            return list(self._waiting)

    def is_running(self, task: str | None) -> bool:
        """Whether this one is being worked on; no name at all is taken as the name of an idle server's job."""
        return task == self._current

    def is_done(self, task: str | None) -> bool:
        """Whether it is among the last 16 that ended well."""
        with self._changing:
            return task in self._done
