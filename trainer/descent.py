"""Which files of DATA were generated, and from what, by every trace there is: text chunk, manifest, pixels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from .dataset import Dataset, LabelledImage
from .fingerprints import Fingerprint
from .generated import GeneratedImage, GeneratedSet
from .lineage import generated_source_of, manifest_folders, recorded_images

NO_ENGINE = "not recorded"


@dataclass(frozen=True)
class Trace:
    """What shows that a file was generated."""

    path: Path
    how: str
    """In words: "it carries an sdclient text chunk", ..."""
    source_sha256: str
    """Of the bytes of the image it was made from; "" where that is not told."""


class Traces:
    """Everything known of generated images beside DATA's own files.

    Args:
        sets: generated folders given by the user, joined or as control.
        recorded: SHA-256 of an image -> of its source, of the manifests that lie below DATA.
        prints: of the sets' images, by path.
    """

    def __init__(
        self, sets: Iterable[GeneratedSet], recorded: Mapping[str, str], prints: Mapping[Path, Fingerprint]
    ) -> None:
        images = [image for one in sets for image in one.images]
        self._recorded = dict(recorded)
        self._by_bytes = {image.sha256: image for image in images}
        self._by_pixels: dict[str, GeneratedImage] = {}
        for image in images:
            if prints[image.path].error is None:
                self._by_pixels.setdefault(prints[image.path].pixel_sha256, image)
        self._sources = {image.source_sha256 for image in images} | set(recorded.values())

    def of_bytes(self, path: Path, sha256: str) -> Trace | None:
        """The trace in a file's own bytes: its text chunk, or a manifest that records these very bytes.

        Raises:
            OSError: the file cannot be read.
        """
        source = generated_source_of(path)
        image = self._by_bytes.get(sha256)
        recorded = image.source_sha256 if image is not None else self._recorded.get(sha256, "")
        if source is not None:
            return Trace(path, "it carries an sdclient text chunk", source or recorded)
        if image is not None:
            return Trace(path, f"its very bytes are {image.path}", recorded)
        return Trace(path, "a manifest below DATA records its bytes", recorded) if recorded else None

    def of_pixels(self, path: Path, one: Fingerprint) -> Trace | None:
        """The trace in a file's pixels: they are those of a generated image, saved anew without its text.

        A file that itself is a source, and of which nothing but a copy was generated, is not meant.
        """
        if one.error is not None or one.sha256 in self._sources:
            return None
        image = self._by_pixels.get(one.pixel_sha256)
        return Trace(path, f"its pixels are those of {image.path}", image.source_sha256) if image else None


def recorded_below(root: Path) -> dict[str, str]:
    """SHA-256 of each image -> SHA-256 of its source, of every manifest at or below a folder.

    Raises:
        GeneratedSetError: a manifest cannot be read.
    """
    return {image.sha256: image.source_sha256 for folder in manifest_folders(root) for image in recorded_images(folder)}


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
