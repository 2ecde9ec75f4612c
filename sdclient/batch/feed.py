"""Where a run's jobs come from: a plan that is known from the start, or decisions made while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..manifest import ImageRecord
from .jobs import Job, PlannedImage


class JobSource(Protocol):
    """Decides what is made next, and hears what became of it.

    `next_job` is called by the threads that ask the servers, one at a time; the others by the thread that writes.
    """

    def next_job(self) -> Job | None:
        """The next job; None when there is nothing to ask for until something that is on its way has come back."""

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """These images are in place and recorded."""

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """These are given up."""


class PlannedJobs:
    """Jobs that are known from the start, read only as far as needed."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)

    def next_job(self) -> Job | None:
        """The next job; None after the last."""
        return next(self._jobs, None)

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """Nothing follows from it."""

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """Nothing follows from it."""
