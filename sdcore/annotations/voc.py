"""Pascal VOC files, read with the line of every mistake, and written."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape

from ..errors import AnnotationError
from . import Box, _check_class_name

_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]+)["']""")
_EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class VocObject:
    """One `<object>` of the file; edges in pixels."""

    line: int
    name: str = ""
    edges: dict[str, float] = field(default_factory=dict)


@dataclass
class VocFile:
    """The content of an annotation file; width and height are 0 where it has none."""

    objects: list[VocObject] = field(default_factory=list)
    width_px: int = 0
    height_px: int = 0


def read_voc_file(path: Path) -> VocFile:
    """Parse an annotation file; whether the boxes fit the image is not checked.

    Raises:
        AnnotationError: unreadable, not VOC, or an object without a name or a whole box; names file and line.
    """
    return _Reader(path).read()


class _Reader:
    """Follows the elements of one file; the standard tree parsers give no line numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = VocFile()
        self._open: list[str] = []
        self._text = ""

    def read(self) -> VocFile:
        # The text is decoded here, because the XML parser knows neither GBK nor GB18030.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._add_text
        # Annotations need no document type, and its entities can be made to fill the memory.
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        try:
            self._parser.Parse(self._decoded().encode("utf-8"), True)
        except expat.ExpatError as error:
            raise self._error(error.lineno, f"not well-formed XML ({expat.ErrorString(error.code)})") from error
        return self._found

    def _decoded(self) -> str:
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise AnnotationError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        declared = _ENCODING.match(data)
        encoding = declared.group(1).decode("ascii") if declared else "utf-8"
        try:
            return data.decode("utf-8-sig" if encoding.casefold() in {"utf-8", "utf8"} else encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise self._error(1, f"cannot be read as {encoding}; save it as UTF-8") from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        if not self._open and tag != "annotation":
            raise self._error(line, f"begins with <{tag}>; expected <annotation>, as Pascal VOC has it")
        self._open.append(tag)
        self._text = ""
        if self._open == ["annotation", "object"]:
            self._found.objects.append(VocObject(line))

    def _add_text(self, text: str) -> None:
        self._text += text

    def _end(self, tag: str) -> None:
        where, text = self._open[1:], self._text.strip()
        self._open.pop()
        self._text = ""
        if where == ["object", "name"]:
            self._found.objects[-1].name = text
        elif where[:2] == ["object", "bndbox"] and where[2:] and tag in _EDGES:
            self._found.objects[-1].edges[tag] = self._number(tag, text)
        elif where in (["size", "width"], ["size", "height"]):
            setattr(self._found, f"{tag}_px", int(self._number(tag, text)))
        elif where == ["object"]:
            self._check(self._found.objects[-1])

    def _check(self, item: VocObject) -> None:
        if not item.name:
            raise self._error(item.line, "an <object> without a <name>; expected the class of the defect")
        absent = [edge for edge in _EDGES if edge not in item.edges]
        if absent:
            raise self._error(item.line, f"an <object> without <{absent[0]}>; expected {', '.join(_EDGES)} in <bndbox>")

    def _number(self, tag: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._error(self._parser.CurrentLineNumber, f"<{tag}> is {text!r}; expected a number of pixels")
        return value

    def _refuse_doctype(self, *_: object) -> None:
        raise self._error(self._parser.CurrentLineNumber, "has a document type (<!DOCTYPE ...>); remove it")

    def _error(self, line: int, problem: str) -> AnnotationError:
        return AnnotationError(f"{self._path}: line {line}: {problem}")


# Tools round the edges, and some count pixels from 1.
_TOLERANCE_PX = 1.5


def read_voc(path: Path, width_px: int, height_px: int) -> list[Box]:
    """Boxes of one image, whose upright size is given, from a VOC file; a file without objects means no defect.

    Raises:
        AnnotationError: names file and line of what is wrong, such as a box outside the image or another size.
    """
    found = read_voc_file(path)
    if found.width_px and found.height_px and (found.width_px, found.height_px) != (width_px, height_px):
        raise AnnotationError(
            f"{path}: drawn on an image of {found.width_px} x {found.height_px} px, but the upright photo has "
            f"{width_px} x {height_px}; draw the boxes on the photo as it is now"
        )
    boxes = []
    for item in found.objects:
        _check_class_name(item.name, path, item.line)
        left, top, right, bottom = (item.edges[edge] for edge in _EDGES)
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


def format_voc(file_name: str, boxes: Sequence[Box], width_px: int, height_px: int, channels: int) -> str:
    """An annotation file; edges are px from 0, xmax and ymax exclusive, as `sdclient crop` reads them.

    `file_name` has no folders; `channels` is 1 for grey, 3 for colour.
    """
    objects = "".join(
        f"  <object>\n    <name>{escape(box.class_name)}</name>\n    <bndbox>"
        f"<xmin>{box.left:g}</xmin><ymin>{box.top:g}</ymin><xmax>{box.right:g}</xmax><ymax>{box.bottom:g}</ymax>"
        "</bndbox>\n  </object>\n"
        for box in boxes
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<annotation>\n  <filename>{escape(file_name)}</filename>\n"
        f"  <size><width>{width_px}</width><height>{height_px}</height><depth>{channels}</depth></size>\n"
        f"{objects}</annotation>\n"
    )
