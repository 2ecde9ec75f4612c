"""Which images were generated and from what: by their text chunk, and by the manifests and exports of `sdclient`."""

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from sdclient.manifest.curation import ACCEPTED, UNDECIDED, Curation
from sdclient.manifest.database import MANIFEST_NAME, ImageRecord, Manifest
from sdclient.manifest.tables import EXPORTED_NAME, ExportedImage, read_exported
from sdcore.errors import SDError
from sdcore.files import sha256_or_none
from sdcore.images.folders import LabelledImage
from sdcore.images.text import read_png_texts

from ..errors import GeneratedSetError
from .dataset import Dataset
from .fingerprints import Fingerprint

_KEYWORD = b"sdclient"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RecordedImage:
    """One generated image, as a manifest or an export records it."""

    path: Path
    """Where it was written; it may be gone or changed by now."""
    sha256: str
    parents: tuple[str, ...]
    """SHA-256 of the bytes of every image it was made from, its source first."""


def read_parents(path: Path) -> tuple[str, ...] | None:
    """SHA-256 of every parent that an image's text chunk `sdclient` names; no pixel is decoded.

    Returns:
        64 hexadecimal digits each, the source first. Empty for a generated image (it has the chunk) whose parents are
        not all named. None without the chunk: a real image, or a generated one that another program saved again.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for text in read_png_texts(file, _KEYWORD):
            try:
                record = json.loads(text)
                parents = [record["source_sha256"], *record.get("parents_sha256", ())]
            except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
                return ()
            whole = all(isinstance(one, str) and _SHA256.fullmatch(one) for one in parents)
            return tuple(dict.fromkeys(parents)) if whole else ()
    return None


def record_folders(root: Path) -> list[Path]:
    """Folders at and below `root` with a manifest or a table of exported images, sorted."""
    return sorted(Path(place) for place, _, files in os.walk(root) if {MANIFEST_NAME, EXPORTED_NAME} & set(files))


def recorded_images(folder: Path) -> tuple[RecordedImage, ...]:
    """Every image in a folder's manifest or table of exported images; the image files are not read.

    Raises:
        GeneratedSetError: there is neither, or one cannot be read.
    """
    rows: list[ExportedImage | ImageRecord] = []
    try:
        if (folder / EXPORTED_NAME).is_file():
            rows += read_exported(folder)
        if not rows or (folder / MANIFEST_NAME).is_file():
            with Manifest(folder) as manifest:
                rows += manifest.images()
    except SDError as error:
        raise GeneratedSetError(str(error)) from error
    except (sqlite3.Error, ValueError) as error:
        raise GeneratedSetError(f"{folder}: its manifest cannot be read: {error}; restore {MANIFEST_NAME}") from error
    return _recorded(folder, rows)


def _recorded(folder: Path, rows: Iterable[ExportedImage | ImageRecord]) -> tuple[RecordedImage, ...]:
    return tuple(RecordedImage(folder / row.file, row.sha256, row.parents_sha256) for row in rows)


@dataclass(frozen=True)
class ParentImage:
    """An image that a generated one was made from."""

    sha256: str
    """Of its bytes."""
    path: Path | None = None
    """Where it was; None where the manifest does not say. It may be gone or changed by now."""


@dataclass(frozen=True)
class GeneratedImage:
    """A generated image whose file was checked against the manifest."""

    path: Path
    label: str
    sha256: str
    source: ParentImage
    others: tuple[ParentImage, ...] = ()
    """Further images whose pixels it holds, such as the good image that a defect was transplanted into."""

    @property
    def source_sha256(self) -> str:
        """Of the bytes of its source."""
        return self.source.sha256

    @property
    def parents(self) -> tuple[ParentImage, ...]:
        """Every image it was made from, its source first."""
        return (self.source, *self.others)


@dataclass(frozen=True)
class GeneratedSet:
    """The images of an output folder of `sdclient generate` that may join training."""

    path: Path
    images: tuple[GeneratedImage, ...]
    engine: str
    """What made the pixels, as the manifest names it."""
    model: str
    parameters: dict[str, Any]
    """Of the run, as the manifest records them."""
    curated: bool = False
    """Whether only accepted images were taken."""
    left_out: tuple[RecordedImage, ...] = ()
    """Recorded images that were not taken; their files may be gone."""
    undecided: int = 0
    """How many of those have no verdict."""

    def counts(self) -> dict[str, int]:
        """Images per class."""
        return dict(sorted(Counter(image.label for image in self.images).items()))

    def summary(self) -> dict[str, Any]:
        """The entry of this set in a run's `data.json`."""
        return {
            "path": self.path.as_posix(),
            "engine": self.engine,
            "model": self.model,
            "count": len(self.images),
            "recorded": len(self.images) + len(self.left_out),
            "curated": self.curated,
            "undecided": self.undecided,
            "classes": self.counts(),
            "asked": self.parameters,
        }


