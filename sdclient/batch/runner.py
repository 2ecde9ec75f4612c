"""Makes the images of a plan with one or many servers; no image is lost, made twice or half-written."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdcore.files import sha256_of

from ..client.webui import WebUI
from ..errors import SDClientError
from ..manifest.database import ImageRecord
from ..masks.mask import SourceMasks, apply_masks
from ..output.store import GeneratedFile, OutputStore, open_store
from ..plan import Plan, assign_plan
from ..sources.source import Source, discover
from .dispatcher import (
    Dispatcher,
    JobFinished,
    JobSource,
    JobStarted,
    LocalServerPool,
    PlannedJobs,
    RunContext,
    ServerPool,
)
from .jobs import BatchSizeLimits, GenerationPlan, JobQueue, pack_jobs
from .requests import RequestPreparer, SourcesOnDisk
from .result_handler import ResultHandler, StallDetector
from .run_file import RunSpec
from .servers import Server, ServerFacts, ServerStatus
from .settings import GenerateOptions, GenerationSettings

_LISTEN_S = 0.25
_HANDLED_TOGETHER = 32


@dataclass(frozen=True)
class RunStart:
    """What a run will do."""

    planned: int
    """Images of the plan."""
    missing: int
    """Images that are not there yet and will be made."""
    native_px: int
    """Side of the square the server's model was trained on; settings may have another."""
    masks: SourceMasks | None = None
    """The masks in use; None without masks."""


@dataclass(frozen=True)
class JobSourceContext:
    """What a job source is created with; the output is open."""

    store: OutputStore
    server: ServerFacts
    owed: Sequence[tuple[Source, int]]
    """Number of images of each source, without sources that are skipped because they have no mask."""
    masks: SourceMasks | None


