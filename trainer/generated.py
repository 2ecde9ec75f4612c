"""Reading a folder of generated images through its manifest."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdclient.manifest import Manifest, ManifestError

from .errors import GeneratedSetError


@dataclass(frozen=True)
class GeneratedImage:
    """One generated image, its file checked against the manifest."""

    path: Path
    label: str
    sha256: str
    source_sha256: str
    """Of the bytes of the real image it was made from."""
    source: Path | None = None
    """Where that image lay; None where the manifest does not say. It may be gone or changed since."""


@dataclass(frozen=True)
class GeneratedSet:
    """Every image of an output folder of `sdclient generate`."""

    path: Path
    images: tuple[GeneratedImage, ...]
    engine: str
    """What made the pixels, in the manifest's words; a stand-in says that it is not Stable Diffusion."""
    model: str
    asked: dict[str, Any]
    """Parameters of the run."""

    def counts(self) -> dict[str, int]:
        """Images per class."""
        return dict(sorted(Counter(image.label for image in self.images).items()))

    def summary(self) -> dict[str, Any]:
        """What a run's `data.json` says about this set."""
        return {
            "path": self.path.as_posix(),
            "engine": self.engine,
            "model": self.model,
            "count": len(self.images),
            "classes": self.counts(),
            "asked": self.asked,
        }


def read_generated(output: Path, *, progress: bool = False) -> GeneratedSet:
    """Read a generated set; every file must be there, byte for byte as it was recorded.

    Raises:
        GeneratedSetError: no manifest, a damaged one, none recorded, or a file missing or changed.
    """
    try:
        with Manifest(output) as manifest:
            records, asked = list(manifest.images()), manifest.run()
    except ManifestError as error:
        raise GeneratedSetError(str(error)) from error
    except (sqlite3.Error, ValueError) as error:
        raise GeneratedSetError(
            f"{output}: its manifest cannot be read: {error}; generate into a new folder"
        ) from error
    if not records:
        raise GeneratedSetError(f"{output}: its manifest records no image; run 'sdclient generate' to the end first")
    sources = output / str(asked["sources"]) if "sources" in asked else None
    images = []
    for record in tqdm(records, desc="check generated", unit="image", disable=not progress):
        path = output / record.file
        if _sha256_or_none(path) != record.sha256:
            found = "differs from what was generated" if path.is_file() else "is recorded, but not there"
            raise GeneratedSetError(
                f"{path}: the file {found}; put it back, or generate into a new folder "
                "(to leave images out on purpose, use a review, not the file manager)"
            )
        source = sources / record.source if sources is not None else None
        images.append(GeneratedImage(path, record.class_name, record.sha256, record.source_sha256, source))
    return GeneratedSet(
        path=output,
        images=tuple(images),
        engine=_distinct(record.engine for record in records),
        model=_distinct(record.model for record in records),
        asked=asked,
    )


def _sha256_or_none(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _distinct(words: Any) -> str:
    return "; ".join(sorted(set(words)))
