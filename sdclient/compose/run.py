"""A whole run of transplants: what is made is never lost, doubled or half-written, however often it is killed."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.images.folders import list_entries
from sdcore.progress import ProgressTracker, no_progress

from ..errors import OutputError, SettingsError
from ..manifest.database import ImageRecord
from ..output.planned_images import MissingImages
from ..output.store import GeneratedFile, OutputStore, open_store
from ..plan import USUALLY_EXCLUDED
from ..sources.source import Source
from .maker import ENGINE, MakerContext, NotPlaced, TransplantMaker, make_in_helper, start_helper
from .plan import (
    BackgroundImage,
    ComposeSettings,
    Defect,
    PlannedTransplant,
    check_allowed,
    describe_allowed,
    describe_good,
    plan_transplants,
    read_defects,
    read_good,
)
from .refine import SeamRefiner

USUAL_TRIES = 20
_AHEAD = 4
"""Images a helper may be ahead of the one that is written next."""
_FEWEST_FOR_HELPERS = 64
"""Fewer images are made before helpers have even started."""


@dataclass(frozen=True)
class ComposeStart:
    """What a run is about to do."""

    planned: int
    missing: int
    """Those that are not there yet and will be made."""
    good: int
    """Good images at hand; 0 where none is needed."""
    allowed: int
    """Pictures that have an allowed area."""


@dataclass(frozen=True)
class ComposeOptions:
    """How one start of a run goes about its work."""

    allowed: Path | None = None
    """Folder of allowed areas, named as the images are; white where a defect may go."""
    refiner: SeamRefiner | None = None
    """Goes over each seam by a WebUI; None leaves them as they are."""
    tries: int = USUAL_TRIES
    """Good images that are tried for one image before it is given up; changes no image that finds its place."""
    workers: int = 1
    """Processes; 1 makes them in this one."""
    durable: bool = False
    """Wait for the disk at each image."""


class Composer:
    """Puts defects on other surfaces.

    Args:
        defects: folder of numbered sources by class.
        masks: folder of their masks, `MASKS/<class>/<number>.png`.
        good: folder of good images, with or without class folders.
        output: folder for the images, their masks and their manifest.
        settings: how.
        options: how this start goes about it; None for the usual ones.
    """

    def __init__(
        self,
        defects: Path,
        masks: Path,
        good: Path,
        output: Path,
        settings: ComposeSettings,
        options: ComposeOptions | None = None,
    ) -> None:
        options = options or ComposeOptions()
        if options.tries < 1 or options.workers < 1:
            raise SettingsError(f"tries {options.tries}, workers {options.workers}: expected 1 or more of each")
        self._defects, self._masks, self._good, self._output = defects, masks, good, output
        self._settings = settings
        self._allowed = options.allowed
        self._refiner = options.refiner
        self._tries = options.tries
        self._workers = options.workers
        self._durable = options.durable
        self.failed: dict[str, str] = {}
        """Images of this run for which no place was found: file -> reason."""

    def run(
        self,
        owed: Sequence[tuple[Source, int]],
        *,
        on_start: Callable[[ComposeStart], None] | None = None,
        on_settled: Callable[[], object] | None = None,
        track: ProgressTracker = no_progress,
    ) -> Iterator[ImageRecord]:
        """Make what is missing; yields each image once its files and its row are in place.

        An image that finds no place is marked as failed and the run goes on; see `failed`.

        Args:
            owed: sources, each with the number of its images.
            on_start: called once before the first image.
            on_settled: called for each image that was made or given up.
            track: shows how far reading the inputs is.

        Raises:
            SourceError: a picture cannot be used.
            MaskError: a mask is missing or cannot be used.
            WebUIError: the WebUI that refines seams is away, or would spoil every image.
            OutputError: the output folder does not belong to this run.
            FolderInUse: another run is at work there.
        """
        counted = [(source, count) for source, count in owed if count]
        defects = read_defects((source for source, _ in counted), self._masks, track=track)
        good = self._read_good(defects, track) if self._settings.onto != "own" else []
        relatives = self._relatives(defects, good)
        allowed = check_allowed(self._allowed, relatives) if self._allowed is not None and relatives else 0
        parameters = self._parameters(good)
        description = {
            "parameters": parameters,
            "sources": str(self._defects.resolve()),
            **({"other_sources": str(self._good.resolve())} if good else {}),
        }
        plans = plan_transplants(
            [(defect, count) for defect, (_, count) in zip(defects, counted, strict=True)], self._settings, parameters
        )
        with open_store(self._output, description, durable=self._durable) as store:
            missing = store.enter_plan(plans)
            if on_start is not None:
                on_start(ComposeStart(sum(plan.count for plan in plans), len(missing), len(good), allowed))
            context = MakerContext(self._settings, tuple(good), self._allowed, self._tries)
            with closing(self._made(context, missing)) as results:
                for image, made in zip(missing, results, strict=True):
                    records = self._settle(store, image, made)
                    if on_settled is not None:
                        on_settled()
                    yield from records

    def _read_good(self, defects: Sequence[Defect], track: ProgressTracker) -> list[BackgroundImage]:
        classes = {entry.name for entry in list_entries(self._defects) if entry.is_dir()} - {*USUALLY_EXCLUDED}
        return read_good(self._good, defects, classes, track=track)

    def _relatives(self, defects: Sequence[Defect], good: Sequence[BackgroundImage]) -> list[str]:
        """Pictures that something may be put on, by the names their allowed areas have."""
        own = [defect.source.relative for defect in defects] if self._settings.onto != "good" else []
        return [*(one.relative for one in good), *own]

    def _parameters(self, good: Sequence[BackgroundImage]) -> dict[str, Any]:
        return {
            "made_by": ENGINE,
            **({} if self._refiner is None else {"refine": self._refiner.description}),
            **self._settings.model_dump(mode="json"),
            "good": describe_good(good),
            "allowed": "" if self._allowed is None else describe_allowed(self._allowed),
        }

    def _made(
        self, context: MakerContext, missing: MissingImages[PlannedTransplant]
    ) -> Generator[GeneratedFile | NotPlaced, None, None]:
        """Every missing image, in order."""
        if self._workers == 1 or len(missing) < _FEWEST_FOR_HELPERS:
            maker = TransplantMaker(context)
            for planned in missing:
                yield maker.make(planned)
            return
        # Spawned on every system: a forked process may hold locks of threads that it does not have.
        spawn = multiprocessing.get_context("spawn")
        helpers = ProcessPoolExecutor(self._workers, mp_context=spawn, initializer=start_helper, initargs=(context,))
        try:
            under_way: deque[Future[GeneratedFile | NotPlaced]] = deque()
            for planned in missing:
                under_way.append(helpers.submit(make_in_helper, planned))
                if len(under_way) >= _AHEAD * self._workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            raise OutputError(
                f"{self._output}: a helper process was ended from outside, perhaps for want of memory; what was made "
                "is kept: run the same command again with --workers 1"
            ) from error
        finally:
            helpers.shutdown(cancel_futures=True)

    def _settle(
        self, store: OutputStore, planned: PlannedTransplant, made: GeneratedFile | NotPlaced
    ) -> list[ImageRecord]:
        if isinstance(made, GeneratedFile) and self._refiner is not None:
            made = self._refiner.refine(made)
        if isinstance(made, GeneratedFile):
            return store.save([made])
        store.failed([planned], made.reason)
        self.failed[planned.file] = made.reason
        return []
