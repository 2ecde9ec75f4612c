"""`crops.csv`: which crop was cut where, out of which photograph."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from sdcore.files import write_bytes_atomically
from sdcore.images.tiles import Window

from .boxes import Box
from .errors import OutputError

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

    @classmethod
    def of(cls, crop: str, class_name: str, photo: str, photo_sha256: str, cut: Window, box: Box | None) -> CropRow:
        """A row for a cut and the box it was made for."""
        edges: tuple[float | None, ...] = (None,) * 4
        if box is not None:
            edges = (box.left - cut.x, box.top - cut.y, box.right - cut.x, box.bottom - cut.y)
        rounded = (None if edge is None else round(edge, 2) for edge in edges)
        return cls(crop, class_name, photo, photo_sha256, cut.x, cut.y, cut.width, cut.height, *rounded)

    @property
    def place(self) -> str:
        """The cut in words."""
        return f"{self.width} x {self.height} px at ({self.x}, {self.y})"


COLUMNS = tuple("class" if field.name == "class_name" else field.name for field in fields(CropRow))


def write_crops(path: Path, rows: Iterable[CropRow]) -> None:
    """Write the table in one step.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))


def read_crops(path: Path) -> dict[str, CropRow]:
    """Rows by crop; none when there is no table yet.

    Raises:
        OutputError: not a table that `write_crops` wrote; names the line.
    """
    if not path.exists():
        return {}
    advice = "restore it, or choose another DEST"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise OutputError(f"{path}: not a table that 'sdclient crop' wrote ({error}); {advice}") from error
    if not lines or tuple(lines[0]) != COLUMNS:
        raise OutputError(f"{path}: line 1: expected the columns {', '.join(COLUMNS)}; {advice}")
    rows = {}
    for number, cells in enumerate(lines[1:], start=2):
        try:
            crop, class_name, photo, digest, *lengths = cells
            x, y, width, height = (int(cell) for cell in lengths[:4])
            left, top, right, bottom = (float(cell) if cell else None for cell in lengths[4:])
        except ValueError as error:
            raise OutputError(
                f"{path}: line {number}: found {cells}; expected {', '.join(COLUMNS)}; {advice}"
            ) from error
        rows[crop] = CropRow(crop, class_name, photo, digest, x, y, width, height, left, top, right, bottom)
    return rows
