"""Status, retry, verification and repair of an output folder."""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdcore.files import is_temporary, sha256_of
from sdcore.images.folders import is_image_name
from sdcore.progress import ProgressTracker, no_progress

from ..errors import MaskError
from ..infotext import read_infotext
from ..manifest.database import DONE, FAILED, PLANNED, RUNNING, ImageRecord, Manifest
from ..manifest.progress import STATUSES, count_by_class, count_failures, mask_of
from ..masks.mask import MASKS_FOLDER, read_mask
from .store import MASK_SHA256, upkeep_manifest


@dataclass(frozen=True)
class OutputStatus:
    """Numbers of images in a manifest."""

    by_class: dict[str, dict[str, int]]
    """class -> status -> images; every status has a key."""
    failures: dict[tuple[str, str], int]
    """(class, reason) -> images that were given up."""

    def total(self, status: str) -> int:
        """Images of all classes with this status."""
        return sum(counts[status] for counts in self.by_class.values())

    @property
    def is_complete(self) -> bool:
        """Whether every planned image is done."""
        return all(self.total(status) == 0 for status in STATUSES if status != DONE)


def read_status(output: Path) -> OutputStatus:
    """Count an output's images; also possible while a run works there.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    with Manifest(output) as manifest:
        by_class, failures = count_by_class(manifest), count_failures(manifest)
    filled = {name: {status: counts[status] for status in STATUSES} for name, counts in by_class.items()}
    return OutputStatus(filled, dict(failures))


def retry_failed(output: Path) -> int:
    """Plan the images that were given up again, with new tries; returns their number.

    Raises:
        ManifestError: no manifest, or a damaged one.
        FolderInUse: a run works there.
    """
    with upkeep_manifest(output) as manifest:
        failed = [state.file for state in manifest.states(FAILED)]
        manifest.mark(failed, PLANNED)
    return len(failed)


ORPHANS_FOLDER = ".orphans"
"""Folder in the output where a repair puts image files without a row."""


@dataclass(frozen=True)
class FileProblem:
    """A file that does not match its row, or has none."""

    file: str
    """Relative to the output folder, forward slashes."""
    problem: str


@dataclass(frozen=True)
class Verification:
    """Result of a verification."""

    images: int
    """Rows with the status done."""
    damaged: tuple[FileProblem, ...]
    """Rows whose file is missing or differs from the recorded one."""
    orphans: tuple[FileProblem, ...]
    """Image and mask files without a row with the status done, and temporary files."""
    repaired: bool

    @property
    def is_sound(self) -> bool:
        """Whether there is no problem."""
        return not self.damaged and not self.orphans


def verify(output: Path, *, repair: bool = False, track: ProgressTracker = no_progress) -> Verification:
    """Compare every file with its row (bytes, size in pixels, infotext, mask), and find files without a row.

    With `repair`, damaged images and rows that a killed run left running are planned again, so that the next
    'sdclient generate' makes them; temporary files are removed, and image files without a row are moved into
    `OUTPUT/.orphans`.

    Raises:
        ManifestError: no manifest, or a damaged one.
        FolderInUse: a repair while a run works there.
    """
    if not repair:
        with Manifest(output) as manifest:
            return _sweep(output, manifest, track)
    with upkeep_manifest(output) as manifest:
        found = _sweep(output, manifest, track)
        _repair(output, manifest, found)
    return Verification(found.images, found.damaged, found.orphans, repaired=True)


def _sweep(output: Path, manifest: Manifest, track: ProgressTracker) -> Verification:
    images = sum(counts[DONE] for counts in count_by_class(manifest).values())
    damaged = []
    # One by one: the records of a large output would fill the memory. A run may add rows meanwhile, hence not strict.
    for _, record in zip(track(range(images), "verify"), manifest.images(), strict=False):
        if problem := _problem(output / record.file, record) or _mask_problem(output, record):
            damaged.append(FileProblem(record.file, problem))
    orphans = [FileProblem(name, problem) for name, problem in _unknown_files(output, manifest)]
    return Verification(images, tuple(damaged), tuple(orphans), repaired=False)


def _problem(path: Path, record: ImageRecord) -> str | None:
    """How a file differs from its record, or None."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if hashlib.sha256(data).hexdigest() != record.sha256:
        return f"{len(data)} bytes that are not those recorded"
    with Image.open(io.BytesIO(data)) as image:
        if image.size != (record.width, record.height):
            return f"{image.width} x {image.height} px, recorded {record.width} x {record.height}"
        if read_infotext(image) != record.infotext:
            return "another infotext than recorded"
    return None


def _mask_problem(output: Path, record: ImageRecord) -> str | None:
    """How an image's mask differs from its record, or None."""
    if not record.mask:
        return None
    path = output / record.mask
    if not path.is_file():
        return f"its mask {record.mask} is missing"
    recorded = record.asked.get(MASK_SHA256)
    if recorded is not None and sha256_of(path) != recorded:
        return f"its mask {record.mask} has other bytes than those recorded"
    try:
        read_mask(path, (record.width, record.height))
    except MaskError as error:
        return f"its mask cannot be used: {error}"
    return None


def _unknown_files(output: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    for folder in sorted(path for path in (*output.glob("*"), *output.glob(f"{MASKS_FOLDER}/*")) if path.is_dir()):
        if folder.name == ORPHANS_FOLDER:
            continue
        with os.scandir(folder) as entries:  # names alone: a folder may have a million files
            names = sorted(entry.name for entry in entries if entry.is_file())
        for name in names:
            file = (folder / name).relative_to(output).as_posix()
            if is_temporary(name):
                yield file, "a temporary file of a killed run"
            elif is_image_name(name) and not _is_known(manifest, file):
                what = "a mask" if file.startswith(f"{MASKS_FOLDER}/") else "an image"
                yield file, f"{what} without a row that says done"


def _is_known(manifest: Manifest, file: str) -> bool:
    """Whether an image or mask file belongs to a row with the status done."""
    image = file.removeprefix(f"{MASKS_FOLDER}/")
    mask = mask_of(manifest, image)
    return mask is not None and file in (image, mask)


def _repair(output: Path, manifest: Manifest, found: Verification) -> None:
    # Files first, then rows. A crash in between leaves damaged images whose rows still say done; the next repair finds
    # them again. No other process works here meanwhile: `upkeep_manifest` holds the folder's lock.
    for orphan in found.orphans:
        path = output / orphan.file
        if is_temporary(path.name):
            path.unlink(missing_ok=True)
        else:
            target = output / ORPHANS_FOLDER / orphan.file
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    for finding in found.damaged:
        manifest.mark([finding.file], PLANNED, reason=finding.problem)
    manifest.mark([state.file for state in manifest.states(RUNNING)], PLANNED)
