"""A plan turned into images to make and requests to send (pure)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar

from ..sources import Source
from .identity import MOST_IMAGES_PER_SOURCE, image_keys, seed_base
from .parameters import ImageParameters

FILE_ENDING = ".png"
_KINDS_KEPT = 1024
"""Different parameters of one source whose keys are prepared; drawn ones come again and again."""


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
        return f"{file_stem(self.source)}{self.k}{FILE_ENDING}"


@dataclass(frozen=True, slots=True)
class PlannedImage(PlannedFile):
    """One image to ask a server for."""

    parameters: ImageParameters
    """What it is made with."""


def file_stem(source: Source) -> str:
    """What the paths of all results of a source begin with; the number of the image and `FILE_ENDING` follow."""
    return f"{source.class_name}/{source.number}_"


Planned = TypeVar("Planned", bound=PlannedFile)


@dataclass(frozen=True)
class SourcePlan(ABC, Generic[Planned]):
    """Images 1 to `count` of one source; each is made up when it is asked for, so that a long plan takes no memory.

    Raises:
        ValueError: more images than seeds are kept for.
    """

    source: Source
    source_sha256: str
    """Of the source file's bytes."""
    count: int
    run_seed: int
    """The seed of the whole run."""

    def __post_init__(self) -> None:
        if self.count > MOST_IMAGES_PER_SOURCE:
            raise ValueError(
                f"{self.source.relative}: {self.count} images of one source; at most {MOST_IMAGES_PER_SOURCE}"
            )

    @property
    @abstractmethod
    def has_masks(self) -> bool:
        """Whether a mask lies beside each result."""

    @abstractmethod
    def images(self, ks: Iterable[int]) -> Iterator[Planned]:
        """The images with these numbers."""

    def identities(self, ks: Iterable[int]) -> Iterator[tuple[int, int, str]]:
        """Number, seed and key of each: what the manifest is to know of it."""
        for image in self.images(ks):
            yield image.k, image.seed, image.key

    def file_of(self, k: int) -> str:
        """Path of the result with this number, relative to the output folder."""
        return f"{file_stem(self.source)}{k}{FILE_ENDING}"

    def _base(self) -> int:
        """The seed of image number 0, so to say."""
        return seed_base(self.run_seed, self.source.class_name, self.source.number) - 1


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
