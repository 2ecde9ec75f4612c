"""A plan turned into images to make and requests to send (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..sources import Source
from .identity import MOST_IMAGES_PER_SOURCE, image_key, seed_base
from .parameters import ImageParameters


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One image to make, whatever makes it."""

    source: Source
    source_sha256: str
    k: int
    """Which image of its source, from 1."""
    seed: int
    key: str

    @property
    def file(self) -> str:
        """Path of the result relative to the output folder, forward slashes."""
        return f"{self.source.class_name}/{self.source.number}_{self.k}.png"

    @property
    def has_mask(self) -> bool:
        """Whether a mask lies beside the result."""
        return False


@dataclass(frozen=True, slots=True)  # a long plan holds one for each of its images
class PlannedImage(PlannedFile):
    """One image to ask a server for."""

    parameters: ImageParameters
    """What it is made with."""

    @property
    def has_mask(self) -> bool:
        """Whether it is made inside a mask."""
        return self.parameters.inpainting is not None


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
    if count > MOST_IMAGES_PER_SOURCE:
        raise ValueError(f"{source.relative}: {count} images of one source; at most {MOST_IMAGES_PER_SOURCE}")
    base = seed_base(run_seed, source.class_name, source.number)
    former: ImageParameters | None = None
    for k in range(first, count + 1):
        seed = base + k - 1
        parameters = parameters_for(source, k, seed)
        if parameters == former:
            parameters = former  # one object for all images made alike
        former = parameters
        key = image_key(source_sha256, identity(parameters), seed)
        yield PlannedImage(source, source_sha256, k, seed, key, parameters)


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
