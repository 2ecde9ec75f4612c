"""Which files of DATA were generated, and from what, by every trace there is: text chunk, manifest, pixels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sdcore.images.folders import LabelledImage

from .dataset import Dataset
from .fingerprints import Fingerprint
from .generated import GeneratedImage, GeneratedSet
from .lineage import RecordedImage, generated_parents_of, record_folders, recorded_images

NO_ENGINE = "not recorded"


@dataclass(frozen=True)
class Trace:
    """What shows that a file was generated."""

    path: Path
    how: str
    """In words: "it carries an sdclient text chunk", ..."""
    parents: tuple[str, ...]
    """SHA-256 of the bytes of every image it was made from; none where that is not told."""


class Traces:
    """Everything known of generated images beside DATA's own files.

    Args:
        sets: generated folders given by the user, joined or as control.
        recorded: what manifests and exports below DATA record.
        prints: of the sets' images, by path.
    """

    def __init__(
        self, sets: Sequence[GeneratedSet], recorded: Iterable[RecordedImage], prints: Mapping[Path, Fingerprint]
    ) -> None:
        images = [image for one in sets for image in one.images]
        self._by_bytes = {image.sha256: image for image in images}
        self._by_pixels: dict[str, GeneratedImage] = {}
        for image in images:
            if prints[image.path].error is None:
                self._by_pixels.setdefault(prints[image.path].pixel_sha256, image)
        self._recorded_bytes: dict[str, RecordedImage] = {}
        self._recorded_places: dict[Path, RecordedImage] = {}
        for record in (*recorded, *(image for one in sets for image in one.left_out)):
            self._recorded_bytes[record.sha256] = record
            self._recorded_places[record.path.resolve()] = record
        self._parents = {parent.sha256 for image in images for parent in image.parents}
        self._parents.update(parent for one in self._recorded_bytes.values() for parent in one.parents)

    def of_bytes(self, path: Path, sha256: str) -> Trace | None:
        """The trace in a file's own bytes or place: its text chunk, or a record of these bytes or of this very file.

        Raises:
            OSError: the file cannot be read.
        """
        told = generated_parents_of(path)
        image, record = self._by_bytes.get(sha256), self._recorded_bytes.get(sha256)
        if record is None and self._recorded_places:
            record = self._recorded_places.get(path.resolve())
        known = [parent.sha256 for parent in image.parents] if image is not None else []
        known += record.parents if record is not None else []
        parents = tuple(dict.fromkeys([*(told or ()), *known]))
        if told is not None:
            return Trace(path, "it carries an sdclient text chunk", parents)
        if image is not None:
            return Trace(path, f"its very bytes are {image.path}", parents)
        if record is None:
            return None
        what = "its bytes" if record.sha256 == sha256 else "an image in its place"
        return Trace(path, f"a manifest or an export records {what}", parents)

    def of_pixels(self, path: Path, one: Fingerprint) -> Trace | None:
        """The trace in a file's pixels: they are those of a generated image, saved anew without its text.

        A file that itself is a parent, and of which nothing but a copy was generated, is not meant.
        """
        if one.error is not None or one.sha256 in self._parents:
            return None
        image = self._by_pixels.get(one.pixel_sha256)
        if image is None:
            return None
        return Trace(path, f"its pixels are those of {image.path}", tuple(each.sha256 for each in image.parents))


def recorded_below(root: Path) -> list[RecordedImage]:
    """What every manifest and every export at or below a folder records.

    Raises:
        GeneratedSetError: one cannot be read.
    """
    return [image for folder in record_folders(root) for image in recorded_images(folder)]


def describe_marked(dataset: Dataset, marked: Sequence[LabelledImage]) -> dict[str, Any]:
    """What a run's `data.json` says about generated images that lie in `train/` itself, as of a generated set."""
    return {
        "path": (dataset.root / "train").as_posix(),
        "engine": "; ".join(sorted({_engine_of(image.path) for image in marked})),
        "model": "",
        "count": len(marked),
        "classes": dict(sorted(Counter(image.label for image in marked).items())),
        "asked": {},
    }


def _engine_of(path: Path) -> str:
    """What made the pixels, as the image's own text chunk says."""
    try:
        with Image.open(path) as picture:
            picture.load()
            told = json.loads(picture.info["sdclient"])["engine"]
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return NO_ENGINE
    return told if isinstance(told, str) and told else NO_ENGINE
