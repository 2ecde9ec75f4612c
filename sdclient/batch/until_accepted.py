"""Makes, judges and makes again until enough is accepted."""

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
from .acceptance import LEARNED_KEY, ClassOutcome, Quotas, as_json, learned
from .jobs import Job, PlannedImage, plan_images
from .run_file import RunSpec
from .runner import BatchRunner, JobSourceContext
from .settings import ImageParameters
from .strength import StrengthPolicy

ImageJudge = Callable[[], Iterable[JudgedImage]]
"""Judges every image of the output, those that came since the last call too."""


OpenJudge = Callable[[Path, Manifest], ImageJudge]
"""Makes the judge of an output, whose manifest is open for writing."""


class AcceptanceLoop:
    """Runs until each class has its planned number of accepted images, or its budget ends.

    Args:
        runner: asks the servers; best without a check of its own, so that every image is judged in one place.
        output: the runner's output folder.
        spec: the runner's settings.
        owed: accepted images wanted of each source.
        strengths: which strength suits a source.
        parameters: what decides the strengths, kept with the output: another run with others is refused.
        budget: images to make at most, for each planned one of a class.
        open_judge: makes the judge.
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
        self._runner = runner
        self._output = output
        self._spec = spec
        self._owed = [(source, count) for source, count in owed if count]
        self._strengths = strengths
        self._parameters = parameters
        self._budget = budget
        self._quotas = Quotas((), budget)
        self._open_judge = open_judge

    @property
    def planned(self) -> int:
        """Accepted images wanted of all classes together; known once a run has begun."""
        return sum(one.planned for one in self._quotas.classes())

    @property
    def accepted(self) -> int:
        """Those that are accepted by now, no more of a class than are planned."""
        return sum(min(one.accepted, one.planned) for one in self._quotas.classes())

    def learned(self) -> list[ClassOutcome]:
        """How far each class is by now."""
        return learned(self._quotas, self._strengths)

    def run(self, *, on_start: Callable[[], object] | None = None) -> Iterator[ImageRecord]:
        """Yields each image made, accepted or not, once it is in place and judged.

        Args:
            on_start: called once what the output holds already has been judged.

        Raises:
            As `BatchRunner.run`, and what the judge raises.
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
            on_end=lambda store: store.manifest.set_run({LEARNED_KEY: as_json(self.learned())}),
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


MakeImages = Callable[[Source, int, int, float], Sequence[PlannedImage]]
"""(source, number of the first image, number of the last, strength) -> the images."""


class AcceptanceJobs:
    """A job source that asks for an image only while one is missing, with the strength its source has shown to need.

    Args:
        sources: those that owe images.
        quotas: what they owe; tallied by this object.
        strengths: which strength suits a source.
        history: what the output holds already.
        judge: the filters, and a person's decisions before them.
        make_images: plans images.
        batch_size: images in one request.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        quotas: Quotas,
        strengths: StrengthPolicy,
        history: EarlierImages,
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
        self._last_k = Counter(history.last_k)
        self._strength_of = dict(history.strengths)
        self._observed: set[str] = set()
        # The threads that ask the servers take jobs while the one that writes hears of results.
        self._deciding = threading.Lock()
        for key, count in history.failed.items():
            if key in self._sources:
                quotas.tally(*key).failed = count
        self._hear()

    def next_job(self) -> Job | None:
        """The next images of one source, as many as share a request."""
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
        """Have them judged, and learn from it."""
        self._hear(records)

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """They count as tries."""
        with self._deciding:
            for image in images:
                tally = self.quotas.tally(image.source.class_name, image.source.name)
                tally.in_flight -= 1
                tally.failed += 1

    def _acceptance(self, class_name: str, source: str) -> float:
        return self.strengths.expect(class_name, source).acceptance

    def _hear(self, arrived: Sequence[ImageRecord] = ()) -> None:
        """Tally all verdicts anew, for those on former images may have changed with the ones that came since."""
        judged = list(self._judge())
        accepted: Counter[SourceKey] = Counter()
        rejected: Counter[SourceKey] = Counter()
        with self._deciding:  # in one step, or an image would be neither on its way nor judged, and be asked for again
            for record in arrived:
                self.quotas.tally(record.class_name, PurePosixPath(record.source).name).in_flight -= 1
            for one in judged:
                key = (one.class_name, PurePosixPath(one.source).name)
                if key not in self._sources:
                    continue
                (accepted if one.is_accepted else rejected)[key] += 1
                if one.file not in self._observed:
                    self._observed.add(one.file)
                    self._learn(one, key)
            for tally in self.quotas.sources():
                tally.accepted = accepted[tally.class_name, tally.source]
                tally.rejected = rejected[tally.class_name, tally.source]

    def _learn(self, one: JudgedImage, key: SourceKey) -> None:
        # A person who rejects what no filter does leaves open in which direction.
        if one.is_accepted or one.is_too_alike or one.is_unreal:
            self.strengths.observe(
                *key,
                self._strength_of[one.file],
                too_alike=one.is_too_alike and not one.is_accepted,
                unreal=one.is_unreal and not one.is_accepted,
            )


def open_filters(output: Path, manifest: Manifest) -> ImageJudge:
    """A judge with the usual limits, which come from the output's own sources.

    Args:
        output: the folder.
        manifest: its manifest, open for writing.

    Raises:
        MissingExtra: the filters' extra is not installed.
        SourceError: a source, from which the limits come, cannot be read.
    """
    curator = Curator(output, manifest)

    def judge() -> Iterable[JudgedImage]:
        curator.score_missing()
        return curator.judge()

    return judge
