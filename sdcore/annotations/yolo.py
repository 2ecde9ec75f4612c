"""YOLO label files, read and written."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import AnnotationError
from . import Box, _check_class_name

CLASSES_NAME = "classes.txt"


def read_class_names(folder: Path) -> list[str]:
    """The lines of `classes.txt`; a YOLO box has the number of its class, from 0.

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
    """Boxes of one image, whose upright size is given; an empty file means no defect.

    Each line is class number, centre x, centre y, width, height, in shares of the image.

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
        left, top = max(0.0, (x - width / 2) * width_px), max(0.0, (y - height / 2) * height_px)
        right = min(float(width_px), (x + width / 2) * width_px)
        bottom = min(float(height_px), (y + height / 2) * height_px)
        boxes.append(Box(class_names[int(fields[0])], left, top, right, bottom))
    return boxes


def _share(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise AnnotationError(f"{where}: found {text!r}; expected a number from 0 to 1, a share of the image's side")
    return value


def _lines(path: Path, *, missing: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: not there; {missing}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror or error}") from error


MARK = "# written by sdclient export; change classes.txt, not this file"
"""First line of a `data.yaml` of ours."""


def format_yolo(boxes: Sequence[Box], numbers: Mapping[str, int], width_px: int, height_px: int) -> str:
    """A line a box: class number from 0, centre x, centre y, width, height, in shares of the image; "" for no box."""
    lines = []
    for box in boxes:
        across, down = (box.left + box.right) / 2 / width_px, (box.top + box.bottom) / 2 / height_px
        size = (box.right - box.left) / width_px, (box.bottom - box.top) / height_px
        # Eight digits: in an image of 10,000 px an edge is off by less than a thousandth of a pixel.
        lines.append(" ".join([str(numbers[box.class_name]), *(f"{one:.8f}" for one in (across, down, *size))]) + "\n")
    return "".join(lines)


def format_data_yaml(root: str, classes: Sequence[str]) -> str:
    """What `yolov5 train --data` and `yolo detect train data=` read; `classes` are in the order of their numbers.

    In ASCII, other letters escaped, since YOLOv5 reads it in the system's own code page. `root` is absolute, because
    the two programs resolve a relative path differently.
    """
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    return (
        f"{MARK}\npath: {json.dumps(root)}\ntrain: images/train\nval: images/val\nnc: {len(classes)}\nnames:\n{names}"
    )
