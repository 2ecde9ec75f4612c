"""The images of a plan: their seeds, keys, drawn numbers and files; which are there and which are missing.

A draw depends only on the image's seed and the name of what is drawn, not on order, selection, restart or server. It is
a hash, so the neighbouring seeds of consecutive images give unrelated draws.
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from sdcore.files import is_temporary

from ..masks.mask import MASKS_FOLDER
from ..sources.source import Source

MOST_IMAGES_PER_SOURCE = 10**6
_BASES = 2**32 - MOST_IMAGES_PER_SOURCE


def seed_base(run_seed: int, class_name: str, source_number: int) -> int:
    """Seed of a source's first image, in [0, 2^32 - 10^6); seeds of a million further images fit below 2^32.

    Consecutive images of a source have consecutive seeds, because a server gives these to the images of one batch.
    """
    text = json.dumps([run_seed, class_name, source_number], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") % _BASES


def image_keys(source_sha256: str, parameters: Mapping[str, Any]) -> Callable[[int], str]:
    """Seed -> identity of an image: sha256 over the source's bytes, all parameters that change pixels, and the seed.

    The result is not part of it: the same request can give pixels that differ by one level. The text before the seed is
    hashed once for all seeds.
    """
    text = json.dumps([source_sha256, dict(parameters)], ensure_ascii=False, sort_keys=True)
    before_seed = hashlib.sha256(f"{text[:-1]}, ".encode())

    def key(seed: int) -> str:
        digest = before_seed.copy()
        digest.update(b"%d]" % seed)
        return digest.hexdigest()

    return key


DRAWN_DIGITS = 3
"""Decimal digits of a number drawn from a range, so that the number in an image's text is exactly the one used."""
_STEPS_PER_UNIT: int = 10**DRAWN_DIGITS
_NAMES_KEPT = 256


@dataclass(frozen=True)
class Choice:
    """One of several numbers, each item with the same probability."""

    values: tuple[float, ...]
    """At least one; a number that is listed twice is drawn twice as often."""


@dataclass(frozen=True)
class Range:
    """A number from low to high, both included, in steps of 0.001, each with the same probability."""

    low: float
    """At most `high`; both with at most `DRAWN_DIGITS` decimal digits."""
    high: float


def draw_index(seed: int, name: str, count: int) -> int:
    """A number from 0 to `count` - 1: the first 64 bits of sha256 over seed and name, modulo `count`.

    Different names of what is drawn give independent draws. `count` is at least 1.
    """
    text = f"[{seed}, {_quoted(name)}]"  # the JSON list of both
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") % count


@lru_cache(_NAMES_KEPT)
def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def draw_number(spec: Choice | Range, seed: int, name: str) -> float:
    """The number of the image with this seed, for the setting of this name."""
    if isinstance(spec, Choice):
        return spec.values[draw_index(seed, name, len(spec.values))]
    lowest, highest = (round(end * _STEPS_PER_UNIT) for end in (spec.low, spec.high))
    # An integer number of steps, divided once, gives the float nearest to the decimal, so its text is the decimal.
    return (lowest + draw_index(seed, name, highest - lowest + 1)) / _STEPS_PER_UNIT


FILE_ENDING = ".png"


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One image to make, by a server or by compose."""

    source: Source
    source_sha256: str
    k: int
    """Number of the image among those of its source, from 1."""
    seed: int
    key: str

    @property
    def file(self) -> str:
        """Path of the result relative to the output folder, forward slashes."""
        return f"{file_stem(self.source)}{self.k}{FILE_ENDING}"


def file_stem(source: Source) -> str:
    """Common beginning of the paths of a source's results; image number and `FILE_ENDING` follow."""
    return f"{source.class_name}/{source.number}_"


Planned = TypeVar("Planned", bound=PlannedFile)


