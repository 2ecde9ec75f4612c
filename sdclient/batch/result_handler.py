"""What follows from each finished job; when a run is given up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ..errors import WebUIError
from ..manifest.database import ImageRecord
from ..output.store import GeneratedFile, OutputStore
from .dispatcher import JobFinished, JobSource
from .job_execution import FailureKind, RejectedImage, classify_failure
from .jobs import BatchSizeLimits, Job, JobQueue, PlannedImage


class ResultHandler:
    """Writes what came back, and decides about what did not; in the thread that writes.

    Args:
        store: the open output.
        job_source: hears what became of its jobs.
        jobs: takes back what is to be tried again.
        limits: batch sizes that the servers' memory allows.
        stall_detector: ends a run that gets nowhere.
        tries: how often an image is tried before it is given up.
    """

    def __init__(
        self,
        store: OutputStore,
        job_source: JobSource,
        jobs: JobQueue,
        limits: BatchSizeLimits,
        stall_detector: StallDetector,
        *,
        tries: int,
    ) -> None:
        self.failed: dict[str, str] = {}
        """Images given up: file -> reason."""
        self._store = store
        self._job_source = job_source
        self._jobs = jobs
        self._limits = limits
        self._stall_detector = stall_detector
        self._tries = tries
        self._attempts: Counter[str] = Counter()

    def handle(self, finished_jobs: Sequence[JobFinished]) -> Iterator[ImageRecord]:
        """Settle jobs that are over, of which the job source hears all at once; gives the images that are in place.

        Raises:
            SDClientError: the failure would be the same for every image, or is one of the user's files; what came
                beside it is in place.
            OSError: a source cannot be read, or the output not written.
        """
        # First files and rows, then what follows from them. A crash in between leaves images that are done, or rows
        # that say running; the next start makes only what is not done. Jobs go back into the queue last, whatever
        # was raised, or the threads that wait in JobQueue.take would wait for ever.
        again: list[Job] = []
        records: list[ImageRecord] = []
        try:
            for finished in finished_jobs:
                if made := [image for image in finished.images if isinstance(image, GeneratedFile)]:
                    records += self._store.save(made)
            if records:
                self._stall_detector.made()
                self._job_source.saved(records)
            for image in (image for finished in finished_jobs for image in finished.images):
                if isinstance(image, RejectedImage):
                    again += self._try_again([image.planned], image.reason, None)
            yield from records
            for finished in finished_jobs:
                if finished.error is not None:
                    again += self._after_error(finished, finished.error)
        finally:
            for _ in finished_jobs[1:]:
                self._jobs.finish()
            self._jobs.finish(*again)

    def _after_error(self, finished: JobFinished, error: Exception) -> list[Job]:
        """The jobs to do instead of one that failed; raises what would be the same for every image."""
        job = finished.job
        failure_kind = classify_failure(error) if isinstance(error, WebUIError) else FailureKind.STOP
        if failure_kind is FailureKind.STOP or not isinstance(error, WebUIError):
            self._store.requeue(job.images, str(error), failures=0)
            raise error
        if failure_kind is FailureKind.SERVER_AWAY:
            self._stall_detector.server_was_away(error)
            self._store.requeue(job.images, str(error), failures=0)
            return [job]
        if failure_kind is FailureKind.SMALLER_BATCH and len(job.images) > 1:
            self._store.keep_batch_limits(self._limits.as_dict())
            self._store.requeue(job.images, str(error), failures=0)
            return [job]  # the queue splits it
        return self._try_again(job.images, str(error), error)

    def _try_again(self, images: Sequence[PlannedImage], reason: str, error: WebUIError | None) -> list[Job]:
        """Images within their budget one by one; the others are given up."""
        again = []
        for image in images:
            self._attempts[image.file] += 1
            if self._attempts[image.file] < self._tries:
                again.append(image)
            else:
                self._store.failed([image], reason)
                self.failed[image.file] = reason
                self._job_source.failed([image])
        self._store.requeue(again, reason, failures=1)
        self._stall_detector.failed(len(images), error)
        return [Job((image,)) for image in again]


_MOST_TRIES_IN_VAIN = 12
"""Failed tries, without one success, after which a run is stopped: what fails every image is no bad luck."""


class StallDetector:
    """Whether a run still gets anywhere."""

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._last_made = clock()
        self._away: WebUIError | None = None
        self._tries_in_vain = 0
        self._any_made = False
        self._error: WebUIError | None = None

    def made(self) -> None:
        """Images were made."""
        self._last_made = self._clock()
        self._away = None
        self._any_made = True

    def server_was_away(self, error: WebUIError) -> None:
        """A server did not answer."""
        self._away = error

    def failed(self, tries: int, error: WebUIError | None) -> None:
        """Tries failed; `error` is the server's fault, None for spoiled images."""
        self._tries_in_vain += tries
        self._error = error

    def give_up_if_stalled(self) -> None:
        """Stop a run that makes nothing.

        Raises:
            WebUIError: servers were away for too long, or every try has failed from the start.
        """
        if self._away is not None and self._clock() - self._last_made > self._patience_s:
            raise self._away
        if not self._any_made and self._error is not None and self._tries_in_vain >= _MOST_TRIES_IN_VAIN:
            raise self._error
