"""Whether the files of an exported image are there, and still what they were."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdcore.files import sha256_or_none

from ..manifest_exported import ExportedImage


class ExportedFileState(Enum):
    """Of one file."""

    MISSING = "missing"
    SAME = "same"
    """The bytes of the row; of a row without a box file, that there is none to be."""
    OTHER = "other"


@dataclass(frozen=True)
class RowState:
    """Of the two files of a row."""

    image: ExportedFileState
    label: ExportedFileState


def state_of(root: Path, row: ExportedImage) -> RowState:
    """Read a row's files.

    Raises:
        OSError: one is there and cannot be read.
    """
    label = _state(root / row.label_file, row.label_sha256) if row.label_file else ExportedFileState.SAME
    return RowState(_state(root / row.file, row.sha256), label)


def _state(path: Path, sha256: str) -> ExportedFileState:
    found = sha256_or_none(path)
    if found is None:
        return ExportedFileState.MISSING
    return ExportedFileState.SAME if found == sha256 else ExportedFileState.OTHER
