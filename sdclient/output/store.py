"""The output folder of a run: image files and their rows in the manifest.

Files are written before rows, so a crash leaves files without rows, never a row that says done for a file that is not
complete. The next start makes the images again whose rows do not say done.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, Final, NoReturn

from PIL import Image

from sdcore.files import lock_folder, write_bytes_atomically
from sdcore.images.decode import to_png
from sdcore.images.text import PNG_KEYWORD, PngFile

from ..errors import OutputError
from ..manifest.database import DONE, FAILED, MANIFEST_NAME, PLANNED, RUNNING, ImageRecord, Manifest, PlannedRow
from ..manifest.progress import NEW, STATE_BYTES, enter, file_of_other_bytes, key_of, states_of_source
from ..masks.mask import box_of, encode_mask
from .planned_images import (
    FILE_ENDING,
    ExistingFiles,
    MissingImages,
    Planned,
    PlannedFile,
    SourcePlan,
    file_stem,
    remove_temporary_files,
)

LINEAGE_KEYWORD = "sdclient"
"""Keyword of the PNG text chunk with class, source sha256, key and engine as JSON."""
MASK_SHA256 = "mask_sha256"
"""Key in a record's `asked`: the sha256 of the mask file's bytes."""

_PNG_LEVEL = 4
"""zlib level: a few percent larger than the default 6, in less than half the time."""
_BATCH_LIMITS = "batch_limits"
_GONE: Final = 255
"""State of an image whose row says done, but whose file is missing."""
_DONE: Final = STATE_BYTES[DONE]
_AGAIN: Final = (_GONE, STATE_BYTES[RUNNING])
"""States of images that get a new row: a killed run left them, or their file was deleted."""
_MISSING: Final = (NEW, STATE_BYTES[PLANNED], *_AGAIN)


@dataclass(frozen=True)
class GeneratedFile:
    """An image that is ready to be written, and its record."""

    record: ImageRecord
    data: bytes
    """The whole PNG file."""
    mask: bytes | None = None
    """The mask's whole PNG file, if the image has a mask."""


def encode_png(image: Image.Image, *, infotext: str, lineage: Mapping[str, Any]) -> bytes:
    """A PNG file with infotext and lineage."""
    return encode_with_texts(image, png_texts(infotext, lineage))


def png_texts(infotext: str, lineage: Mapping[str, Any]) -> dict[str, str]:
    """The text chunks of a PNG file, by keyword."""
    return {PNG_KEYWORD: infotext, LINEAGE_KEYWORD: json.dumps(lineage, sort_keys=True)}


def encode_with_texts(image: Image.Image, texts: Mapping[str, str]) -> bytes:
    """A PNG file with these text chunks."""
    return PngFile(to_png(image, level=_PNG_LEVEL)).with_texts(texts)


def to_files(record: ImageRecord, image: Image.Image, mask: Image.Image) -> GeneratedFile:
    """An image and its mask as files; the record is completed with their hashes and the mask's box."""
    lineage: dict[str, Any] = {
        "class": record.class_name,
        "source_sha256": record.source_sha256,
        "key": record.key,
        "engine": record.engine,
    }
    if record.other_parents:
        lineage["parents_sha256"] = list(record.parents_sha256)
    mask_data = encode_mask(mask)
    data = encode_png(image, infotext=record.infotext, lineage=lineage)
    record = replace(
        record,
        sha256=hashlib.sha256(data).hexdigest(),
        asked={**record.asked, MASK_SHA256: hashlib.sha256(mask_data).hexdigest()},
        used={**record.used, "box": list(box_of(mask))},
    )
    return GeneratedFile(record, data, mask_data)


