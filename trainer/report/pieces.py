"""What tables and sentences of a report are made of, alike for a page and for Markdown; pure.

Each piece is text with `str` and markup, escaped, where a page takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sdcore.messages import Language, Message

from ..messages import metric_names, text
from ..words_reports import WORDS


@dataclass(frozen=True)
class Figure:
    """A number with its place in the report's JSON block."""

    pointer: str
    """JSON pointer (RFC 6901)."""
    value: float | int | None
    """Unrounded; None where undefined."""
    text: str
    """As it is shown."""

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        exact = "" if self.value is None else repr(self.value)
        return Markup('<span data-metric="{}" data-value="{}">{}</span>').format(self.pointer, exact, self.text)


@dataclass(frozen=True)
class Verbatim:
    """A name, a formula or a command: it stays as it is in every language."""

    text: str
    kind: str = ""
    """A class of the style sheet, as "formula"."""

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        if not self.kind:
            return Markup('<span translate="no">{}</span>').format(self.text)
        return Markup('<span class="{}" translate="no">{}</span>').format(self.kind, self.text)


@dataclass(frozen=True)
class ArmName:
    """An arm with its letter, and its colour where there are colours."""

    place: int
    """From 0: which of the page's colours."""
    name: str

    @property
    def letter(self) -> str:
        """A for the first arm, and so on; after Z, the number."""
        return chr(ord("A") + self.place) if self.place < 26 else str(self.place + 1)

    @property
    def colour(self) -> int:
        """Which of the page's colours; they come round again."""
        return self.place % COLOURS

    def __str__(self) -> str:
        return f"{self.letter} {self.name}"

    def __html__(self) -> str:
        return Markup('<span class="arm arm-{}" translate="no">{}</span>').format(self.colour, str(self))


@dataclass(frozen=True)
class Gloss:
    """The Chinese term beside an English one."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return Markup('<span lang="zh">{}</span>').format(self.text) if self.text else ""


Piece = str | Figure | Verbatim | ArmName | Gloss

COLOURS = 8
"""Colours of arms that the style sheet has."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    main: tuple[Piece, ...] = ()
    sub: tuple[Piece, ...] = ()
    """A second line, smaller."""
    is_number: bool = False
    is_head: bool = False
    columns: int = 1
    rows: int = 1
    divides: bool = False
    """A line stands at its left."""
    tint: str = ""
    """"right" or "wrong": what its background says."""
    strength: float = 0.0
    """Of the background, in [0, 1]."""

    @property
    def words(self) -> str:
        """Main line and, in brackets, the second one."""
        main, sub = ("".join(map(str, pieces)).strip() for pieces in (self.main, self.sub))
        return f"{main} ({sub})" if main and sub else main or sub


@dataclass(frozen=True)
class Row:
    """One row of a table's body."""

    cells: tuple[Cell, ...]
    mark: str = ""
    """"all" for a sum, "differs" where the columns do not agree."""


@dataclass(frozen=True)
class Table:
    """A table for a page or for Markdown."""

    identity: str
    head: tuple[tuple[Cell, ...], ...]
    """One row, or two whose cells span."""
    body: tuple[Row, ...]
    kind: str = ""
    """A class of the style sheet, as "confusion"."""


def head(*main: Piece, sub: Sequence[Piece] = (), number: bool = False, columns: int = 1, rows: int = 1) -> Cell:
    """A cell of a table's head."""
    return Cell(main, tuple(sub), is_number=number, is_head=True, columns=columns, rows=rows)


def row_head(*main: Piece, sub: Sequence[Piece] = ()) -> Cell:
    """The first cell of a row, which names it."""
    return Cell(main, tuple(sub), is_head=True)


def number(*main: Piece, sub: Sequence[Piece] = (), divides: bool = False) -> Cell:
    """A cell that holds figures."""
    return Cell(main, tuple(sub), is_number=True, divides=divides)


def pointer_part(name: str) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


class ReportWords:
    """The words of a report in one language.

    Args:
        language: "en", where terms have their Chinese beside them, or "zh".
        markup: whether values are put in as markup, escaped (a page), or as text (Markdown).
    """

    def __init__(self, language: Language = "en", *, markup: bool = True) -> None:
        self.language = language
        self._write = WORDS.markup if markup else WORDS.text

    def __call__(self, key: str, **values: object) -> str:
        """The words under a key, with the values that they name.

        Raises:
            KeyError: no such key, or a value that the words name is missing.
        """
        return self._write(Message(key, values), self.language)

    def gloss(self, key: str) -> Gloss:
        """The Chinese of a term, where the page is not Chinese already."""
        return Gloss(WORDS[key].zh if self.language == "en" else "")

    def term(self, english: str, chinese: str) -> tuple[str, Gloss]:
        """A term that another part names in both languages, and its gloss."""
        return (english, Gloss(chinese)) if self.language == "en" else (chinese, Gloss(""))

    def metric(self, metric: str) -> tuple[str, Gloss]:
        """What a compared metric is called, and its gloss."""
        return self.term(*metric_names(metric))

    def sentence(self, message: Message | str) -> str:
        """A finding in words; a text, as of the user's own notes, stays as it is."""
        return message if isinstance(message, str) else text(message, self.language)

    def several(self, key: str, count: int, **values: object) -> str:
        """The words for one, or for another number of things: `key_one` or `key_many`, with `count`."""
        return self(f"{key}_one" if count == 1 else f"{key}_many", count=count, **values)
