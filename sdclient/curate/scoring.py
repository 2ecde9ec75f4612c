"""Scores many images of an output, those of one base after the other, in this process or in several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .real import ClassStatistics
from .score import Scored
from .scorer import PairJob, PicturesOnDisk, ScoreJob, Scorer

WORTH_WORKERS = 500
"""Fewer images are scored in this process: starting two others takes as long as 500 small images (3 to 4 s)."""
CHUNK = 32

_Item = TypeVar("_Item")


class ScoringPool(Protocol):
    """Scores and compares, wherever that is done."""

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[tuple[ScoreJob, Scored]]]:
        """Scores, some images at a time, in the order of the jobs."""

    def compare(self, pairs: Sequence[PairJob]) -> Iterator[list[tuple[PairJob, float]]]:
        """Likenesses, some pairs at a time, in the order of the pairs."""


ScoringFactory = Callable[[dict[str, ClassStatistics], bool, int], AbstractContextManager[ScoringPool]]
"""(measures of real images by class, whether to look for faces, how many images) -> what scores them."""


def default_workers() -> int:
    """Processes that scoring is worth: one a core, four at most."""
    return max(1, min(4, os.cpu_count() or 1))


@contextmanager
def scoring(
    output: Path, real: dict[str, ClassStatistics], *, with_faces: bool, images: int, workers: int
) -> Iterator[ScoringPool]:
    """What scores images, in this process where there are few or one worker is wanted."""
    if workers < 2 or images < WORTH_WORKERS:
        yield _Here(Scorer(PicturesOnDisk(output), real, with_faces=with_faces))
        return
    # A fresh interpreter each, as on Windows: a forked one would share the parent's open manifest.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(output, real, with_faces)
    ) as pool:
        try:
            yield _InProcesses(pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def chunks_of(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """The items, as many at a time as are worth a message."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


class _Here:
    """In this process."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[tuple[ScoreJob, Scored]]]:
        for chunk in chunks_of(jobs):
            yield [(job, self._scorer.score(job)) for job in chunk]

    def compare(self, pairs: Sequence[PairJob]) -> Iterator[list[tuple[PairJob, float]]]:
        for chunk in chunks_of(pairs):
            yield [(pair, self._scorer.compare(pair)) for pair in chunk]


class _InProcesses:
    """In others on this machine."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[tuple[ScoreJob, Scored]]]:
        yield from self._map(_score_chunk, jobs)

    def compare(self, pairs: Sequence[PairJob]) -> Iterator[list[tuple[PairJob, float]]]:
        yield from self._map(_compare_chunk, pairs)

    def _map(self, work: Any, items: Sequence[Any]) -> Iterator[Any]:
        yield from self._pool.map(work, list(chunks_of(items)))


def _score_chunk(jobs: Sequence[ScoreJob]) -> list[tuple[ScoreJob, Scored]]:
    return [(job, _in_worker().score(job)) for job in jobs]


def _compare_chunk(pairs: Sequence[PairJob]) -> list[tuple[PairJob, float]]:
    return [(pair, _in_worker().compare(pair)) for pair in pairs]


_WORKER: list[Scorer] = []
"""The scorer of a worker process; empty elsewhere."""


def _start_worker(output: Path, real: dict[str, ClassStatistics], with_faces: bool) -> None:
    _WORKER[:] = [Scorer(PicturesOnDisk(output), real, with_faces=with_faces)]


def _in_worker() -> Scorer:
    return _WORKER[0]