class OutputStore:
    """An output folder, locked for this process by `open_store`. Only the thread that writes calls it."""

    def __init__(self, output: Path, manifest: Manifest, *, durable: bool = False) -> None:
        self.output = output
        self.manifest = manifest
        self._durable = durable

    def enter_plan(self, plans: Iterable[SourcePlan[Planned]]) -> MissingImages[Planned]:
        """Enter the planned images, repair what a killed run left, and return the images to make.

        Raises:
            OutputError: an image of that name was made from another source or with other parameters.
        """
        every = [plan for plan in plans if plan.count]
        there = ExistingFiles(self.output, every)
        missing: list[tuple[SourcePlan[Planned], Sequence[int]]] = []
        to_enter: list[tuple[SourcePlan[Planned], Sequence[int]]] = []
        again: list[tuple[SourcePlan[Planned], Sequence[int]]] = []
        for plan in every:
            states = self._states(plan, there)
            if ks := _numbers(states, _MISSING):
                missing.append((plan, ks))
                again.append((plan, _numbers(states, _AGAIN)))
                to_enter.append((plan, _numbers(states, (NEW, *_AGAIN))))
        self._enter(to_enter, again)
        return MissingImages(missing)

    def _states(self, plan: SourcePlan[Planned], there: ExistingFiles) -> bytearray:
        """The state of each image of a source, one byte each; `_GONE` if a row says done but its file is missing.

        Rows with other source bytes count as missing here and are refused by `_enter`. Everything else in an image's
        key is the same for all rows of a source: the run's parameters, which never change in an output, and the
        source's mask. So it is enough to compare the key of one row.

        Raises:
            OutputError: the key differs.
        """
        states = states_of_source(self.manifest, file_stem(plan.source), plan.source_sha256, plan.count)
        first = plan.count - len(states.lstrip(bytes([NEW]))) + 1
        if first <= plan.count:
            ((_, _, key),) = plan.identities([first])
            if key_of(self.manifest, plan.file_of(first)) != key:
                self._refuse(plan.file_of(first))
        if _DONE in states:
            files = there.of(plan)
            absent = files.find(0)
            while absent >= 0:
                if states[absent] == _DONE:
                    states[absent] = _GONE
                absent = files.find(0, absent + 1)
        return states

    def _enter(
        self,
        plans: Sequence[tuple[SourcePlan[Planned], Sequence[int]]],
        again: Sequence[tuple[SourcePlan[Planned], Sequence[int]]],
    ) -> None:
        """Enter these images, all or none; images in `again` lose their former rows."""
        if not any(ks for _, ks in plans):
            return
        # One transaction for old and new rows: a crash leaves the plan as it was before this start.
        with self.manifest.transaction() as database:
            self.manifest.forget(plan.file_of(k) for plan, ks in again for k in ks)
            for plan, ks in plans:
                if enter(database, _rows(plan, ks)) < len(ks):
                    other = file_of_other_bytes(self.manifest, file_stem(plan.source), plan.source_sha256)
                    if other is not None:
                        self._refuse(other)
        self.manifest.truncate_wal()

    def _refuse(self, file: str) -> NoReturn:
        raise OutputError(
            f"{self.output / file}: was made from another picture, or with another mask, than the source "
            "of that number has now; use a new output folder, or put the former file back"
        )

    def forget_unfinished(self) -> None:
        """Remove images that a killed run did not finish; for a run that decides anew what to make.

        Rows whose file is missing are removed too, and files whose row does not say done.
        """
        remove_temporary_files(self.output)
        gone = [state.file for state in self.manifest.states(PLANNED, RUNNING)]
        gone += [file for file in self.manifest.files() if not (self.output / file).is_file()]
        for file in gone:
            (self.output / file).unlink(missing_ok=True)
        self.manifest.forget(gone)

    def start(self, images: Sequence[PlannedFile]) -> None:
        """Mark images as running; enter those that have no row."""
        self.manifest.start(_row(image) for image in images)

    def save(self, made: Sequence[GeneratedFile]) -> list[ImageRecord]:
        """Write files, masks first, then their rows; after a kill in between, the next start makes the files again."""
        for image in made:
            if image.mask is not None:
                write_bytes_atomically(self.output / image.record.mask, image.mask, durable=self._durable)
            write_bytes_atomically(self.output / image.record.file, image.data, durable=self._durable)
        # Rows last and in one transaction: no row says done for a file that is not complete and in place.
        records = [image.record for image in made]
        self.manifest.add(records)
        return records

    def failed(self, images: Iterable[PlannedFile], reason: str) -> None:
        """Mark images as given up."""
        self.manifest.mark([image.file for image in images], FAILED, reason=reason, failures=1)

    def requeue(self, images: Iterable[PlannedFile], reason: str, *, failures: int) -> None:
        """Mark images as planned again; `failures` is added to their failed tries."""
        self.manifest.mark([image.file for image in images], PLANNED, reason=reason, failures=failures)

    def batch_limits(self) -> dict[str, int]:
        """Batch sizes that earlier runs learnt from servers without enough memory, by generation size."""
        limits = self.manifest.run().get(_BATCH_LIMITS)
        return dict(limits) if isinstance(limits, dict) else {}

    def keep_batch_limits(self, limits: Mapping[str, int]) -> None:
        """Store them for the next run."""
        self.manifest.set_run({_BATCH_LIMITS: dict(limits)})


