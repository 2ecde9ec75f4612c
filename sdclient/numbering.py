"""Copy photographs into numbered source folders: `SRC/<class>/anything.png` -> `DEST/<class>/1.png`.

`DEST/mapping.csv` says which copy is which photograph. It is written before the copies of a class, so that an
interrupted run is taken up where it stopped and a number, once given, stays.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from ._atomic import write_bytes_atomically
from .errors import OutputError, SourceError
from .photos import (
    check_destination,
    is_image_name,
    is_storable_name,
    natural_key,
    printable,
    read_photo,
    sha256_of,
    visible_entries,
)

MAPPING_NAME = "mapping.csv"
COLUMNS = ("class", "old_name", "new_name", "sha256")

Track = Callable[[Sequence[Any]], Iterable[Any]]
"""Passes items on while showing progress; `iter` shows none."""


@dataclass(frozen=True)
class LeftOut:
    """A file that was not used, and why."""

    file: str
    """Path relative to the folder that was read, forward slashes."""
    reason: str


@dataclass(frozen=True)
class NumberingResult:
    """What `number` did; names are relative to DEST with forward slashes."""

    copied: tuple[str, ...]
    unchanged: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def usable(self) -> int:
        """How many of the photographs have a numbered copy now."""
        return len(self.copied) + len(self.unchanged)


@dataclass(frozen=True)
class _Row:
    class_name: str
    old_name: str
    new_name: str
    sha256: str

    @property
    def number(self) -> int:
        return int(Path(self.new_name).stem)


def number(source: Path, destination: Path, *, track: Track = iter) -> NumberingResult:
    """Copy `source/<class>/*` to `destination/<class>/1.png, 2.jpg, ...` in natural order.

    Bytes and endings are kept and `source` is only read. A repeat changes nothing; photographs that came later
    get numbers after those that were given. Files that cannot be read to their last pixel are left out.

    Args:
        source: folder with one folder of photographs per class.
        destination: folder for the copies; made when missing.
        track: shows progress over the photographs.

    Raises:
        SourceError: no class folder, or a mapping that cannot be read.
        OutputError: the folders overlap, or the destination holds other files than this made.
        OSError: the destination cannot be written.
    """
    photos, left_out = _photographs(source)
    check_destination(source, destination)
    rows = _read_mapping(destination / MAPPING_NAME)
    known = {(row.class_name, row.old_name): row for row in rows}
    copied: list[str] = []
    unchanged: list[str] = []

    added: list[tuple[Path, _Row]] = []

    def finish_class() -> None:
        if added:
            _write_mapping(destination / MAPPING_NAME, rows)
        for path, row in added:
            _copy(path, destination, row)
            copied.append(f"{row.class_name}/{row.new_name}")
        added.clear()

    for path in track(photos):
        class_name, relative = path.parent.name, f"{path.parent.name}/{path.name}"
        if added and added[-1][1].class_name != class_name:
            finish_class()
        row = known.get((class_name, path.name))
        if row is None:
            try:
                read_photo(path)
                digest = sha256_of(path)
            except (SourceError, OSError) as error:
                left_out.append(LeftOut(relative, _reason(error, path)))
                continue
            number_ = _next_number(destination / class_name, rows, class_name)
            row = _Row(class_name, path.name, f"{number_}{path.suffix}", digest)
            rows.append(row)
            added.append((path, row))
        elif sha256_of(path) != row.sha256:
            reason = f"changed since it became {row.new_name}; to number it anew, save it under another name"
            left_out.append(LeftOut(relative, reason))
        elif _is_in_place(destination, row):
            unchanged.append(f"{class_name}/{row.new_name}")
        else:
            added.append((path, row))
    finish_class()
    return NumberingResult(
        tuple(copied), tuple(unchanged), tuple(sorted(left_out, key=lambda item: natural_key(item.file)))
    )


def _photographs(source: Path) -> tuple[list[Path], list[LeftOut]]:
    """Image files of all classes in natural order, and what else lies there."""
    folders, found, left_out = [], [], []
    for entry in visible_entries(source):
        if not entry.is_dir():
            left_out.append(LeftOut(printable(entry.name), "lies outside any class folder"))
        elif not is_storable_name(entry.name):
            left_out.append(LeftOut(printable(entry.name), "the folder's name is not valid Unicode; rename it"))
        else:
            folders.append(entry)
    if not folders:
        raise SourceError(
            f"{printable(source)}: no class folder in it; expected one folder of photographs per class, "
            "for example Normal and dirt"
        )
    for folder in folders:
        entries = visible_entries(folder)
        if not entries:
            left_out.append(LeftOut(folder.name, "an empty class folder"))
        for entry in entries:
            name = f"{folder.name}/{printable(entry.name)}"
            if entry.is_dir():
                left_out.append(LeftOut(name, "a folder inside a class folder; only the files directly in it are read"))
            elif not is_image_name(entry.name):
                left_out.append(LeftOut(name, "does not end like an image (.png .jpg .jpeg .bmp .tif .tiff .webp)"))
            elif not is_storable_name(entry.name):
                left_out.append(LeftOut(name, "its name is not valid Unicode; rename it"))
            else:
                found.append(entry)
    return found, left_out


def _next_number(folder: Path, rows: Sequence[_Row], class_name: str) -> int:
    """One above every number given in the class and every numbered file that lies there."""
    given = [row.number for row in rows if row.class_name == class_name]
    lying = [int(path.stem) for path in folder.glob("*") if path.stem.isascii() and path.stem.isdecimal()]
    return max([0, *given, *lying]) + 1


def _is_in_place(destination: Path, row: _Row) -> bool:
    copy = destination / row.class_name / row.new_name
    if not copy.exists():
        return False
    if sha256_of(copy) != row.sha256:
        raise OutputError(
            f"{copy}: no longer the copy that {MAPPING_NAME} speaks of; delete this file and run the command again"
        )
    return True


def _copy(path: Path, destination: Path, row: _Row) -> None:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise SourceError(f"{path}: changed while it was being copied; run the command again when nothing writes to it")
    write_bytes_atomically(destination / row.class_name / row.new_name, content)


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{printable(path)}: ")


def _write_mapping(path: Path, rows: Iterable[_Row]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))


def _read_mapping(path: Path) -> list[_Row]:
    """Rows of a former run; none when there was none."""
    if not path.exists():
        return []
    advice = "restore it, or number into a new folder"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [cells for cells in csv.reader(file, strict=True) if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a mapping that 'sdclient number' wrote ({error}); {advice}") from error
    if not lines or tuple(lines[0]) != COLUMNS:
        raise SourceError(f"{path}: line 1: expected the columns {', '.join(COLUMNS)}; {advice}")
    rows = []
    for index, cells in enumerate(lines[1:], start=2):
        stem = Path(cells[2]).stem if len(cells) == len(COLUMNS) else ""
        if not (stem.isascii() and stem.isdecimal()):
            raise SourceError(f"{path}: line {index}: found {cells}; expected {', '.join(COLUMNS)}; {advice}")
        rows.append(_Row(*cells))
    return rows