@dataclass(frozen=True)
class SourcePlan(ABC, Generic[Planned]):
    """Images 1 to `count` of one source; each object is created when it is needed, so a long plan takes no memory.

    Raises:
        ValueError: more images than seeds are reserved for.
    """

    source: Source
    source_sha256: str
    """Of the source file's bytes."""
    count: int
    run_seed: int
    """The seed of the whole run."""

    def __post_init__(self) -> None:
        if self.count > MOST_IMAGES_PER_SOURCE:
            most = MOST_IMAGES_PER_SOURCE
            raise ValueError(f"{self.source.relative}: {self.count} images of one source; at most {most}")

    @property
    @abstractmethod
    def has_masks(self) -> bool:
        """Whether each result has a mask file."""

    @abstractmethod
    def images(self, ks: Iterable[int]) -> Iterator[Planned]:
        """The images with these numbers."""

    def identities(self, ks: Iterable[int]) -> Iterator[tuple[int, int, str]]:
        """Number, seed and key of the images with these numbers."""
        for image in self.images(ks):
            yield image.k, image.seed, image.key

    def file_of(self, k: int) -> str:
        """Path of the result with this number, relative to the output folder."""
        return f"{file_stem(self.source)}{k}{FILE_ENDING}"

    def _base(self) -> int:
        """The seed of image k less k."""
        return seed_base(self.run_seed, self.source.class_name, self.source.number) - 1


class MissingImages(Generic[Planned]):
    """Images to make, in the order of the plan; `parts` are plans, each with the numbers of its missing images."""

    def __init__(self, parts: Sequence[tuple[SourcePlan[Planned], Sequence[int]]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        """Number of missing images."""
        return sum(len(ks) for _, ks in self._parts)

    def __iter__(self) -> Iterator[Planned]:
        """The images in order; every iteration gives equal ones."""
        for plan, ks in self._parts:
            yield from plan.images(ks)


class ExistingFiles:
    """Lists the folders of an output once, and removes temporary files of killed writes in all of them."""

    def __init__(self, output: Path, plans: Iterable[SourcePlan[Planned]]) -> None:
        self._images: dict[str, dict[str, bytearray]] = {}
        self._masks: dict[str, dict[str, bytearray]] = {}
        for plan in plans:
            name, number = plan.source.class_name, str(plan.source.number)
            for wanted in (self._images, self._masks) if plan.has_masks else (self._images,):
                of_class = wanted.setdefault(name, {})
                of_class[number] = bytearray(max(plan.count, len(of_class.get(number, b""))))
        for folder, wanted in ((output, self._images), (output / MASKS_FOLDER, self._masks)):
            for name, flags in wanted.items():
                _sweep(folder / name, flags)
            _remove_temporary(folder, swept=wanted)

    def of(self, plan: SourcePlan[Planned]) -> bytes | bytearray:
        """One byte for each image of the plan: 1 if all its files are there."""
        name, number = plan.source.class_name, str(plan.source.number)
        images = self._images[name][number][: plan.count]
        return bytes(map(int.__and__, images, self._masks[name][number])) if plan.has_masks else images


def remove_temporary_files(output: Path) -> None:
    """Remove temporary files of killed writes from all folders of an output."""
    for folder in (output, output / MASKS_FOLDER):
        _remove_temporary(folder)


def _remove_temporary(folder: Path, *, swept: Collection[str] = ()) -> None:
    """Remove temporary files from the folders within one, except those that were swept already."""
    try:
        with os.scandir(folder) as entries:
            inner = [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in inner:
        if name not in swept:
            _sweep(folder / name, {})


def _sweep(folder: Path, wanted: Mapping[str, bytearray]) -> None:
    """Find the files `<number>_<k>.png` of a class folder, which may be missing; remove temporary files of killed runs.

    `wanted` is: number of a source -> one byte for each of its images, which is set to 1 if the image is there.
    """
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            number, _, rest = entry.name.partition("_")
            flags = wanted.get(number)
            if flags is not None and rest.endswith(FILE_ENDING):
                k = rest[: -len(FILE_ENDING)]
                # Exactly as we write it: digits 0 to 9 only, no leading zero.
                if k.isdecimal() and k.isascii() and k[0] != "0" and int(k) <= len(flags) and entry.is_file():
                    flags[int(k) - 1] = 1
            elif is_temporary(entry.name):
                Path(entry.path).unlink(missing_ok=True)