def read_generated(output: Path, *, uncurated: bool = False, progress: bool = False) -> GeneratedSet:
    """Read a generated set; every file taken must have exactly the recorded bytes.

    Of a curated set only the accepted images are taken, unless `uncurated`; the files of the others may be gone.

    Raises:
        GeneratedSetError: the manifest is missing or damaged, no image is recorded or accepted, or a file is missing
            or changed.
    """
    try:
        with Manifest(output) as manifest:
            records, parameters = list(manifest.images()), manifest.run()
            verdicts = {} if uncurated else {one.file: one.verdict for one in Curation(manifest).verdicts()}
    except SDError as error:
        raise GeneratedSetError(str(error)) from error
    except (sqlite3.Error, ValueError) as error:
        raise GeneratedSetError(
            f"{output}: its manifest cannot be read: {error}; generate into a new folder"
        ) from error
    if not records:
        raise GeneratedSetError(f"{output}: its manifest records no image; run 'sdclient generate' to the end first")
    curated = any(verdicts.values())
    taken = [record for record in records if not curated or verdicts[record.file] == ACCEPTED]
    if not taken:
        raise GeneratedSetError(
            f"{output}: none of its {len(records)} images is accepted; look at them with 'sdclient review {output}', "
            "or take all with --uncurated (in an experiment: curated = false)"
        )
    images = []
    for record in tqdm(taken, desc="check generated", unit="image", disable=not progress):
        path = output / record.file
        if sha256_or_none(path) != record.sha256:
            found = "differs from what was generated" if path.is_file() else "is recorded, but not there"
            raise GeneratedSetError(
                f"{path}: the file {found}; put it back, or generate into a new folder "
                f"(to leave images out on purpose, reject them with 'sdclient review {output}')"
            )
        source, *others = _parents_of(record, output, parameters)
        images.append(GeneratedImage(path, record.class_name, record.sha256, source, tuple(others)))
    kept = {record.file for record in taken}
    return GeneratedSet(
        path=output,
        images=tuple(images),
        engine=_distinct(record.engine for record in taken),
        model=_distinct(record.model for record in taken),
        parameters=parameters,
        curated=curated,
        left_out=_recorded(output, (record for record in records if record.file not in kept)),
        undecided=sum(verdict == UNDECIDED for verdict in verdicts.values()) if curated else 0,
    )


def _parents_of(record: ImageRecord, output: Path, run: dict[str, Any]) -> list[ParentImage]:
    """The parents, with their paths where the run names the folders; relative folders start at the output."""

    def place(folder: str, name: str) -> Path | None:
        return output / str(run[folder]) / name if folder in run else None

    return [
        ParentImage(record.source_sha256, place("sources", record.source)),
        *(ParentImage(parent.sha256, place("other_sources", parent.source)) for parent in record.other_parents),
    ]


def _distinct(words: Any) -> str:
    return "; ".join(sorted(set(words)))


NO_ENGINE = "not recorded"


