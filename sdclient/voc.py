"""Read Pascal VOC annotation files, with the line of every mistake."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from .errors import AnnotationError

_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]+)["']""")
_EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class VocObject:
    """One `<object>` as it stands in the file; edges in pixels."""

    line: int
    name: str = ""
    edges: dict[str, float] = field(default_factory=dict)


@dataclass
class VocFile:
    """What an annotation file says of its picture; width and height are 0 where it does not say."""

    objects: list[VocObject] = field(default_factory=list)
    width_px: int = 0
    height_px: int = 0


def read_voc_file(path: Path) -> VocFile:
    """Parse an annotation file; whether the boxes fit the picture is not looked at.

    Raises:
        AnnotationError: unreadable, not VOC, or an object without a name or a whole box; names file and line.
    """
    return _Reader(path).read()


class _Reader:
    """Follows the elements of one file; the standard tree parsers do not tell lines."""

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
