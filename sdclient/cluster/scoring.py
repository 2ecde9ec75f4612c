"""Scoring on a cluster: Ray tasks with the files in their arguments, enough at once to keep its processors busy."""

import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError

from sdcore import __version__
from sdcore.files import printable

from ..curate.reference import ClassStatistics
from ..curate.scores import PairJob, Scored, ScoreJob, ScoringPool, base_bytes, chunks_of, recorded_bytes
from ..errors import MaskError, OutputError, SDClientError, SettingsError
from .nodes import alive_nodes, last_line, query_nodes, refuse_other_version
from .worker import ScoringSetup, SentImages, compare_chunk, score_chunk

_TRIES = 5
"""How often Ray repeats a chunk whose node or process was lost."""
_AT_ONCE = 2
"""Chunks for each processor: files of the next one are sent while one is scored."""
_LISTEN_S = 5.0
_BASES_KEPT = 64

_Item = TypeVar("_Item", ScoreJob, PairJob)


@contextmanager
def ray_scoring(output: Path, real: dict[str, ClassStatistics], with_faces: bool, images: int) -> Iterator[ScoringPool]:
    """Scores the images of an output on all nodes of the cluster; a `ScoringFactory`.

    Raises:
        SettingsError: no node has processors, or one has another version of this software.
    """
    if images:
        workers = [node for node in alive_nodes() if node.cpus]
        if not workers:
            raise SettingsError("no node of the cluster has processors to score with; start one without --num-cpus 0")
        for report in query_nodes(workers, ()):
            refuse_other_version(report)
    yield _RayPool(output, ScoringSetup(uuid.uuid4().hex, __version__, real, with_faces))


class _RayPool:
    """Scores and compares on the cluster."""

    def __init__(self, output: Path, setup: ScoringSetup) -> None:
        self._output = output
        self._setup = ray.put(setup)
        self._bases: OrderedDict[str, Any] = OrderedDict()

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[tuple[ScoreJob, Scored]]]:
        """Scores, some images at a time, in the order of the jobs."""
        yield from self._map(score_chunk, jobs, lambda job: (job,), _without_path)

    def compare(self, pairs: Sequence[PairJob]) -> Iterator[list[tuple[PairJob, float]]]:
        """Similarities, some pairs at a time, in the order of the pairs."""
        yield from self._map(
            compare_chunk,
            pairs,
            lambda pair: (pair.one, pair.other),
            lambda pair: PairJob(_without_path(pair.one), _without_path(pair.other)),
        )

    def _map(
        self,
        work: Callable[..., Any],
        items: Sequence[_Item],
        jobs_of: Callable[[_Item], Iterable[ScoreJob]],
        sent: Callable[[_Item], _Item],
    ) -> Iterator[Any]:
        remote = ray.remote(work).options(num_cpus=1, max_retries=_TRIES, scheduling_strategy="SPREAD")
        waiting: deque[tuple[Sequence[_Item], Any]] = deque()
        for chunk in chunks_of(items):
            while len(waiting) >= max(2, _AT_ONCE * int(sum(node.cpus for node in alive_nodes()))):
                yield self._answer(*waiting.popleft())
            jobs = list(dict.fromkeys(job for item in chunk for job in jobs_of(item)))
            bases = {job.base_sha256: self._base(job) for job in jobs}
            items_sent = [sent(item) for item in chunk]
            # Each base is an argument of its own: only there Ray replaces a reference by its value.
            ref = remote.remote(self._setup, items_sent, self._images(jobs), tuple(bases), *bases.values())
            waiting.append((chunk, ref))
        while waiting:
            yield self._answer(*waiting.popleft())

    def _answer(self, chunk: Sequence[_Item], ref: Any) -> list[tuple[_Item, Any]]:
        """The results of a task, in order.

        Raises:
            SDClientError: as the scorer; or the cluster failed.
        """
        try:
            while not ray.wait([ref], timeout=_LISTEN_S)[0]:
                if not any(node.cpus for node in alive_nodes()):
                    raise OutputError("no node of the cluster is left to score with; join one and curate again")
            answer = ray.get(ref)
        except RayError as error:
            raise OutputError(
                f"scoring failed on the cluster ({type(error).__name__}: {last_line(error)}); what was scored before "
                "is kept; curate again, or without --ray"
            ) from error
        if isinstance(answer, SDClientError):
            raise answer
        return list(zip(chunk, answer, strict=True))

    def _base(self, job: ScoreJob) -> Any:
        """A reference to the bytes of a job's base, which is sent once to each node."""
        if job.base_sha256 not in self._bases:
            self._bases[job.base_sha256] = ray.put(base_bytes(job))
            while len(self._bases) > _BASES_KEPT:
                self._bases.popitem(last=False)
        self._bases.move_to_end(job.base_sha256)
        return self._bases[job.base_sha256]

    def _images(self, jobs: Sequence[ScoreJob]) -> SentImages:
        images = {job.file: recorded_bytes(self._output, job.file, job.sha256) for job in jobs}
        return SentImages(images, {job.mask: self._mask(job.mask) for job in jobs if job.mask})

    def _mask(self, file: str) -> bytes:
        path = self._output / file
        try:
            return path.read_bytes()
        except OSError as error:
            raise MaskError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error


def _without_path(job: ScoreJob) -> ScoreJob:
    """The job for another machine, where its base is identified by its bytes only."""
    return replace(job, base="")
