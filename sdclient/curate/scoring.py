"""Scores many images of an output, those of one base after the other, in this process or in several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image

from .._images import decode
from ..errors import BadImage, OutputError
from ..masks import read_mask
from ..photos import printable, read_photo, sha256_of
from .learnt import Learnt
from .likeness import comparable, comparable_area, pair_likeness
from .real import RealClass
from .score import Base, Scored, score_image

WORTH_WORKERS = 500
"""Fewer images are scored in this process: starting two others takes as long as 500 small images (3 to 4 s)."""
CHUNK = 32
_BASES_KEPT = 8
_PICTURES_KEPT = 64

_Answer = list[tuple["ScoreJob", Scored]]


@dataclass(frozen=True)
class ScoreJob:
    """One image to score."""

    file: str
    sha256: str
    class_name: str
    base: str
    """Path of the picture it was made on."""
    base_sha256: str
    mask: str
    """Relative to the output folder; "" where all was changed."""


@dataclass(frozen=True)
class PairJob:
    """Two images to compare."""

    one: ScoreJob
    other: ScoreJob


class Scorer:
    """Reads and scores images of one output.

    Args:
        output: the output folder.
        real: measures of real images by class.
        with_faces: whether to look for faces.
    """

    def __init__(self, output: Path, real: dict[str, RealClass], *, with_faces: bool) -> None:
        self._output = output
        self._learnt = Learnt(real)
        self._with_faces = with_faces
        self._base = lru_cache(maxsize=_BASES_KEPT)(_read_base)
        self._picture = lru_cache(maxsize=_PICTURES_KEPT)(self._read_comparable)

    def score(self, job: ScoreJob) -> Scored:
        """Scores of one image.

        Raises:
            OutputError: the image or its base is missing or not the one that was recorded.
            MaskError: its mask cannot be read.
        """
        image = read_recorded(self._output, job.file, job.sha256)
        base = self._base(job.base, job.base_sha256, job.file)
        mask = read_mask(self._output / job.mask, base.picture.size) if job.mask else None
        return score_image(image, base, job.class_name, self._learnt, mask=mask, with_faces=self._with_faces)

    def compare(self, pair: PairJob) -> float:
        """Likeness of two images: where either was changed if they have one base, else everywhere.

        Raises:
            OutputError: one of them is missing or not the one that was recorded.
        """
        one, other = self._picture(pair.one.file, pair.one.sha256), self._picture(pair.other.file, pair.other.sha256)
        if one.shape != other.shape:
            return 0.0
        area = None
        if pair.one.mask and pair.other.mask and pair.one.base_sha256 == pair.other.base_sha256:
            base = self._base(pair.one.base, pair.one.base_sha256, pair.one.file)
            masks = [read_mask(self._output / job.mask, base.picture.size) for job in (pair.one, pair.other)]
            both = comparable_area(masks[0]) | comparable_area(masks[1])
            area = both if both.shape == one.shape else None
        return pair_likeness(one, other, area)

    def _read_comparable(self, file: str, sha256: str) -> Any:
        return comparable(read_recorded(self._output, file, sha256))


def read_recorded(output: Path, file: str, sha256: str) -> Image.Image:
    """An image of an output, its bytes checked.

    Raises:
        OutputError: it is missing, changed, or cannot be decoded.
    """
    path = output / file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unfit(path, f"cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _unfit(path, "was changed since it was generated")
    try:
        return decode(data, printable(path))
    except BadImage as error:
        raise _unfit(path, "cannot be decoded") from error


def check_recorded(output: Path, file: str, sha256: str) -> None:
    """Refuse an image of an output that is missing or changed.

    Raises:
        OutputError: it is.
    """
    path = output / file
    try:
        found = sha256_of(path)
    except OSError as error:
        raise _unfit(path, f"cannot be read: {error.strerror or error}") from error
    if found != sha256:
        raise _unfit(path, "was changed since it was generated")


def default_workers() -> int:
    """Processes that scoring is worth: one a core, four at most."""
    return max(1, min(4, os.cpu_count() or 1))


@contextmanager
def scoring(
    output: Path, real: dict[str, RealClass], *, with_faces: bool, images: int, workers: int
) -> Iterator[ScoringPool]:
    """What scores images, in this process where there are few or one worker is wanted."""
    if workers < 2 or images < WORTH_WORKERS:
        yield ScoringPool(Scorer(output, real, with_faces=with_faces), None)
        return
    # A fresh interpreter each, as on Windows: a forked one would share the parent's open manifest.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(output, real, with_faces)
    ) as pool:
        try:
            yield ScoringPool(None, pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class ScoringPool:
    """Scores and compares, in this process or in others."""

    def __init__(self, here: Scorer | None, pool: ProcessPoolExecutor | None) -> None:
        self._here = here
        self._pool = pool

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[_Answer]:
        """Scores, some images at a time, in the order of the jobs."""
        yield from self._map(_score_chunk, jobs)

    def compare(self, pairs: Sequence[PairJob]) -> Iterator[list[tuple[PairJob, float]]]:
        """Likenesses, some pairs at a time, in the order of the pairs."""
        yield from self._map(_compare_chunk, pairs)

    def _map(self, work: Any, items: Sequence[Any]) -> Iterator[Any]:
        chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
        if self._pool is None:
            for chunk in chunks:
                yield work(chunk, self._here)
        else:
            yield from self._pool.map(work, chunks)


def _score_chunk(jobs: Sequence[ScoreJob], scorer: Scorer | None = None) -> _Answer:
    at_work = scorer or _in_worker()
    return [(job, at_work.score(job)) for job in jobs]


def _compare_chunk(pairs: Sequence[PairJob], scorer: Scorer | None = None) -> list[tuple[PairJob, float]]:
    at_work = scorer or _in_worker()
    return [(pair, at_work.compare(pair)) for pair in pairs]


_WORKER: list[Scorer] = []
"""The scorer of a worker process; empty elsewhere."""


def _start_worker(output: Path, real: dict[str, RealClass], with_faces: bool) -> None:
    _WORKER[:] = [Scorer(output, real, with_faces=with_faces)]


def _in_worker() -> Scorer:
    return _WORKER[0]


def _read_base(path: str, sha256: str, file: str) -> Base:
    base = Path(path)
    try:
        found = sha256_of(base)
    except OSError as error:
        raise OutputError(
            f"{printable(base)}: the picture that {file} was made from cannot be read "
            f"({error.strerror or error}); put it back, or give its folder with --sources"
        ) from error
    if found != sha256:
        raise OutputError(f"{printable(base)}: was changed since {file} was made from it; put the former picture back")
    return Base(read_photo(base))


def _unfit(path: Path, what: str) -> OutputError:
    folder = path.parent.parent
    return OutputError(
        f"{printable(path)}: {what}; run 'sdclient verify {printable(folder)} --repair', generate what is missing, and "
        "curate again"
    )
