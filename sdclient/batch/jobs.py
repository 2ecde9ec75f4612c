"""Planned images → jobs, the queue, batch sizes that memory allows."""

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

_KINDS_KEPT = 1024
"""Different parameters of one source whose keys are prepared; drawn ones come again and again."""


@dataclass(frozen=True, slots=True)
class PlannedImage(PlannedFile):
    """One image to ask a server for."""

    parameters: ImageParameters
    """What it is made with."""


@dataclass(frozen=True)
class GenerationPlan(SourcePlan[PlannedImage]):
    """Images to ask a server for."""

    parameters_for: Callable[[int, int], ImageParameters]
    """(number, seed) -> what the image is made with."""
    identity: Callable[[ImageParameters], Mapping[str, Any]]
    """Everything that changes pixels, in one spelling whatever the server's dialect."""
    mask_sha256: str | None = None
    """Of the bytes of the source's mask; None where whole pictures are made."""

    @property
    def has_masks(self) -> bool:
        """Whether they are made inside a mask."""
        return self.mask_sha256 is not None

    def images(self, ks: Iterable[int]) -> Iterator[PlannedImage]:
        """The images with these numbers."""
        for k, seed, key, parameters in self._made_up(ks):
            yield PlannedImage(self.source, self.source_sha256, k, seed, key, parameters)

    def identities(self, ks: Iterable[int]) -> Iterator[tuple[int, int, str]]:
        """Number, seed and key of each, without an object for each."""
        for k, seed, key, _ in self._made_up(ks):
            yield k, seed, key

    def _made_up(self, ks: Iterable[int]) -> Iterator[tuple[int, int, str, ImageParameters]]:
        base, parameters_for = self._base(), self.parameters_for
        kind_of = lru_cache(_KINDS_KEPT)(self._kind)
        former: ImageParameters | None = None
        for k in ks:
            seed = base + k
            found = parameters_for(k, seed)
            if found is not former:
                parameters, key = kind_of(found)  # one object for all images made alike
                former = found
            yield k, seed, key(seed), parameters

    def _kind(self, parameters: ImageParameters) -> tuple[ImageParameters, Callable[[int], str]]:
        """Parameters, and what gives the keys of the images made with them."""
        return parameters, image_keys(self.source_sha256, self.identity(parameters))


@dataclass(frozen=True)
class Job:
    """Images of one source with consecutive seeds: one request."""

    images: tuple[PlannedImage, ...]

    def split(self, most: int) -> tuple[Job, ...]:
        """The same images in jobs of at most `most` each."""
        return tuple(Job(self.images[start : start + most]) for start in range(0, len(self.images), most))

    @property
    def source(self) -> Source:
        """The source image all of them come from."""
        return self.images[0].source

    @property
    def parameters(self) -> ImageParameters:
        """What all of them are made with."""
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
    """Images `first` to `count` of a source, in order.

    Args:
        source: where they come from.
        source_sha256: of the source file's bytes.
        count: the number of the last one.
        run_seed: the seed of the whole run.
        parameters_for: (source, k, seed) -> what the image is made with.
        identity: everything that changes pixels, in one spelling whatever the server's dialect.
        first: the number of the first one, from 1.

    Raises:
        ValueError: more images of one source than seeds are kept for.
    """
    plan = GenerationPlan(source, source_sha256, count, run_seed, partial(parameters_for, source), identity)
    return plan.images(range(first, count + 1))


def pack_jobs(images: Iterable[PlannedImage], batch_size: int) -> Iterator[Job]:
    """Pack images into requests: only consecutive images of one source, made alike, share one."""
    batch: list[PlannedImage] = []
    for image in images:
        follows = (
            batch
            and image.source == batch[-1].source
            and image.seed == batch[-1].seed + 1
            and image.parameters == batch[-1].parameters
        )
        if batch and (not follows or len(batch) == batch_size):
            yield Job(tuple(batch))
            batch = []
        batch.append(image)
    if batch:
        yield Job(tuple(batch))


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

    def finish(self, *again: Job) -> None:
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


Size = tuple[int, int]


class BatchSizeLimits:
    """The largest batch for each generation size.

    Args:
        batch_size: the limit where nothing is known.
        known: from an earlier run, by "<width>x<height>".
    """

    def __init__(self, batch_size: int, known: Mapping[str, int] | None = None) -> None:
        self._batch_size = batch_size
        self._known = dict(known or {})

    def most(self, size: Size) -> int:
        """How many images of this size to ask for at once."""
        return min(self._batch_size, self._known.get(_name(size), self._batch_size))

    def exceeded(self, size: Size, images: int) -> None:
        """So many were too many: half of them from now on."""
        self._known[_name(size)] = max(1, min(images // 2, self.most(size)))

    def as_dict(self) -> dict[str, int]:
        """What was learnt, to be kept with the output."""
        return dict(self._known)


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