@contextmanager
def open_store(output: Path, run: Mapping[str, Any], *, durable: bool = False) -> Iterator[OutputStore]:
    """Open an output folder for a run, or create it; `run["parameters"]` must equal that of an existing output.

    Raises:
        FolderInUse: another process works there.
        OutputError: the folder has a run with other parameters, or files but no manifest.
        ManifestError: its manifest is damaged or has another schema version.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for the images")
    foreign = [path for path in output.iterdir() if not path.name.startswith(".")] if output.is_dir() else []
    if foreign and not (output / MANIFEST_NAME).exists():
        raise OutputError(f"{output}: holds files but no {MANIFEST_NAME}; choose an empty or new folder for the images")
    output.mkdir(parents=True, exist_ok=True)
    with lock_folder(output), Manifest(output, create=True, durable=durable) as manifest:
        _refuse_other_parameters(output, manifest.run(), run)
        manifest.set_run(run)
        yield OutputStore(output, manifest, durable=durable)


@contextmanager
def upkeep_manifest(output: Path) -> Iterator[Manifest]:
    """The manifest of an existing output, open for writing while no run works there.

    Raises:
        ManifestError: no manifest, or a damaged one.
        FolderInUse: a run works there.
    """
    Manifest(output).close()  # raises if there is none; opening for writing would create one
    with lock_folder(output), Manifest(output, create=True) as manifest:
        yield manifest


@contextmanager
def curation_manifest(output: Path, *, is_dry_run: bool) -> Iterator[Manifest]:
    """The manifest of an existing output for curation; read-only in a dry run.

    The folder is not locked, so a run or a review page may work there at the same time: each change is a short
    transaction, and verdicts are bound to the bytes of the image that was judged.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    with Manifest(output) as manifest:
        if is_dry_run:
            yield manifest
            return
    with Manifest(output, create=True) as manifest:
        yield manifest


def _numbers(states: bytearray, wanted: Sequence[int]) -> Sequence[int]:
    """Numbers of the images in one of the wanted states, in order; as a range if there are no gaps, to save memory."""
    flags = states.translate(bytes(byte in wanted for byte in range(256)))
    first, last, count = flags.find(1) + 1, flags.rfind(1) + 1, flags.count(1)
    if count == 0 or count == last - first + 1:
        return range(first, first + count)
    return array("L", compress(range(1, len(flags) + 1), flags))


def _rows(plan: SourcePlan[Planned], ks: Sequence[int]) -> Iterator[tuple[str, str, str, str, int, int, str]]:
    """The values of each image's `PlannedRow`; creates no object for each image."""
    stem, source, sha256 = file_stem(plan.source), plan.source, plan.source_sha256
    class_name, relative = source.class_name, source.relative
    for k, seed, key in plan.identities(ks):
        yield f"{stem}{k}{FILE_ENDING}", class_name, relative, sha256, k, seed, key


def _row(image: PlannedFile) -> PlannedRow:
    source = image.source
    return PlannedRow(
        image.file, source.class_name, source.relative, image.source_sha256, image.k, image.seed, image.key
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
