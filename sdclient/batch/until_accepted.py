"""Makes images, judges them, and makes more until enough are accepted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from sdcore.files import sha256_of

from ..curate.curator import Curator
from ..curate.reasons import JudgedImage
from ..manifest.database import ImageRecord, Manifest
from ..manifest.progress import EarlierImages, SourceKey
from ..sources.source import Source
from .acceptance import LEARNED_KEY, ClassOutcome, Quotas, class_outcomes, outcomes_as_json
from .jobs import Job, PlannedImage, plan_images
from .run_file import RunSpec
from .runner import BatchRunner, JobSourceContext
from .settings import ImageParameters
from .strength import StrengthPolicy

ImageJudge = Callable[[], Iterable[JudgedImage]]
"""Gives the verdict on every image of the output, new ones included."""

OpenJudge = Callable[[Path, Manifest], ImageJudge]
"""(output, its manifest open for writing) -> judge."""

MakeImages = Callable[[Source, int, int, float], Sequence[PlannedImage]]
"""(source, number of the first image, number of the last, strength) -> the images."""


class AcceptanceLoop:
    """Runs until each class has its planned number of accepted images, or its budget is used up.

    `output` and `spec` are those of the runner, which has no check of its own, so that the judge alone rejects images.
    `owed` says how many accepted images are wanted of each source; at most `budget` images are made for each of these.
    `parameters`, on which the strengths depend, are stored with the output, and a run with others is refused.
    """

    def __init__(
        self,
        runner: BatchRunner,
        output: Path,
        spec: RunSpec,
        owed: Sequence[tuple[Source, int]],
        strengths: StrengthPolicy,
        *,
        parameters: dict[str, Any],
        budget: float,
        open_judge: OpenJudge,
    ) -> None:
        self._runner, self._output, self._spec = runner, output, spec
        self._owed = [(source, count) for source, count in owed if count]
        self._strengths, self._parameters, self._budget = strengths, parameters, budget
        self._quotas = Quotas((), budget)
        self._open_judge = open_judge

    @property
    def planned(self) -> int:
        """Accepted images wanted of all classes; 0 before the run begins."""
        return sum(one.planned for one in self._quotas.classes())

    @property
    def accepted(self) -> int:
        """Images accepted so far; of a class at most as many as are planned."""
        return sum(min(one.accepted, one.planned) for one in self._quotas.classes())

    def outcomes(self) -> list[ClassOutcome]:
        """The outcome of each class so far."""
        return class_outcomes(self._quotas, self._strengths)

    def run(self, *, on_start: Callable[[], object] | None = None) -> Iterator[ImageRecord]:
        """Yields each image, accepted or not, when it is written and judged; errors as in `BatchRunner.run`.

        `on_start` is called when the images of earlier runs have been judged.
        """

        def open_job_source(start: JobSourceContext) -> AcceptanceJobs:
            start.store.forget_unfinished()
            self._quotas = Quotas(((one.class_name, one.name, count) for one, count in start.owed), self._budget)
            job_source = self._job_source(start)
            if on_start is not None:
                on_start()
            return job_source

        yield from self._runner.run_job_source(
            self._owed,
            open_job_source,
            parameters={"until_accepted": self._parameters},
            on_end=lambda store: store.manifest.set_run({LEARNED_KEY: outcomes_as_json(self.outcomes())}),
        )

    def _job_source(self, start: JobSourceContext) -> AcceptanceJobs:
        sha256 = {source: sha256_of(source.path) for source, _ in start.owed}

        def images(source: Source, first: int, last: int, strength: float) -> list[PlannedImage]:
            mask_sha256 = start.masks.sha256_of(source) if start.masks is not None else None

            def parameters(one: Source, k: int, seed: int) -> ImageParameters:
                usual = self._spec.parameters_for(one, k, seed, mask_sha256=mask_sha256)
                return replace(usual, denoising_strength=strength)

            return list(
                plan_images(
                    source,
                    sha256[source],
                    last,
                    first=first,
                    run_seed=self._spec.seed,
                    parameters_for=parameters,
                    identity=lambda given: start.server.identity(given, self._spec.seed),
                )
            )

        return AcceptanceJobs(
            [source for source, _ in start.owed],
            self._quotas,
            self._strengths,
            EarlierImages.of(start.store.manifest),
            self._open_judge(self._output, start.store.manifest),
            images,
            batch_size=self._spec.batch_size,
        )


class AcceptanceJobs:
    """A job source that makes images only while some are missing, each with the best strength known for its source.

    It counts in `quotas`. Of the judge's verdicts, a person's decision takes precedence over the filters.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        quotas: Quotas,
        strengths: StrengthPolicy,
        earlier: EarlierImages,
        judge: ImageJudge,
        make_images: MakeImages,
        *,
        batch_size: int,
    ) -> None:
        self.quotas = quotas
        self.strengths = strengths
        self._sources = {(source.class_name, source.name): source for source in sources}
        self._judge = judge
        self._make_images = make_images
        self._batch_size = batch_size
        # Guards quotas, strengths and the fields below: sending threads call `next_job` while the thread that writes
        # reports results. A crash loses nothing: the next start judges the images of the output anew.
        self._deciding = threading.Lock()
        self._last_k = Counter(earlier.last_k)
        self._strength_of = dict(earlier.strengths)
        self._observed: set[str] = set()
        for key, count in earlier.failed.items():
            if key in self._sources:
                quotas.tally(*key).failed = count
        self._judge_all()

    def next_job(self) -> Job | None:
        """See `JobSource`."""
        with self._deciding:
            found = self.quotas.next(self._acceptance, self._batch_size)
            if found is None:
                return None
            tally, count = found
            key = (tally.class_name, tally.source)
            first = self._last_k[key] + 1
            strength = self.strengths.expect(*key).strength
            images = self._make_images(self._sources[key], first, first + count - 1, strength)
            self._last_k[key] += count
            tally.in_flight += count
            self._strength_of.update((image.file, strength) for image in images)
            return Job(tuple(images))

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """Judge the images, and learn from the verdicts."""
        self._judge_all(records)

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """Count the images as tries."""
        with self._deciding:
            for image in images:
                tally = self.quotas.tally(image.source.class_name, image.source.name)
                tally.in_flight -= 1
                tally.failed += 1

    def _acceptance(self, class_name: str, source: str) -> float:
        return self.strengths.expect(class_name, source).acceptance

    def _judge_all(self, arrived: Sequence[ImageRecord] = ()) -> None:
        """Count all verdicts anew: new images and a person's decisions may change those on earlier images."""
        judged = list(self._judge())
        accepted: Counter[SourceKey] = Counter()
        rejected: Counter[SourceKey] = Counter()
        with self._deciding:  # in one step: between the two, an image would look missing and be made again
            for record in arrived:
                self.quotas.tally(record.class_name, PurePosixPath(record.source).name).in_flight -= 1
            for one in judged:
                key = (one.class_name, PurePosixPath(one.source).name)
                if key in self._sources:
                    (accepted if one.is_accepted else rejected)[key] += 1
                    if one.file not in self._observed:
                        self._observed.add(one.file)
                        self._learn(one, key)
            for tally in self.quotas.sources():
                tally.accepted = accepted[tally.class_name, tally.source]
                tally.rejected = rejected[tally.class_name, tally.source]

    def _learn(self, one: JudgedImage, key: SourceKey) -> None:
        # A person's rejection of an image that passes all filters says nothing about its strength.
        if one.is_accepted or one.is_too_alike or one.is_unreal:
            self.strengths.observe(
                *key,
                self._strength_of[one.file],
                too_alike=one.is_too_alike and not one.is_accepted,
                unreal=one.is_unreal and not one.is_accepted,
            )


def open_filters(output: Path, manifest: Manifest) -> ImageJudge:
    """A judge that uses the curation filters with their default limits, learnt from the output's own sources.

    Raises:
        MissingExtra: the extra of the filters is not installed.
        SourceError: a source that the limits are learnt from cannot be read.
    """
    curator = Curator(output, manifest)

    def judge() -> Iterable[JudgedImage]:
        curator.score_missing()
        return curator.judge()

    return judge
