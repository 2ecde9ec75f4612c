"""Boxes around defects, from YOLO `.txt` files beside a `classes.txt`, or Pascal VOC `.xml` files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import AnnotationError
from .voc import read_voc_file

CLASSES_NAME = "classes.txt"

_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"com{digit}" for digit in "123456789"), *(f"lpt{digit}" for digit in "123456789")}
)
_ILLEGAL = frozenset('<>:"/\\|?*')
# Tools round the edges, and some count pixels from 1.
_TOLERANCE_PX = 1.5


@dataclass(frozen=True)
class Box:
    """A defect's place in the upright picture, in pixels; right and bottom are exclusive edges."""

    class_name: str
    left: float
    top: float
    right: float
    bottom: float


def read_class_names(folder: Path) -> list[str]:
    """The lines of `classes.txt`; a YOLO box speaks of the class by its number from 0.

    Raises:
        AnnotationError: missing, unreadable, empty, or a name that cannot be a folder's.
    """
    path = folder / CLASSES_NAME
    lines = _lines(path, missing="YOLO boxes need it: one class name a line, in the order of the numbers")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise AnnotationError(f"{path}: empty; expected one class name a line")
    for number, line in enumerate(lines, start=1):
        _check_class_name(line.strip(), path, number)
    return [line.strip() for line in lines]


def read_yolo(path: Path, class_names: Sequence[str], width_px: int, height_px: int) -> list[Box]:
    """Boxes of one picture; each line is class number, centre x, centre y, width, height, in shares of the picture.

    Args:
        path: the box file; an empty one means no defect.
        class_names: from `read_class_names`.
        width_px: width of the upright picture.
        height_px: its height.

    Raises:
        AnnotationError: names file and line of what is wrong.
    """
    boxes = []
    for number, line in enumerate(_lines(path, missing="expected a YOLO box file"), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        fields = line.split()
        if len(fields) != 5:
            hint = " (outlines of a segmentation?)" if len(fields) > 6 else ""
            raise AnnotationError(
                f"{where}: {len(fields)} fields{hint}; expected class, centre x, centre y, width, height"
            )
        if not (fields[0].isascii() and fields[0].isdecimal() and int(fields[0]) < len(class_names)):
            raise AnnotationError(
                f"{where}: class {fields[0]}; expected a number from 0 to {len(class_names) - 1}, "
                f"for {CLASSES_NAME} has {len(class_names)} lines"
            )
        x, y, width, height = (_share(text, where) for text in fields[1:])
        if not (width > 0 and height > 0):
            raise AnnotationError(f"{where}: width {width} and height {height}; expected both above 0")
        boxes.append(
            Box(
                class_names[int(fields[0])],
                max(0.0, (x - width / 2) * width_px),
                max(0.0, (y - height / 2) * height_px),
                min(float(width_px), (x + width / 2) * width_px),
                min(float(height_px), (y + height / 2) * height_px),
            )
        )
    return boxes


def read_voc(path: Path, width_px: int, height_px: int) -> list[Box]:
    """Boxes of one picture from a VOC file; a file without objects means no defect.

    Args:
        path: the annotation file.
        width_px: width of the upright picture.
        height_px: its height.

    Raises:
        AnnotationError: names file and line of what is wrong, also when the file speaks of a picture of another size.
    """
    found = read_voc_file(path)
    if found.width_px and found.height_px and (found.width_px, found.height_px) != (width_px, height_px):
        raise AnnotationError(
            f"{path}: drawn on a picture of {found.width_px} x {found.height_px} px, but the upright photo has "
            f"{width_px} x {height_px}; draw the boxes on the photo as it is now"
        )
    boxes = []
    for item in found.objects:
        _check_class_name(item.name, path, item.line)
        left, top, right, bottom = (item.edges[edge] for edge in ("xmin", "ymin", "xmax", "ymax"))
        if not (left < right and top < bottom):
            raise AnnotationError(
                f"{path}: line {item.line}: box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}); "
                "expected xmin below xmax and ymin below ymax"
            )
        beyond = max(-left, -top, right - width_px, bottom - height_px)
        if beyond > _TOLERANCE_PX or left >= width_px or top >= height_px or right <= 0 or bottom <= 0:
            raise AnnotationError(
                f"{path}: line {item.line}: box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}); "
                f"expected it within the photo's {width_px} x {height_px} px"
            )
        boxes.append(
            Box(item.name, max(0.0, left), max(0.0, top), min(float(width_px), right), min(float(height_px), bottom))
        )
    return boxes


def _share(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise AnnotationError(f"{where}: found {text!r}; expected a number from 0 to 1, a share of the picture's side")
    return value


def is_class_name(name: str) -> bool:
    """Whether a class can have this name: class names become folder names, on Windows too."""
    reserved = name.split(".")[0].casefold() in _RESERVED
    return not (
        not name or name[0] == "." or name[-1] in ". " or reserved or any(c in _ILLEGAL or c < " " for c in name)
    )


def _check_class_name(name: str, path: Path, line: int) -> None:
    if not is_class_name(name):
        raise AnnotationError(
            f"{path}: line {line}: class name {name!r} cannot be the name of a folder; "
            'expected one without < > : " / \\ | ? * and no dot at either end'
        )


def _lines(path: Path, *, missing: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: not there; {missing}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror or error}") from error
