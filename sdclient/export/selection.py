"""Which images of an output are to be exported, as its manifest says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ExportError
from ..manifest import ImageRecord, Manifest, Parent
from ..manifest_curation import ACCEPTED, REJECTED, UNDECIDED, Curation

_LONGEST_STEM = 60
_DIGITS_OF_SHA256 = 16


@dataclass(frozen=True)
class SelectedImage:
    """One image that is to be exported."""

    file: str
    """Path relative to the output folder, forward slashes."""
    class_name: str
    sha256: str
    engine: str
    source: str
    source_sha256: str
    other_parents: tuple[Parent, ...]
    mask: str
    """Path of its mask relative to the output folder; "" where it has none."""
    is_on_source: bool
    """Whether the picture whose pixels stay outside of the mask is the source, or the first other parent."""
    keeps_source_defect: bool
    """Whether it shows the defect of its source too, where that was: a transplant onto the defect's own picture."""

    @property
    def name(self) -> str:
        """File name that no real image has, nor another image of any output: it holds the bytes' own hash."""
        path = PurePosixPath(self.file)
        stem = re.sub(r"[^0-9A-Za-z_-]", "_", path.stem)[:_LONGEST_STEM]
        return f"generated-{stem}-{self.sha256[:_DIGITS_OF_SHA256]}{path.suffix.lower()}"

    @property
    def parents_sha256(self) -> tuple[str, ...]:
        """SHA-256 of every image it was made from, its source first."""
        return (self.source_sha256, *(parent.sha256 for parent in self.other_parents))


@dataclass(frozen=True)
class Selection:
    """What an output holds and which of it is wanted."""

    output: Path
    run: Mapping[str, Any]
    chosen: tuple[SelectedImage, ...]
    recorded_sha256: frozenset[str]
    """Of every image that is done."""
    recorded: int
    rejected: int
    undecided: int
    curated: bool
    """Whether only accepted images were chosen."""


def select(output: Path, *, uncurated: bool) -> Selection:
    """Read the manifest of an output.

    Args:
        output: the folder.
        uncurated: choose every image that is done, whatever was judged.

    Raises:
        ExportError: no image is done, or none was ever judged and that is not said to be wanted.
        ManifestError: no manifest, or a damaged one.
    """
    with Manifest(output) as manifest:
        run = manifest.run()
        verdicts = {one.file: one.verdict for one in Curation(manifest).verdicts()}
        curated = not uncurated
        chosen, hashes, recorded = [], set(), 0
        for record in manifest.images():
            recorded += 1
            hashes.add(record.sha256)
            if uncurated or verdicts.get(record.file) == ACCEPTED:
                chosen.append(_chosen(record))
    if not recorded:
        raise ExportError(f"{output}: no image is done; run 'sdclient generate' to the end first")
    if curated and not any(verdicts.values()):
        raise ExportError(
            f"{output}: none of its {recorded} images was ever judged; run 'sdclient curate {output}' first, or give "
            "--uncurated to take all"
        )
    told = list(verdicts.values())
    return Selection(
        output=output,
        run=run,
        chosen=tuple(chosen),
        recorded_sha256=frozenset(hashes),
        recorded=recorded,
        rejected=told.count(REJECTED),
        undecided=told.count(UNDECIDED),
        curated=curated,
    )


def _chosen(record: ImageRecord) -> SelectedImage:
    return SelectedImage(
        file=record.file,
        class_name=record.class_name,
        sha256=record.sha256,
        engine=record.engine,
        source=record.source,
        source_sha256=record.source_sha256,
        other_parents=record.other_parents,
        mask=record.mask,
        is_on_source=not record.other_parents or record.asked.get("base") == "source",
        keeps_source_defect=record.asked.get("base") == "source",
    )
