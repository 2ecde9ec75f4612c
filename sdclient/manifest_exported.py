"""`exported.csv`: which images of a training folder `sdclient export` put there, and what they were made from.

`trainer` reads it, so that its guard against leakage knows every exported image and all of its parents even where the
image itself does not tell any more. Standard library only, as the manifest itself.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sdcore.files import write_bytes_atomically

from .errors import ManifestError
from .manifest import Parent

EXPORTED_NAME = "exported.csv"

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ExportedImage:
    """One image that was put into a training folder."""

    file: str
    """Path relative to the folder of the table, forward slashes."""
    class_name: str
    sha256: str
    """Of the image's bytes."""
    label_file: str
    """Of its boxes, relative likewise; "" where none were written."""
    label_sha256: str
    """Of that file's bytes as they were written; "" where there is none."""
    output: str
    """Absolute path of the output folder that it comes from."""
    output_file: str
    """Its path there, forward slashes."""
    engine: str
    source: str
    """Path of its source below the sources of that output."""
    source_sha256: str
    other_parents: tuple[Parent, ...] = ()

    @property
    def parents_sha256(self) -> tuple[str, ...]:
        """SHA-256 of every image it was made from, its source first."""
        return (self.source_sha256, *(parent.sha256 for parent in self.other_parents))


COLUMNS = tuple("class" if field.name == "class_name" else field.name for field in fields(ExportedImage))


def write_exported(folder: Path, rows: Iterable[ExportedImage]) -> None:
    """Write the table of a folder in one step, ordered by file.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda one: one.file):
        values = asdict(row)
        values["other_parents"] = json.dumps(values["other_parents"], ensure_ascii=False) if row.other_parents else ""
        writer.writerow(values.values())
    write_bytes_atomically(folder / EXPORTED_NAME, text.getvalue().encode("utf-8-sig"))


def read_exported(folder: Path) -> tuple[ExportedImage, ...]:
    """Rows of a folder's table; none where there is no table.

    Raises:
        ManifestError: not a table that `write_exported` wrote; names the line.
    """
    path = folder / EXPORTED_NAME
    advice = "restore it from a copy; without it nobody knows which images were generated"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except FileNotFoundError:
        return ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: not a table that 'sdclient export' wrote ({error}); {advice}") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}; {advice}") from error
    if not lines or tuple(lines[0]) != COLUMNS:
        raise ManifestError(f"{path}: line 1: expected the columns {', '.join(COLUMNS)}; {advice}")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        try:
            rows.append(_to_row(cells))
        except (ValueError, TypeError) as error:
            raise ManifestError(f"{path}: line {number}: {error}; expected {', '.join(COLUMNS)}; {advice}") from error
    return tuple(rows)


def _to_row(cells: list[str]) -> ExportedImage:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells")
    *first, source, source_sha256, others = cells
    file, class_name, sha256, label_file, label_sha256, output, output_file, engine = first
    parents = tuple(Parent(**one) for one in json.loads(others or "[]"))
    row = ExportedImage(
        file, class_name, sha256, label_file, label_sha256, output, output_file, engine, source, source_sha256, parents
    )
    if not all(isinstance(one, str) and _SHA256.fullmatch(one) for one in (row.sha256, *row.parents_sha256)):
        raise ValueError("a sha256 that is none")
    for file in (row.file, row.label_file):
        if file.startswith("/") or ":" in file or "\\" in file or ".." in file.split("/"):
            raise ValueError(f"{file!r} leads out of the folder")
    return row
