"""`sdclient generate --until-accepted`: makes, judges, and makes again what was rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdcore.files import sha256_of

from ..batch.jobs import PlannedImage, plan_images
from ..batch.parameters import ImageParameters
from ..batch.run_file import RunSpec
from ..batch.runner import BatchRunner, JobSourceContext
from ..manifest import ImageRecord, Manifest
from ..sources import Source
from .debts import Quotas
from .feed import AcceptanceJobs, ImageJudge
from .history import EarlierImages
from .learned import LEARNED_KEY, ClassOutcome, as_json, learned
from .strengths import StrengthPolicy

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
