"""The jobs that wait to be sent; every server's threads take from here."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..errors import SDClientError
from .jobs import Job


class JobQueue:
    """A plan's jobs, handed out one by one; a job that failed may come back.

    Args:
        next_job: gives the next job, read only as far as needed, so a long plan costs nothing. None says that there is
            none for now; it is asked again when a job that is out is settled, and when none is out, that was the end.
        most: how many images of a job may be asked for at once; a larger one is split.
    """

    def __init__(self, next_job: Callable[[], Job | None], most: Callable[[Job], int]) -> None:
        self._next_job = next_job
        self._most = most
        self._again: deque[Job] = deque()
        self._out = 0
        self._closed = False
        self._ended = False
        # Guards all of the above. `next_job` and `most` are called while it is held, so neither may call this queue.
        self._changed = threading.Condition()

    def take(self) -> Job | None:
        """The next job; waits while others may still come back. None when all is done, or the queue was closed."""
        with self._changed:
            while not self._closed:
                job = self._again.popleft() if self._again else self._next_job()
                if job is not None:
                    first, *rest = job.split(self._most_of(job))
                    self._again.extendleft(reversed(rest))
                    self._out += 1
                    return first
                if self._out == 0:
                    self._ended = True
                    self._changed.notify_all()
                    return None
                self._changed.wait()
            return None

    def fits(self, job: Job) -> bool:
        """Whether a job that was taken may still be asked for at once; else it is to be given back, to be split."""
        return len(job.images) <= self._most_of(job)

    def _most_of(self, job: Job) -> int:
        try:
            return self._most(job)
        except (SDClientError, OSError):
            return len(job.images)  # its source cannot be read: whoever prepares the job meets that, and tells it

    def settle(self, *again: Job) -> None:
        """A job that was taken is over; what is left of it is given back."""
        with self._changed:
            self._again.extend(again)
            self._out -= 1
            self._changed.notify_all()

    @property
    def is_finished(self) -> bool:
        """Whether every job was taken and settled, or none is handed out any more and none is outstanding."""
        with self._changed:
            return self._out == 0 and (self._closed or self._ended)

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
