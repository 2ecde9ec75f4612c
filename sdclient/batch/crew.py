"""The protocols of a run, wherever its servers are: a pool checks them and makes a dispatcher; that sends messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .finish import Check, GeneratedFile, RejectedImage
from .job_queue import JobQueue
from .jobs import Job
from .mask_files import SourceMasks
from .memory_limits import BatchSizeLimits
from .preparing import RequestPreparer
from .server import ServerFacts
from .servers import ServerStatus


@dataclass(frozen=True)
class JobStarted:
    """A job is on its way."""

    job: Job


@dataclass(frozen=True)
class JobFinished:
    """A job is over."""

    job: Job
    images: Sequence[GeneratedFile | RejectedImage] = ()
    error: Exception | None = None
    """Why there are no images; a WebUIError, or a fault of the user's files."""


@dataclass(frozen=True)
class RunContext:
    """What a dispatcher works with."""

    jobs: JobQueue
    """What to ask for."""
    native_px: int
    """Side of the square the servers' model was trained on."""
    preparer: RequestPreparer
    """Makes jobs ready from the sources on this machine."""
    masks: SourceMasks | None
    """Where the masks are of jobs that have one."""
    limits: BatchSizeLimits
    """Learns what the servers' memory does not take."""
    check: Check | None
    """Finds spoiled images."""
    max_in_flight: int
    """Requests at a server of weight 1."""

    def too_large(self, job: Job) -> None:
        """A server's memory did not take so many images at once: told before the next job of this size goes out."""
        if len(job.images) > 1:
            self.limits.exceeded(self.preparer.size_of(job), len(job.images))


class Dispatcher(Protocol):
    """Keeps each server busy, and finishes what comes back.

    One thread alone reads its messages, the one that writes. Every job that is taken from the queue ends in one
    `JobFinished`, or goes back into the queue; none is dropped.
    """

    def start(self) -> None:
        """Begin to work."""

    def next_message(self, timeout_s: float) -> JobStarted | JobFinished | None:
        """What happened next; None when nothing did within the time.

        Raises:
            OutputError: a fault of the dispatcher itself, after which it does not go on.
        """

    def stop(self) -> None:
        """Send nothing more; what is at the servers is still brought back."""

    @property
    def is_busy(self) -> bool:
        """Whether anything may still come."""

    def join(self) -> None:
        """Wait for the end of all that was begun."""

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and nobody else's; returns when none is there any more."""

    def statuses(self) -> list[ServerStatus]:
        """How each server is doing."""


class ServerPool(Protocol):
    """The servers of a run."""

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> ServerFacts:
        """What all of them make of a run's settings; see `server.check_servers`, whose errors are raised."""

    def dispatcher(self, context: RunContext) -> Dispatcher:
        """The dispatcher that asks them; not started yet."""
