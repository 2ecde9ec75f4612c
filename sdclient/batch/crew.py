"""What a run works with, wherever its servers are: a fleet is checked, and sends a crew; the crew sends messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .finish import Check, MadeImage, SpoiledImage
from .job_queue import JobQueue
from .jobs import Job
from .mask_files import MaskFiles
from .memory_limits import MemoryLimits
from .preparing import Preparer
from .server import CheckedServer
from .servers import ServerStatus


@dataclass(frozen=True)
class Started:
    """A job is on its way."""

    job: Job


@dataclass(frozen=True)
class Outcome:
    """A job is over."""

    job: Job
    images: Sequence[MadeImage | SpoiledImage] = ()
    error: Exception | None = None
    """Why there are no images; a WebUIError, or a fault of the user's files."""


@dataclass(frozen=True)
class Orders:
    """What a crew is sent out with."""

    jobs: JobQueue
    """What to ask for."""
    native_px: int
    """Side of the square the servers' model was trained on."""
    preparer: Preparer
    """Makes jobs ready from the sources on this machine."""
    masks: MaskFiles | None
    """Where the masks are of jobs that have one."""
    limits: MemoryLimits
    """Learns what the servers' memory does not take."""
    check: Check | None
    """Finds spoiled images."""
    max_in_flight: int
    """Requests at a server of weight 1."""

    def too_large(self, job: Job) -> None:
        """A server's memory did not take so many images at once: told before the next job of this size goes out."""
        if len(job.images) > 1:
            self.limits.exceeded(self.preparer.size_of(job), len(job.images))


class Crew(Protocol):
    """Keeps each server busy, and finishes what comes back.

    Its messages are for one thread, the one that writes. Every job that is taken from the queue ends in one `Outcome`,
    or goes back into the queue; none is dropped.
    """

    def start(self) -> None:
        """Begin to work."""

    def next_message(self, timeout_s: float) -> Started | Outcome | None:
        """What happened next; None when nothing did within the time.

        Raises:
            OutputError: a fault of the crew itself, after which it does not go on.
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


class Fleet(Protocol):
    """The servers of a run."""

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> CheckedServer:
        """What all of them make of a run's settings; see `server.check_servers`, whose errors are raised."""

    def crew(self, orders: Orders) -> Crew:
        """Those who ask them; not started yet."""
