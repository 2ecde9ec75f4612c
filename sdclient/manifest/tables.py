"""The CSV tables that others may read: exported.csv, crops.csv, mapping.csv, and the manifest itself.

`trainer` reads it, so that its guard against leakage knows every exported image and all of its parents even where the
image itself does not tell any more. Standard library only, as the manifest itself.

`DEST/mapping.csv` says which copy is which photograph. It is written before the copies, so that an interrupted
run is taken up where it stopped and a number, once given, stays.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from sdcore.files import write_bytes_atomically

from ..errors import ManifestError, OutputError, SourceError
from .database import ImageRecord, Manifest, Parent

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


EXPORTED_COLUMNS = tuple("class" if field.name == "class_name" else field.name for field in fields(ExportedImage))


def write_exported(folder: Path, rows: Iterable[ExportedImage]) -> None:
    """Write the table of a folder in one step, ordered by file.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(EXPORTED_COLUMNS)
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
    if not lines or tuple(lines[0]) != EXPORTED_COLUMNS:
        raise ManifestError(f"{path}: line 1: expected the columns {', '.join(EXPORTED_COLUMNS)}; {advice}")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        try:
            rows.append(_to_row(cells))
        except (ValueError, TypeError) as error:
            raise ManifestError(
                f"{path}: line {number}: {error}; expected {', '.join(EXPORTED_COLUMNS)}; {advice}"
            ) from error
    return tuple(rows)


def _to_row(cells: list[str]) -> ExportedImage:
    if len(cells) != len(EXPORTED_COLUMNS):
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


def _rows(output: Path) -> Iterator[dict[str, Any]]:
    with Manifest(output) as manifest:
        for record in manifest.images():
            yield asdict(record)


def export_jsonl(output: Path, stream: TextIO) -> int:
    """Write one JSON object a line for every image that is done; gives how many.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    count = 0
    for count, row in enumerate(_rows(output), 1):  # noqa: B007 - the count is the result
        stream.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
    return count


def export_csv(output: Path, stream: TextIO) -> int:
    """Write a CSV with one line for every image that is done; gives how many.

    What has parts (asked, used, other_parents) is JSON in its cell.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    writer = csv.DictWriter(stream, [field.name for field in fields(ImageRecord)])
    writer.writeheader()
    count = 0
    for count, row in enumerate(_rows(output), 1):  # noqa: B007 - the count is the result
        for name in ("asked", "used", "other_parents"):
            row[name] = json.dumps(row[name], ensure_ascii=False, sort_keys=True)
        writer.writerow(row)
    return count


CROPS_NAME = "crops.csv"


@dataclass(frozen=True)
class CropRow:
    """One crop; lengths in pixels of the upright photo."""

    crop: str
    """Relative to DEST, forward slashes."""
    class_name: str
    photo: str
    """Relative to PHOTOS, forward slashes; crops of one photo belong in one part of a split."""
    photo_sha256: str
    x: int
    y: int
    width: int
    height: int
    box_left: float | None
    """The box, measured from the crop's own corner; None for tiles."""
    box_top: float | None
    box_right: float | None
    box_bottom: float | None

    @property
    def place(self) -> str:
        """The cut in words."""
        return f"{self.width} x {self.height} px at ({self.x}, {self.y})"


CROPS_COLUMNS = tuple("class" if field.name == "class_name" else field.name for field in fields(CropRow))


def write_crops(path: Path, rows: Iterable[CropRow]) -> None:
    """Write the table in one step.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CROPS_COLUMNS)
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))


def read_crops(path: Path, *, advice: str = "restore it, or choose another DEST") -> dict[str, CropRow]:
    """Rows by crop; none when there is no table yet.

    Args:
        path: of the table.
        advice: what to do about a damaged table, for the message.

    Raises:
        OutputError: not a table that `write_crops` wrote, or a crop from two photos; names the line.
    """
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise OutputError(f"{path}: not a table that 'sdclient crop' wrote ({error}); {advice}") from error
    if not lines or tuple(lines[0]) != CROPS_COLUMNS:
        raise OutputError(f"{path}: line 1: expected the columns {', '.join(CROPS_COLUMNS)}; {advice}")
    rows: dict[str, CropRow] = {}
    for number, cells in enumerate(lines[1:], start=2):
        try:
            crop, class_name, photo, digest, *lengths = cells
            x, y, width, height = (int(cell) for cell in lengths[:4])
            left, top, right, bottom = (float(cell) if cell else None for cell in lengths[4:])
        except ValueError as error:
            raise OutputError(
                f"{path}: line {number}: found {cells}; expected {', '.join(CROPS_COLUMNS)}; {advice}"
            ) from error
        row = CropRow(crop, class_name, photo, digest, x, y, width, height, left, top, right, bottom)
        if rows.setdefault(crop, row).photo_sha256 != digest:
            raise OutputError(
                f"{path}: line {number}: {crop!r} is from {rows[crop].photo!r} already; "
                f"expected one photo a crop; {advice}"
            )
        rows[crop] = row
    return rows


MAPPING_NAME = "mapping.csv"
MAPPING_COLUMNS = ("class", "old_name", "new_name", "sha256")


@dataclass(frozen=True)
class MappingRow:
    """One numbered source: its class, its name as a photograph, its name as a copy, and its bytes."""

    class_name: str
    old_name: str
    new_name: str
    sha256: str

    @property
    def copy(self) -> str:
        """The numbered copy, relative to the sources folder, forward slashes."""
        return f"{self.class_name}/{self.new_name}"


def original_names(mapping: Path) -> dict[str, str]:
    """What numbered sources were called before: "<class>/<number>.png" -> old file name.

    Args:
        mapping: `mapping.csv` beside the class folders; a missing one gives no names.

    Raises:
        SourceError: it cannot be read.
    """
    return {row.copy: row.old_name for row in read_mapping(mapping)}


def write_mapping(path: Path, rows: Iterable[MappingRow]) -> None:
    """Write the table in one step.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(MAPPING_COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))


def read_mapping(path: Path, *, advice: str = "restore it, or number into a new folder") -> list[MappingRow]:
    """Rows of a former run; none when there was none.

    Args:
        path: of the table.
        advice: what to do about a damaged table, for the message.

    Raises:
        SourceError: not a table that `write_mapping` wrote; names the line.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [cells for cells in csv.reader(file, strict=True) if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a mapping that 'sdclient number' wrote ({error}); {advice}") from error
    if not lines or tuple(lines[0]) != MAPPING_COLUMNS:
        raise SourceError(f"{path}: line 1: expected the columns {', '.join(MAPPING_COLUMNS)}; {advice}")
    rows = []
    for index, cells in enumerate(lines[1:], start=2):
        name = Path(cells[2]) if len(cells) == len(MAPPING_COLUMNS) else Path()
        if not (name.stem.isascii() and name.stem.isdecimal() and name.name == str(name) and all(cells)):
            raise SourceError(f"{path}: line {index}: found {cells}; expected {', '.join(MAPPING_COLUMNS)}; {advice}")
        rows.append(MappingRow(*cells))
    return rows
