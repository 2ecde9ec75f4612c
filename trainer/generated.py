"""Reading a folder of generated images through its manifest: the accepted ones, once it has been curated."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdclient.manifest import ImageRecord, Manifest, ManifestError
from sdclient.manifest_curation import ACCEPTED, UNDECIDED, Curation
from sdcore.files import sha256_or_none

from .errors import GeneratedSetError
from .lineage import RecordedImage


@dataclass(frozen=True)
class ParentImage:
    """An image that a generated one was made from."""

    sha256: str
    """Of its bytes."""
    path: Path | None = None
    """Where it lay; None where the manifest does not say. It may be gone or changed since."""


@dataclass(frozen=True)
class GeneratedImage:
    """One generated image, its file checked against the manifest."""

    path: Path
    label: str
    sha256: str
    source: ParentImage
    others: tuple[ParentImage, ...] = ()
    """Further images whose pixels it holds, as the good one that a defect was put into."""

    @property
    def source_sha256(self) -> str:
        """Of the bytes of the real image it was made from."""
        return self.source.sha256

    @property
    def parents(self) -> tuple[ParentImage, ...]:
        """Every image it was made from, its source first."""
        return (self.source, *self.others)


@dataclass(frozen=True)
class GeneratedSet:
    """The images of an output folder of `sdclient generate` that may join a training."""

    path: Path
    images: tuple[GeneratedImage, ...]
    engine: str
    """What made the pixels, in the manifest's words; a stand-in says that it is not Stable Diffusion."""
    model: str
    asked: dict[str, Any]
    """Parameters of the run."""
    curated: bool = False
    """Whether only accepted images were taken."""
    left_out: tuple[RecordedImage, ...] = ()
    """Images that are recorded and were not taken; their files may be gone."""
    undecided: int = 0
    """How many of those nobody has judged."""

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
            "recorded": len(self.images) + len(self.left_out),
            "curated": self.curated,
            "undecided": self.undecided,
            "classes": self.counts(),
            "asked": self.asked,
        }


def read_generated(output: Path, *, uncurated: bool = False, progress: bool = False) -> GeneratedSet:
    """Read a generated set; every file that is taken must be there, byte for byte as it was recorded.

    Of a set that filters or a person have judged, the accepted images are taken; those that are not may be gone.

    Args:
        output: the folder.
        uncurated: take every image, whatever was judged.
        progress: show a bar on stderr.

    Raises:
        GeneratedSetError: no manifest, a damaged one, none recorded or accepted, or a file missing or changed.
    """
    try:
        with Manifest(output) as manifest:
            records, asked = list(manifest.images()), manifest.run()
            verdicts = {} if uncurated else {one.file: one.verdict for one in Curation(manifest).verdicts()}
    except ManifestError as error:
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
        source, *others = _parents_of(record, output, asked)
        images.append(GeneratedImage(path, record.class_name, record.sha256, source, tuple(others)))
    kept = {record.file for record in taken}
    return GeneratedSet(
        path=output,
        images=tuple(images),
        engine=_distinct(record.engine for record in taken),
        model=_distinct(record.model for record in taken),
        asked=asked,
        curated=curated,
        left_out=tuple(
            RecordedImage(output / record.file, record.sha256, record.parents_sha256)
            for record in records
            if record.file not in kept
        ),
        undecided=sum(verdict == UNDECIDED for verdict in verdicts.values()) if curated else 0,
    )


def _parents_of(record: ImageRecord, output: Path, run: dict[str, Any]) -> list[ParentImage]:
    """With their places, as far as the run names the folders; relative ones are meant from the output."""

    def place(folder: str, name: str) -> Path | None:
        return output / str(run[folder]) / name if folder in run else None

    return [
        ParentImage(record.source_sha256, place("sources", record.source)),
        *(ParentImage(parent.sha256, place("other_sources", parent.source)) for parent in record.other_parents),
    ]


def _distinct(words: Any) -> str:
    return "; ".join(sorted(set(words)))
