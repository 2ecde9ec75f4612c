"""Jobs out of planned images, the queue of jobs, and the batch sizes that servers have memory for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from ..errors import SDClientError
from ..output.planned_images import PlannedFile, SourcePlan, image_keys
from ..sources.source import Source
from .settings import ImageParameters

_PARAMETERS_KEPT = 1024
"""Different parameters of one source that are cached with their hash; drawn values come again and again."""


@dataclass(frozen=True, slots=True)
class PlannedImage(PlannedFile):
    """One image to request from a server."""

    parameters: ImageParameters


@dataclass(frozen=True)
class GenerationPlan(SourcePlan[PlannedImage]):
    """Images of one source to request from servers."""

    parameters_for: Callable[[int, int], ImageParameters]
    """(k, seed) -> the image's parameters."""
    identity: Callable[[ImageParameters], Mapping[str, Any]]
    """Everything that changes pixels, spelled the same for every server's dialect."""
    mask_sha256: str | None = None
    """Of the bytes of the source's mask; None without a mask."""

    @property
    def has_masks(self) -> bool:
        """See `SourcePlan`."""
        return self.mask_sha256 is not None

    def images(self, ks: Iterable[int]) -> Iterator[PlannedImage]:
        """See `SourcePlan`."""
        for k, seed, key, parameters in self._images(ks):
            yield PlannedImage(self.source, self.source_sha256, k, seed, key, parameters)

    def identities(self, ks: Iterable[int]) -> Iterator[tuple[int, int, str]]:
        """See `SourcePlan`; creates no object for each image."""
        for k, seed, key, _ in self._images(ks):
            yield k, seed, key

    def _images(self, ks: Iterable[int]) -> Iterator[tuple[int, int, str, ImageParameters]]:
        base, with_key = self._base(), lru_cache(_PARAMETERS_KEPT)(self._with_key)
        previous: ImageParameters | None = None
        for k in ks:
            seed = base + k
            found = self.parameters_for(k, seed)
            if found is not previous:
                parameters, key = with_key(found)  # equal parameters become one object
                previous = found
            yield k, seed, key(seed), parameters

    def _with_key(self, parameters: ImageParameters) -> tuple[ImageParameters, Callable[[int], str]]:
        """Parameters, and the function from seed to key for them."""
        return parameters, image_keys(self.source_sha256, self.identity(parameters))


@dataclass(frozen=True)
class Job:
    """One request: images of one source with equal parameters and consecutive seeds."""

    images: tuple[PlannedImage, ...]

    def split(self, most: int) -> tuple[Job, ...]:
        """The same images in jobs of at most `most` images."""
        return tuple(Job(self.images[start : start + most]) for start in range(0, len(self.images), most))

    @property
    def source(self) -> Source:
        """The source of all images."""
        return self.images[0].source

    @property
    def parameters(self) -> ImageParameters:
        """The parameters of all images."""
        return self.images[0].parameters

    @property
    def seed(self) -> int:
        """Seed of the first image."""
        return self.images[0].seed


def plan_images(
    source: Source,
    source_sha256: str,
    count: int,
    *,
    run_seed: int,
    parameters_for: Callable[[Source, int, int], ImageParameters],
    identity: Callable[[ImageParameters], Mapping[str, Any]],
    first: int = 1,
) -> Iterator[PlannedImage]:
    """Images `first` to `count` of a source, in order; `parameters_for` takes source, k and seed. See `GenerationPlan`.

    Raises:
        ValueError: more images of one source than seeds are reserved for.
    """
    plan = GenerationPlan(source, source_sha256, count, run_seed, partial(parameters_for, source), identity)
    return plan.images(range(first, count + 1))


def pack_jobs(images: Iterable[PlannedImage], batch_size: int) -> Iterator[Job]:
    """Pack images into jobs: consecutive images of one source with equal parameters share one."""
    batch: list[PlannedImage] = []
    for image in images:
        if batch:
            last = batch[-1]
            wanted = (last.source, last.seed + 1, last.parameters)
            if len(batch) == batch_size or (image.source, image.seed, image.parameters) != wanted:
                yield Job(tuple(batch))
                batch = []
        batch.append(image)
    if batch:
        yield Job(tuple(batch))


class JobQueue:
    """Jobs for the sending threads; a job that failed may be put back.

    `next_job` is called only when a job is needed, so that a long plan takes no memory. If it gives None, it is called
    again when a job that is out is finished; if no job is out, the queue has ended. A job of more than `most` images is
    split.
    """

    def __init__(self, next_job: Callable[[], Job | None], most: Callable[[Job], int]) -> None:
        self._next_job = next_job
        self._most = most
        self._again: deque[Job] = deque()
        self._out = 0
        self._closed = False
        self._ended = False
        # Guards all of the above. `next_job` and `most` are called while it is held, so neither may call this queue.
        # Nothing here is stored: after a crash, the next start plans the images anew whose rows do not say done.
        self._changed = threading.Condition()

    def take(self) -> Job | None:
        """The next job; waits while jobs may still be put back. None when all is done, or the queue was closed."""
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
        """Whether a job that was taken is still small enough to be sent; if not, put it back to be split."""
        return len(job.images) <= self._most_of(job)

    def _most_of(self, job: Job) -> int:
        try:
            return self._most(job)
        except (SDClientError, OSError):
            return len(job.images)  # the source cannot be read; preparing the job raises this error again

    def finish(self, *again: Job) -> None:
        """End a job that was taken, and put back the jobs that remain of it."""
        with self._changed:
            self._again.extend(again)
            self._out -= 1
            self._changed.notify_all()

    @property
    def is_finished(self) -> bool:
        """Whether no job is out, and none will be handed out any more."""
        with self._changed:
            return self._out == 0 and (self._closed or self._ended)

    def close(self) -> None:
        """Hand out no more jobs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class BatchSizeLimits:
    """The largest batch for each generation size, at first `batch_size`; learnt from servers that ran out of memory.

    `known` are limits from an earlier run, by "<width>x<height>". No lock: a thread that reads a limit while another
    lowers it sends one batch that fails once more.
    """

    def __init__(self, batch_size: int, known: Mapping[str, int] | None = None) -> None:
        self._batch_size = batch_size
        self._known = dict(known or {})

    def most(self, size: tuple[int, int]) -> int:
        """Maximum number of images of this (width, height) in one request."""
        return min(self._batch_size, self._known.get(_name(size), self._batch_size))

    def exceeded(self, size: tuple[int, int], images: int) -> None:
        """This number of images was too large: from now on, half of it."""
        self._known[_name(size)] = max(1, min(images // 2, self.most(size)))

    def as_dict(self) -> dict[str, int]:
        """The limits learnt so far, to be stored with the output."""
        return dict(self._known)


def _name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