@dataclass(frozen=True)
class ProvenanceTrace:
    """The evidence that a file was generated."""

    path: Path
    how: str
    """In words: "it carries an sdclient text chunk", ..."""
    parents: tuple[str, ...]
    """SHA-256 of the bytes of every image it was made from; empty where that is not recorded."""


class ProvenanceIndex:
    """Finds out whether a file is a generated image: of `sets`, or `recorded` in manifests and exports below DATA."""

    def __init__(
        self, sets: Sequence[GeneratedSet], recorded: Iterable[RecordedImage], fingerprints: Mapping[Path, Fingerprint]
    ) -> None:
        images = [image for one in sets for image in one.images]
        self._by_bytes = {image.sha256: image for image in images}
        self._by_pixels: dict[str, GeneratedImage] = {}
        for image in images:
            if fingerprints[image.path].error is None:
                self._by_pixels.setdefault(fingerprints[image.path].pixel_sha256, image)
        self._recorded_bytes: dict[str, RecordedImage] = {}
        self._recorded_places: dict[Path, RecordedImage] = {}
        for record in (*recorded, *(image for one in sets for image in one.left_out)):
            self._recorded_bytes[record.sha256] = record
            self._recorded_places[record.path.resolve()] = record
        self._parents = {parent.sha256 for image in images for parent in image.parents}
        self._parents.update(parent for one in self._recorded_bytes.values() for parent in one.parents)

    def of_bytes(self, path: Path, sha256: str) -> ProvenanceTrace | None:
        """The trace by a file's bytes or path: its text chunk, or a record of these bytes or of this path.

        Raises:
            OSError: the file cannot be read.
        """
        named = read_parents(path)
        image, record = self._by_bytes.get(sha256), self._recorded_bytes.get(sha256)
        if record is None and self._recorded_places:
            record = self._recorded_places.get(path.resolve())
        known = [parent.sha256 for parent in image.parents] if image is not None else []
        known += record.parents if record is not None else []
        parents = tuple(dict.fromkeys([*(named or ()), *known]))
        if named is not None:
            return ProvenanceTrace(path, "it carries an sdclient text chunk", parents)
        if image is not None:
            return ProvenanceTrace(path, f"its bytes are those of {image.path}", parents)
        if record is None:
            return None
        what = "its bytes" if record.sha256 == sha256 else "an image in its place"
        return ProvenanceTrace(path, f"a manifest or an export records {what}", parents)

    def of_pixels(self, path: Path, one: Fingerprint) -> ProvenanceTrace | None:
        """The trace by a file's pixels: those of a generated image, saved again without its text.

        A file that is itself a parent is no trace: then the generated image is just a copy of it.
        """
        if one.error is not None or one.sha256 in self._parents:
            return None
        image = self._by_pixels.get(one.pixel_sha256)
        if image is None:
            return None
        parents = tuple(parent.sha256 for parent in image.parents)
        return ProvenanceTrace(path, f"its pixels are those of {image.path}", parents)


def recorded_below(root: Path) -> list[RecordedImage]:
    """The images of all manifests and exports at and below a folder.

    Raises:
        GeneratedSetError: one cannot be read.
    """
    return [image for folder in record_folders(root) for image in recorded_images(folder)]


def describe_marked(dataset: Dataset, marked: Sequence[LabelledImage]) -> dict[str, Any]:
    """The entry in a run's `data.json` for generated images in `train/`, in the form of `GeneratedSet.summary`."""
    return {
        "path": (dataset.root / "train").as_posix(),
        "engine": "; ".join(sorted({_engine_of(image.path) for image in marked})),
        "model": "",
        "count": len(marked),
        "classes": dict(sorted(Counter(image.label for image in marked).items())),
        "asked": {},
    }


def _engine_of(path: Path) -> str:
    """What made the pixels, by the image's text chunk."""
    try:
        with Image.open(path) as image:
            image.load()
            engine = json.loads(image.info["sdclient"])["engine"]
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return NO_ENGINE
    return engine if isinstance(engine, str) and engine else NO_ENGINE
