"""A whole run of transplants. No image is lost, doubled or half-written, however often the run is killed."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sdcore.images.folders import list_entries
from sdcore.progress import ProgressTracker, no_progress

from ..errors import OutputError, SettingsError
from ..manifest.database import ImageRecord
from ..output.planned_images import MissingImages
from ..output.store import GeneratedFile, OutputStore, open_store
from ..plan import USUALLY_EXCLUDED
from ..sources.source import Source
from . import plan
from .maker import ENGINE, MakerContext, NotPlaced, TransplantMaker, make_in_helper, start_helper
from .refine import SeamRefiner

USUAL_TRIES = 20
_AHEAD = 4
"""Images for each helper that may be under way; bounds the memory of finished images that wait to be written."""
_FEWEST_FOR_HELPERS = 64
"""With fewer images, this process is done before helpers have started."""


@dataclass(frozen=True)
class ComposeStart:
    """What a run is about to do."""

    planned: int
    missing: int
    """Images that do not exist yet and will be made."""
    good: int
    """Number of good images; 0 where none is needed."""
    allowed: int
    """Number of images that have an allowed area."""


@dataclass(frozen=True)
class ComposeOptions:
    """Options of one start of a run."""

    allowed: Path | None = None
    """Folder of allowed areas, named like the images; white where a defect may be put."""
    refiner: SeamRefiner | None = None
    """Refines each seam by a WebUI; None leaves the seams as they are."""
    tries: int = USUAL_TRIES
    """Good images that are tried for one image before it is given up; does not change the images that succeed."""
    workers: int = 1
    """Helper processes; with 1 this process makes the images itself."""
    durable: bool = False
    """Flush each image to the disk before the next."""


class Composer:
    """Puts defects on other surfaces.

    Args:
        defects: folder of numbered sources by class.
        good: folder of good images, with or without class folders.
        output: folder for the images, their masks and their manifest.
    """

    def __init__(
        self,
        defects: Path,
        masks: Path,
        good: Path,
        output: Path,
        settings: plan.ComposeSettings,
        options: ComposeOptions | None = None,
    ) -> None:
        self._options = options or ComposeOptions()
        tries, workers = self._options.tries, self._options.workers
        if tries < 1 or workers < 1:
            raise SettingsError(f"tries {tries}, workers {workers}: expected 1 or more of each")
        self._defects, self._masks, self._good, self._output = defects, masks, good, output
        self._settings = settings
        self.failed: dict[str, str] = {}
        """Images of this run that found no place: file -> reason."""

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
            owed: sources, each with its number of images.
            on_start: called once before the first image.
            on_settled: called for each image that was made or given up.

        Raises:
            SourceError: an image cannot be used.
            MaskError: a mask is missing or cannot be used.
            WebUIError: the WebUI that refines seams is unreachable, or would spoil every image.
            OutputError: the output folder does not belong to this run.
            FolderInUse: another run is using the output folder.
        """
        counted = [(source, count) for source, count in owed if count]
        defects = plan.read_defects((source for source, _ in counted), self._masks, track=track)
        good = []
        if self._settings.onto != "own":
            classes = {entry.name for entry in list_entries(self._defects) if entry.is_dir()} - {*USUALLY_EXCLUDED}
            good = plan.read_good(self._good, defects, classes, track=track)
        # Relative paths of all possible base images, by which their allowed areas are named.
        relatives = [one.relative for one in good]
        if self._settings.onto != "good":
            relatives += [defect.source.relative for defect in defects]
        folder, refiner = self._options.allowed, self._options.refiner
        allowed = plan.check_allowed(folder, relatives) if folder is not None and relatives else 0
        parameters = {
            "made_by": ENGINE,
            **({} if refiner is None else {"refine": refiner.description}),
            **self._settings.model_dump(mode="json"),
            "good": plan.describe_good(good),
            "allowed": "" if folder is None else plan.describe_allowed(folder),
        }
        description = {
            "parameters": parameters,
            "sources": str(self._defects.resolve()),
            **({"other_sources": str(self._good.resolve())} if good else {}),
        }
        counts = [count for _, count in counted]
        plans = plan.plan_transplants(list(zip(defects, counts, strict=True)), self._settings, parameters)
        with open_store(self._output, description, durable=self._options.durable) as store:
            missing = store.enter_plan(plans)
            if on_start is not None:
                on_start(ComposeStart(sum(one.count for one in plans), len(missing), len(good), allowed))
            context = MakerContext(self._settings, tuple(good), folder, self._options.tries)
            with closing(self._made(context, missing)) as results:
                for image, made in zip(missing, results, strict=True):
                    records = self._settle(store, image, made)
                    if on_settled is not None:
                        on_settled()
                    yield from records

    def _made(
        self, context: MakerContext, missing: MissingImages[plan.PlannedTransplant]
    ) -> Generator[GeneratedFile | NotPlaced, None, None]:
        """Every missing image, in order."""
        workers = self._options.workers
        if workers == 1 or len(missing) < _FEWEST_FOR_HELPERS:
            maker = TransplantMaker(context)
            for planned in missing:
                yield maker.make(planned)
            return
        # Spawned on every system: a forked process inherits locks that threads of the parent hold, and blocks on them.
        spawn = multiprocessing.get_context("spawn")
        helpers = ProcessPoolExecutor(workers, mp_context=spawn, initializer=start_helper, initargs=(context,))
        try:
            under_way: deque[Future[GeneratedFile | NotPlaced]] = deque()
            for planned in missing:
                under_way.append(helpers.submit(make_in_helper, planned))
                if len(under_way) >= _AHEAD * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            raise OutputError(
                f"{self._output}: a helper process was killed from outside, perhaps because memory ran out; what was "
                "made is kept: run the same command again with --workers 1"
            ) from error
        finally:
            helpers.shutdown(cancel_futures=True)

    def _settle(
        self, store: OutputStore, planned: plan.PlannedTransplant, made: GeneratedFile | NotPlaced
    ) -> list[ImageRecord]:
        if isinstance(made, GeneratedFile) and self._options.refiner is not None:
            made = self._options.refiner.refine(made)
        if isinstance(made, GeneratedFile):
            return store.save([made])
        store.failed([planned], made.reason)
        self.failed[planned.file] = made.reason
        return []
