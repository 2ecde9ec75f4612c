"""What follows from each job that is over: images are kept, tried again, or given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..errors import WebUIError
from ..manifest import ImageRecord
from .crew import Outcome
from .failures import Meaning, meaning_of
from .feed import Feed
from .finish import MadeImage, SpoiledImage
from .job_queue import JobQueue
from .jobs import Job, PlannedImage
from .memory_limits import MemoryLimits
from .patience import Patience
from .store import OutputStore


class Settlement:
    """Writes what came back, and decides about what did not; in the thread that writes.

    Args:
        store: the open output.
        feed: hears what became of its jobs.
        jobs: takes back what is to be tried again.
        limits: batch sizes that the servers' memory allows.
        patience: ends a run that gets nowhere.
        tries: how often an image is tried before it is given up.
    """

    def __init__(
        self,
        store: OutputStore,
        feed: Feed,
        jobs: JobQueue,
        limits: MemoryLimits,
        patience: Patience,
        *,
        tries: int,
    ) -> None:
        self.failed: dict[str, str] = {}
        """Images given up: file -> reason."""
        self._store = store
        self._feed = feed
        self._jobs = jobs
        self._limits = limits
        self._patience = patience
        self._tries = tries
        self._attempts: Counter[str] = Counter()

    def settle(self, outcomes: Sequence[Outcome]) -> Iterator[ImageRecord]:
        """Settle jobs that are over, of which the feed hears all at once; gives the images that are in place.

        Raises:
            SDClientError: the failure would be the same for every image, or is one of the user's files; what came
                beside it is in place.
            OSError: a source cannot be read, or the output not written.
        """
        again: list[Job] = []
        records: list[ImageRecord] = []
        try:
            for outcome in outcomes:
                if made := [image for image in outcome.images if isinstance(image, MadeImage)]:
                    records += self._store.save(made)
            if records:
                self._patience.made()
                self._feed.saved(records)
            for image in (image for outcome in outcomes for image in outcome.images):
                if isinstance(image, SpoiledImage):
                    again += self._try_again([image.planned], image.reason, None)
            yield from records
            for outcome in outcomes:
                if outcome.error is not None:
                    again += self._after_error(outcome, outcome.error)
        finally:
            for _ in outcomes[1:]:
                self._jobs.settle()
            self._jobs.settle(*again)

    def _after_error(self, outcome: Outcome, error: Exception) -> list[Job]:
        """The jobs to do instead of one that failed; raises what would be the same for every image."""
        job = outcome.job
        meaning = meaning_of(error) if isinstance(error, WebUIError) else Meaning.STOP
        if meaning is Meaning.STOP or not isinstance(error, WebUIError):
            self._store.put_off(job.images, str(error), failures=0)
            raise error
        if meaning is Meaning.SERVER_AWAY:
            self._patience.was_away(error)
            self._store.put_off(job.images, str(error), failures=0)
            return [job]
        if meaning is Meaning.SMALLER_BATCH and len(job.images) > 1:
            self._store.keep_batch_limits(self._limits.as_dict())
            self._store.put_off(job.images, str(error), failures=0)
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
                self._feed.failed([image])
        self._store.put_off(again, reason, failures=1)
        self._patience.failed(len(images), error)
        return [Job((image,)) for image in again]
