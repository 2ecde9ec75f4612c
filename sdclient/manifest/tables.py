"""CSV tables that other programs may read.

`exported.csv`  images in a training folder, with all their parents. `trainer` reads it for its check against leakage,
                even if an image itself no longer contains its origin.
`crops.csv`     crops, with the photo and the place each was cut from; `trainer` reads it to keep photos together.
`mapping.csv`   numbered copies of photos. It is written before the copies, so that an interrupted `sdclient number` can
                continue, and a number never changes.

The manifest itself can be written as CSV or JSON lines.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from sdcore.files import write_bytes_atomically

from ..errors import ManifestError, OutputError, SDClientError, SourceError
from .database import ImageRecord, Manifest, Parent

EXPORTED_NAME = "exported.csv"

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ExportedImage:
    """One image in a training folder."""

    file: str
    """Path relative to the table's folder, forward slashes."""
    class_name: str
    sha256: str
    """Of the image's bytes."""
    label_file: str
    """Path of the file with its boxes, likewise; "" if none was written."""
    label_sha256: str
    """Of that file's bytes when it was written; "" if there is none."""
    output: str
    """Absolute path of the output folder it comes from."""
    output_file: str
    """Its path in the output folder, forward slashes."""
    engine: str
    source: str
    """Path of its source relative to the sources folder of that output."""
    source_sha256: str
    other_parents: tuple[Parent, ...] = ()

    @property
    def parents_sha256(self) -> tuple[str, ...]:
        """SHA-256 of every image it was made from, its source first."""
        return (self.source_sha256, *(parent.sha256 for parent in self.other_parents))


EXPORTED_COLUMNS = tuple("class" if field.name == "class_name" else field.name for field in fields(ExportedImage))


def write_exported(folder: Path, rows: Iterable[ExportedImage]) -> None:
    """Write the table of a folder atomically, ordered by file."""
    lines = []
    for row in sorted(rows, key=lambda one: one.file):
        values = asdict(row)
        values["other_parents"] = json.dumps(values["other_parents"], ensure_ascii=False) if row.other_parents else ""
        lines.append(values.values())
    _write_table(folder / EXPORTED_NAME, EXPORTED_COLUMNS, lines)


def read_exported(folder: Path) -> tuple[ExportedImage, ...]:
    """Rows of a folder's table; none if there is no table.

    Raises:
        ManifestError: not a table that `write_exported` wrote; names the line.
    """
    path = folder / EXPORTED_NAME
    advice = "restore it from a copy; without it nobody knows which images were generated"
    rows = []
    for number, cells in _read_table(path, EXPORTED_COLUMNS, ManifestError, written_by="export", advice=advice):
        try:
            rows.append(_to_exported(cells))
        except (ValueError, TypeError) as error:
            expected = ", ".join(EXPORTED_COLUMNS)
            raise ManifestError(f"{path}: line {number}: {error}; expected {expected}; {advice}") from error
    return tuple(rows)


def _to_exported(cells: list[str]) -> ExportedImage:
    if len(cells) != len(EXPORTED_COLUMNS):
        raise ValueError(f"{len(cells)} cells")
    values: dict[str, Any] = dict(zip((field.name for field in fields(ExportedImage)), cells, strict=True))
    values["other_parents"] = tuple(Parent(**one) for one in json.loads(values["other_parents"] or "[]"))
    row = ExportedImage(**values)
    if not all(isinstance(one, str) and _SHA256.fullmatch(one) for one in (row.sha256, *row.parents_sha256)):
        raise ValueError("a sha256 that is not 64 digits 0-9, a-f")
    for file in (row.file, row.label_file):
        if file.startswith("/") or ":" in file or "\\" in file or ".." in file.split("/"):
            raise ValueError(f"{file!r} leads out of the folder")
    return row


def _records(output: Path) -> Iterator[dict[str, Any]]:
    with Manifest(output) as manifest:
        for record in manifest.images():
            yield asdict(record)


