"""The output folder of a run: whole image files first, their rows in the manifest second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from .._atomic import TEMPORARY_PATTERN, write_bytes_atomically
from ..errors import OutputError
from ..manifest import DONE, FAILED, MANIFEST_NAME, PLANNED, RUNNING, ImageRecord, Manifest, PlannedRow
from ..masks import MASKS_FOLDER, mask_file_of
from .finish import MadeImage
from .jobs import PlannedFile
from .lock import sole_runner

_PLAN_CHUNK = 5000
_BATCH_LIMITS = "batch_limits"

Planned = TypeVar("Planned", bound=PlannedFile)


class OutputStore:
    """An output folder that belongs to this run, and to no other process.

    Args:
        output: the folder; must exist.
        manifest: its manifest, open for writing.
        durable: wait for the disk at each image.
    """

    def __init__(self, output: Path, manifest: Manifest, *, durable: bool = False) -> None:
        self.output = output
        self._manifest = manifest
        self._durable = durable

    def enter_plan(self, images: Iterable[Planned]) -> list[Planned]:
        """Enter what is planned and mend what a killed run left; gives the images that are to be made.

        Raises:
            OutputError: an image of that name was made from another source or with other parameters.
        """
        self._remove_temporary_files()
        known = {state.file: (state.key, state.status) for state in self._manifest.states()}
        missing, new, again = [], [], []
        for image in images:
            key, status = known.get(image.file, (image.key, None))
            if key != image.key:
                raise OutputError(
                    f"{self.output / image.file}: was made from another picture, or with another mask, than the source "
                    "of that number has now; use a new output folder, or put the former file back"
                )
            if status == FAILED or (status == DONE and self._is_whole(image)):
                continue
            missing.append(image)
            if status is None:
                new.append(image)
            elif status in (DONE, RUNNING):
                again.append(image)
        for start in range(0, len(new), _PLAN_CHUNK):
            self._manifest.plan(_row(image) for image in new[start : start + _PLAN_CHUNK])
        self._manifest.forget(image.file for image in again)
        self._manifest.plan(_row(image) for image in again)
        return missing

    @property
    def manifest(self) -> Manifest:
        """The output's manifest, open for writing."""
        return self._manifest

    def forget_unfinished(self) -> None:
        """Take back what a killed run had decided to make and had not made; for a run that decides anew.

        An image that is recorded but no longer there is forgotten too; a file that was written and not recorded goes.
        """
        self._remove_temporary_files()
        there = {state.file: state.status for state in self._manifest.states()}
        gone = [
            file
            for file, status in there.items()
            if status in (PLANNED, RUNNING) or (status == DONE and not (self.output / file).is_file())
        ]
        for file in gone:
            (self.output / file).unlink(missing_ok=True)
        self._manifest.forget(gone)

    def start(self, images: Sequence[PlannedFile]) -> None:
        """These are on their way; those that were not planned before are entered."""
        self._manifest.plan(_row(image) for image in images)
        self._manifest.mark([image.file for image in images], RUNNING)

    def save(self, made: Sequence[MadeImage]) -> list[ImageRecord]:
        """Put files in place, masks first, then enter them; a kill in between leaves files that are made again."""
        for image in made:
            if image.mask is not None:
                write_bytes_atomically(self.output / image.record.mask, image.mask, durable=self._durable)
            write_bytes_atomically(self.output / image.record.file, image.data, durable=self._durable)
        records = [image.record for image in made]
        self._manifest.add(records)
        return records

    def failed(self, images: Iterable[PlannedFile], reason: str) -> None:
        """These are given up."""
        self._manifest.mark([image.file for image in images], FAILED, reason=reason, failures=1)

    def put_off(self, images: Iterable[PlannedFile], reason: str, *, failures: int) -> None:
        """These are to be tried again."""
        self._manifest.mark([image.file for image in images], PLANNED, reason=reason, failures=failures)

    def batch_limits(self) -> dict[str, int]:
        """Batch sizes that an earlier run learnt from a server's memory, by generation size."""
        limits = self._manifest.run().get(_BATCH_LIMITS)
        return dict(limits) if isinstance(limits, dict) else {}

    def keep_batch_limits(self, limits: Mapping[str, int]) -> None:
        """Remember them for the next run."""
        self._manifest.set_run({_BATCH_LIMITS: dict(limits)})

    def _remove_temporary_files(self) -> None:
        for pattern in (f"*/{TEMPORARY_PATTERN}", f"{MASKS_FOLDER}/*/{TEMPORARY_PATTERN}"):
            for temporary in self.output.glob(pattern):
                temporary.unlink(missing_ok=True)

    def _is_whole(self, image: PlannedFile) -> bool:
        """Whether the files of an image that is done are there."""
        files = (image.file, mask_file_of(image.file)) if image.has_mask else (image.file,)
        return all((self.output / file).is_file() for file in files)


@contextmanager
def open_store(output: Path, run: Mapping[str, Any], *, durable: bool = False) -> Iterator[OutputStore]:
    """Open an output folder for a run, making it when it is new.

    Args:
        output: the folder.
        run: the run's description; `run["parameters"]` must equal that of an existing output.
        durable: wait for the disk at each image.

    Raises:
        OutputError: another process is at work there, or the folder holds a run with other parameters, or files that
            are no run at all.
        ManifestError: its manifest is damaged or of a newer version.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for the images")
    foreign = [path for path in output.iterdir() if not path.name.startswith(".")] if output.is_dir() else []
    if foreign and not (output / MANIFEST_NAME).exists():
        raise OutputError(f"{output}: holds files but no {MANIFEST_NAME}; choose an empty or new folder for the images")
    output.mkdir(parents=True, exist_ok=True)
    with sole_runner(output), Manifest(output, create=True, durable=durable) as manifest:
        _refuse_other_parameters(output, manifest.run(), run)
        manifest.set_run(run)
        yield OutputStore(output, manifest, durable=durable)


@contextmanager
def manifest_for_upkeep(output: Path) -> Iterator[Manifest]:
    """The manifest of an existing output, open for changes while no run is at work.

    Raises:
        ManifestError: no manifest, or a damaged one; none is made by looking.
        OutputError: a run is at work.
    """
    Manifest(output).close()
    with sole_runner(output), Manifest(output, create=True) as manifest:
        yield manifest


def _row(image: PlannedFile) -> PlannedRow:
    return PlannedRow(
        file=image.file,
        class_name=image.source.class_name,
        source=image.source.relative,
        source_sha256=image.source_sha256,
        k=image.k,
        seed=image.seed,
        key=image.key,
    )


def _refuse_other_parameters(output: Path, former: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before, after = former.get("parameters"), now["parameters"]
    if before is None or before == after:
        return
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    changes = "; ".join(f"{name} was {before.get(name)!r}, now {after.get(name)!r}" for name in names)
    raise OutputError(
        f"{output}: was made with other parameters ({changes}); give the former ones to go on, or a new output folder"
    )
