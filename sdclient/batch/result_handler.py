"""What happens after each job: write its images, repeat or give up what failed, and stop a run that makes nothing."""

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
    """Writes the images of finished jobs, and repeats or gives up those that failed.

    Only the thread that writes calls it, so it needs no lock; the job queue that it puts jobs back into has its own.
    `tries` is how often an image is tried before it is given up.
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
        """Images that were given up: file -> reason."""
        self._store, self._job_source, self._jobs = store, job_source, jobs
        self._limits, self._stall_detector, self._tries = limits, stall_detector, tries
        self._attempts: Counter[str] = Counter()

    def handle(self, finished_jobs: Sequence[JobFinished]) -> Iterator[ImageRecord]:
        """Handle jobs that have ended; the job source is told all results at once. Yields the images that were written.

        Raises:
            SDClientError: a failure that would be the same for every image, or one of the user's files. Images of the
                other jobs are written all the same.
            OSError: a source cannot be read, or the output cannot be written.
        """
        # First files and rows, then their consequences. A crash in between leaves images that are done and rows that
        # say running; the next start makes only what is not done. Jobs are finished in the queue last and also after an
        # error: otherwise the threads in JobQueue.take would wait forever.
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
        """The jobs to do instead of one that failed; raises an error that every image would have."""
        images = finished.job.images
        failure_kind = classify_failure(error) if isinstance(error, WebUIError) else FailureKind.STOP
        if failure_kind is FailureKind.STOP or not isinstance(error, WebUIError):
            self._store.requeue(images, str(error), failures=0)
            raise error
        if failure_kind is FailureKind.SERVER_AWAY:
            self._stall_detector.server_was_away(error)
        elif failure_kind is FailureKind.SMALLER_BATCH and len(images) > 1:
            self._store.keep_batch_limits(self._limits.as_dict())  # by these the queue splits the job
        else:
            return self._try_again(images, str(error), error)
        self._store.requeue(images, str(error), failures=0)
        return [finished.job]

    def _try_again(self, images: Sequence[PlannedImage], reason: str, error: WebUIError | None) -> list[Job]:
        """A job for each image that has tries left; the other images are given up."""
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
"""After so many failed tries without a single image, a run is stopped: the cause is not chance."""


class StallDetector:
    """Notices when a run makes no images any more; `patience_s` is how long to wait for one while servers are away."""

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._last_made = clock()
        self._away: WebUIError | None = None
        self._tries_in_vain = 0
        self._any_made = False
        self._error: WebUIError | None = None

    def made(self) -> None:
        """Note that images were made."""
        self._last_made = self._clock()
        self._away = None
        self._any_made = True

    def server_was_away(self, error: WebUIError) -> None:
        """Note that a server did not answer."""
        self._away = error

    def failed(self, tries: int, error: WebUIError | None) -> None:
        """Note failed tries; `error` is None if the check rejected the images."""
        self._tries_in_vain += tries
        self._error = error

    def give_up_if_stalled(self) -> None:
        """Raise the reason if the run makes no images any more.

        Raises:
            WebUIError: servers were away for too long, or every try has failed from the start.
        """
        if self._away is not None and self._clock() - self._last_made > self._patience_s:
            raise self._away
        if not self._any_made and self._error is not None and self._tries_in_vain >= _MOST_TRIES_IN_VAIN:
            raise self._error