class BatchRunner:
    """Makes the images of a plan that are not there yet.

    `servers` is one server, several servers, or a pool of servers on other machines. `sources`, the folder of numbered
    sources, is recorded, so that a report can show a source. A `RunSpec` can have other settings by class and source.
    """

    def __init__(
        self,
        servers: WebUI | Sequence[Server] | ServerPool,
        sources: Path,
        output: Path,
        settings: GenerationSettings | RunSpec,
        options: GenerateOptions | None = None,
    ) -> None:
        if isinstance(servers, WebUI):
            servers = [Server(servers.url, servers)]
        self._pool = LocalServerPool(servers) if isinstance(servers, Sequence) else servers
        self._sources = sources
        self._output = output
        self._spec = RunSpec.from_settings(settings) if isinstance(settings, GenerationSettings) else settings
        self._options = options or GenerateOptions()
        self._dispatcher: Dispatcher | None = None
        self._server: ServerFacts
        self._limits = BatchSizeLimits(self._spec.batch_size)
        self.stopped = threading.Event()
        """Set by `stop`."""
        self.failed: dict[str, str] = {}
        """Images that this run gave up: file -> reason."""
        self.masks: SourceMasks | None = None
        """The masks in use; set when a run begins."""

    def check(self, sources: Iterable[Source]) -> ServerFacts:
        """Check the servers for the settings of these sources.

        Raises:
            WebUIError: a server cannot be reached, or cannot be used for the run.
            SettingsError: servers differ.
        """
        every = list(sources)
        samplers, loras = self._spec.samplers_for(every), self._spec.loras_for(every)
        return self._pool.check(samplers, loras, allow_mixed=self._options.allow_mixed)

    def statuses(self) -> list[ServerStatus]:
        """The state of each server; empty before the run."""
        return self._dispatcher.statuses() if self._dispatcher is not None else []

    def run(
        self,
        plan: Plan | Sequence[tuple[Source, int]],
        *,
        on_start: Callable[[RunStart], None] | None = None,
        progress: bool = False,
    ) -> Iterator[ImageRecord]:
        """Make the missing images; yields each one when its file and its row are written.

        Images that fail again and again are given up, and the run continues; see `failed`. When the iteration ends
        early, or after `stop`, nothing more is sent, and images that the servers are making are still saved.

        `plan` can also be sources with the number of images of each. `on_start` is called before the first request;
        `progress` shows a progress bar on stderr.

        Raises:
            PlanError: the plan names a source that is not in the sources folder.
            WebUIError: no server answers any more, or the requests would fail for every image.
            OutputError: the output folder does not belong to this run.
            FolderInUse: another run works there.
            SourceError: a source cannot be read.
            MaskError: a source has no mask, or an invalid one.
            SettingsError: servers differ, or settings of inpainting without masks.
        """
        owed = assign_plan(plan.owed, discover(self._sources)) if isinstance(plan, Plan) else plan
        owed = self._with_masks_found(owed)
        with self._open_output([source for source, _ in owed], {}) as store:
            missing = store.enter_plan(self._planned(owed))
            if on_start is not None:
                planned = sum(count for _, count in owed)
                on_start(RunStart(planned, len(missing), self._server.native_px, self.masks))
            bar = tqdm(total=len(missing), desc="generate", unit="image", dynamic_ncols=True, disable=not progress)
            job_source = PlannedJobs(pack_jobs(missing, self._spec.batch_size))
            with bar, closing(self._work(store, job_source) if missing else _nothing()) as made:
                for record in made:
                    bar.update()
                    yield record

    def run_job_source(
        self,
        owed: Sequence[tuple[Source, int]],
        open_job_source: Callable[[JobSourceContext], JobSource],
        *,
        parameters: Mapping[str, Any],
        on_end: Callable[[OutputStore], object],
    ) -> Iterator[ImageRecord]:
        """Make the images that a job source decides on, until it has no more jobs; otherwise as `run`.

        `parameters` are further values that affect the images; they are stored with the output like the settings.
        `on_end` is called last, also after an error, while the output is still open.
        """
        owed = self._with_masks_found(owed)
        with self._open_output([source for source, _ in owed], parameters) as store:
            job_source = open_job_source(JobSourceContext(store, self._server, owed, self.masks))
            try:
                with closing(self._work(store, job_source)) as made:
                    yield from made
            finally:
                on_end(store)

    @contextmanager
    def _open_output(self, sources: Sequence[Source], parameters: Mapping[str, Any]) -> Iterator[OutputStore]:
        self._server = self.check(sources)
        description = {
            "parameters": {**self._server.describe_run(self._spec, with_masks=self.masks is not None), **parameters},
            "sources": str(self._sources.resolve()),
        }
        if self._options.masks is not None:
            description["masks"] = str(self._options.masks.resolve())
        with open_store(self._output, description, durable=self._options.durable) as store:
            self._limits = BatchSizeLimits(self._spec.batch_size, store.batch_limits())
            yield store

    def _with_masks_found(self, owed: Sequence[tuple[Source, int]]) -> Sequence[tuple[Source, int]]:
        """The given sources, without those that are skipped because they have no mask."""
        if self._options.masks is None:
            self._spec.refuse_inpainting()
            return owed
        self.masks, owed = apply_masks(self._options.masks, owed, unmasked=self._options.unmasked)
        return owed

    def _planned(self, owed: Sequence[tuple[Source, int]]) -> Iterator[GenerationPlan]:
        for source, count in owed:
            mask_sha256 = self.masks.sha256_of(source) if self.masks is not None else None
            yield GenerationPlan(
                source,
                sha256_of(source.path),
                count,
                self._spec.seed,
                self._spec.resolver_for(source, mask_sha256=mask_sha256).parameters_for,
                lambda parameters: self._server.identity(parameters, self._spec.seed),
                mask_sha256,
            )

    def _work(self, store: OutputStore, job_source: JobSource) -> Generator[ImageRecord]:
        preparer = RequestPreparer(self._server.native_px, SourcesOnDisk(self.masks))
        jobs = JobQueue(job_source.next_job, lambda job: self._limits.most(preparer.size_of(job)))
        options, native_px = self._options, self._server.native_px
        context = RunContext(jobs, native_px, preparer, self.masks, self._limits, options.check, options.max_in_flight)
        dispatcher = self._dispatcher = self._pool.dispatcher(context)
        stall_detector = StallDetector(options.patience_s)
        handler = ResultHandler(store, job_source, jobs, self._limits, stall_detector, tries=options.tries)
        self.failed = handler.failed
        dispatcher.start()
        try:
            while not jobs.is_finished and not self.stopped.is_set():
                message = dispatcher.next_message(_LISTEN_S)
                if isinstance(message, JobStarted):
                    store.start(message.job.images)
                elif isinstance(message, JobFinished):
                    yield from handler.handle([message, *self._waiting(store, dispatcher)])
                stall_detector.give_up_if_stalled()
        finally:
            self._drain(store, dispatcher)
        dispatcher.join()

    def _waiting(self, store: OutputStore, dispatcher: Dispatcher) -> Iterator[JobFinished]:
        """Jobs that ended while the last one was handled.

        They are handled together: a job source that judges images after each job would be slower than the servers.
        """
        for _ in range(_HANDLED_TOGETHER - 1):
            message = dispatcher.next_message(0)
            if message is None:
                return
            if isinstance(message, JobStarted):
                store.start(message.job.images)
            else:
                yield message

    def _drain(self, store: OutputStore, dispatcher: Dispatcher) -> None:
        """At the end of a run, also after an error: send nothing more, save the images that the servers are making."""
        dispatcher.stop()
        while dispatcher.is_busy:
            try:
                message = dispatcher.next_message(_LISTEN_S)
            except KeyboardInterrupt:
                self.interrupt_jobs()
                continue
            if isinstance(message, JobFinished):
                # The first error is the one to report; an image that cannot be written is made on the next start.
                with suppress(SDClientError, OSError, KeyboardInterrupt):
                    store.save([image for image in message.images if isinstance(image, GeneratedFile)])

    def stop(self) -> None:
        """Send nothing more, save what the servers are making, and end; for a signal handler or another thread."""
        self.stopped.set()

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and no other jobs; the next start makes their images."""
        if self._dispatcher is not None:
            self._dispatcher.interrupt_jobs()


def _nothing() -> Generator[ImageRecord]:
    """The images of a run without missing ones."""
    yield from ()