def export_jsonl(output: Path, stream: TextIO) -> int:
    """Write every image that is done as one line with a JSON object; returns their number.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    count = 0
    for count, row in enumerate(_records(output), 1):  # noqa: B007 - the count is the result
        stream.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
    return count


def export_csv(output: Path, stream: TextIO) -> int:
    """Write every image that is done as one line of a CSV table; returns their number.

    Cells of asked, used and other_parents are JSON.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    writer = csv.DictWriter(stream, [field.name for field in fields(ImageRecord)])
    writer.writeheader()
    count = 0
    for count, row in enumerate(_records(output), 1):  # noqa: B007 - the count is the result
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
    """Edges of the box, relative to the crop's own corner; None for tiles."""
    box_top: float | None
    box_right: float | None
    box_bottom: float | None

    @property
    def place(self) -> str:
        """Size and place of the crop, in words."""
        return f"{self.width} x {self.height} px at ({self.x}, {self.y})"


CROPS_COLUMNS = tuple("class" if field.name == "class_name" else field.name for field in fields(CropRow))


def write_crops(path: Path, rows: Iterable[CropRow]) -> None:
    """Write the table atomically."""
    _write_table(path, CROPS_COLUMNS, (["" if value is None else value for value in astuple(row)] for row in rows))


def read_crops(path: Path, *, advice: str = "restore it, or choose another DEST") -> dict[str, CropRow]:
    """Rows by crop; none if there is no table; `advice` says what to do about a damaged one.

    Raises:
        OutputError: not a table that `write_crops` wrote, or a crop from two photos; names the line.
    """
    rows: dict[str, CropRow] = {}
    for number, cells in _read_table(path, CROPS_COLUMNS, OutputError, written_by="crop", advice=advice):
        try:
            crop, class_name, photo, digest, *lengths = cells
            x, y, width, height = (int(cell) for cell in lengths[:4])
            left, top, right, bottom = (float(cell) if cell else None for cell in lengths[4:])
        except ValueError as error:
            expected = ", ".join(CROPS_COLUMNS)
            raise OutputError(f"{path}: line {number}: found {cells}; expected {expected}; {advice}") from error
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
    """One numbered source."""

    class_name: str
    old_name: str
    """File name of the photo."""
    new_name: str
    """File name of the copy."""
    sha256: str
    """Of the photo's bytes."""

    @property
    def copy(self) -> str:
        """The numbered copy, relative to the sources folder, forward slashes."""
        return f"{self.class_name}/{self.new_name}"


def original_names(mapping: Path) -> dict[str, str]:
    """Numbered copy, as "<class>/<number>.png", -> file name of the photo; empty without a table.

    Raises:
        SourceError: the table cannot be read.
    """
    return {row.copy: row.old_name for row in read_mapping(mapping)}


def write_mapping(path: Path, rows: Iterable[MappingRow]) -> None:
    """Write the table atomically."""
    _write_table(path, MAPPING_COLUMNS, map(astuple, rows))


def read_mapping(path: Path, *, advice: str = "restore it, or number into a new folder") -> list[MappingRow]:
    """Rows of a table; none if there is no table; `advice` says what to do about a damaged one.

    Raises:
        SourceError: not a table that `write_mapping` wrote; names the line.
    """
    rows = []
    for number, cells in _read_table(path, MAPPING_COLUMNS, SourceError, written_by="number", advice=advice):
        if not cells:
            continue
        name = Path(cells[2]) if len(cells) == len(MAPPING_COLUMNS) else Path()
        if not (name.stem.isascii() and name.stem.isdecimal() and name.name == str(name) and all(cells)):
            raise SourceError(f"{path}: line {number}: found {cells}; expected {', '.join(MAPPING_COLUMNS)}; {advice}")
        rows.append(MappingRow(*cells))
    return rows


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))  # the signature is for spreadsheet programs


def _read_table(
    path: Path, columns: tuple[str, ...], fault: type[SDClientError], *, written_by: str, advice: str
) -> list[tuple[int, list[str]]]:
    """Number and cells of each line after the head; none if there is no table.

    Raises:
        fault: not a table that the command `written_by` wrote; the message ends with `advice`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error) as error:
        raise fault(f"{path}: not a table that 'sdclient {written_by}' wrote ({error}); {advice}") from error
    except OSError as error:
        raise fault(f"{path}: cannot be read: {error.strerror or error}; {advice}") from error
    if not lines or tuple(lines[0]) != columns:
        raise fault(f"{path}: line 1: expected the columns {', '.join(columns)}; {advice}")
    return list(enumerate(lines[1:], start=2))
