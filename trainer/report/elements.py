"""What tables and sentences of a report are made of, and how they become a page or Markdown.

Each piece is plain text by `str`, and escaped markup by `__html__` where a page takes it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from jinja2 import Environment
from markupsafe import Markup

from sdcore.messages import Language, Message
from sdcore.pages import template_environment

from ..errors import SettingsError
from ..evaluation.verdict import HELPED, HURT, MIXED, NO_DIFFERENCE
from ..messages import metric_names, percent, text
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
        """Which of the page's colours; after the last, the first again."""
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


COLOURS = 8
"""Colours of arms that the style sheet has."""


Piece = str | Figure | Verbatim | ArmName | Gloss


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


def head_cell(*main: Piece, sub: Sequence[Piece] = (), number: bool = False, columns: int = 1, rows: int = 1) -> Cell:
    """A cell of a table's head."""
    return Cell(main, tuple(sub), is_number=number, is_head=True, columns=columns, rows=rows)


def number_cell(*main: Piece, sub: Sequence[Piece] = (), divides: bool = False) -> Cell:
    """A cell that holds figures."""
    return Cell(main, tuple(sub), is_number=True, divides=divides)


@dataclass(frozen=True)
class Table:
    """A table for a page or for Markdown."""

    identity: str
    head: tuple[tuple[Cell, ...], ...]
    """One row, or two whose cells span."""
    body: tuple[Row, ...]
    kind: str = ""
    """A class of the style sheet, as "confusion"."""


def row_head_cell(*main: Piece, sub: Sequence[Piece] = ()) -> Cell:
    """The first cell of a row, which names it."""
    return Cell(main, tuple(sub), is_head=True)


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
        """The words for `count` things: `key_one` for one, else `key_many`."""
        return self(f"{key}_one" if count == 1 else f"{key}_many", count=count, **values)


_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$])")


def as_line(words: object) -> str:
    """Text on one line, with every character escaped that Markdown would read as markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(words).split()))


def as_table(table: Table) -> str:
    """A table in Markdown; a head of two rows becomes one, the upper words first."""
    body = [[as_line(cell.words) for cell in _spread_out(row.cells)] for row in table.body]
    aligned = _spread_out(table.body[0].cells) if table.body else []
    names = _head(table.head)
    rules = ["---:" if cell.is_number else "---" for cell in aligned] or ["---"] * len(names)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rules, *body))


def _head(rows: Sequence[Sequence[Cell]]) -> list[str]:
    upper = [cell for cell in rows[0] for _ in range(cell.columns)]
    if len(rows) == 1:
        return [as_line(cell.words) for cell in upper]
    below = iter(rows[1])
    return [as_line(cell.words if cell.rows > 1 else f"{cell.words} {next(below).words}") for cell in upper]


def _spread_out(cells: Sequence[Cell]) -> list[Cell]:
    """A cell for every column: empty cells follow one that spans several."""
    spread = []
    for cell in cells:
        spread.append(cell)
        spread += [Cell() for _ in range(cell.columns - 1)]
    return spread


TONES = {HELPED: "good", HURT: "bad", MIXED: "mixed", NO_DIFFERENCE: "none"}
"""What colour a verdict has."""


def render_page(template: str, words: ReportWords, **context: Any) -> str:
    """A page of HTML."""
    return _environment(markup=True).get_template(template).render(words=words, **context)


def render_markdown(template: str, words: ReportWords, **context: Any) -> str:
    """A Markdown file without two empty lines in a row."""
    text = _environment(markup=False).get_template(template).render(words=words, **context)
    lines = [line.rstrip() for line in text.strip().splitlines()]
    kept = [line for place, line in enumerate(lines) if line or (place and lines[place - 1])]
    return "\n".join(kept) + "\n"


@lru_cache(maxsize=2)
def _environment(*, markup: bool) -> Environment:
    environment = template_environment(Path(__file__).parent / "templates", is_markup=markup)
    environment.globals.update(tones=TONES, piece=_piece, verbatim=Verbatim)
    environment.filters.update(percent=percent, md=as_line, md_table=as_table)
    return environment


def _piece(pointer: str, value: float, text: object) -> Figure:
    """A figure that a template puts into its words."""
    return Figure(pointer, value, str(text))


Format = Literal["html", "md", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)

_ENDINGS: dict[str, Format] = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".json": "json"}


def choose_format(path: Path, asked: Format | None = None) -> Format:
    """The format that was asked for, or the one of the file's ending.

    Raises:
        SettingsError: the two contradict each other, or neither says anything.
    """
    found = _ENDINGS.get(path.suffix.lower())
    if asked is None:
        if found is None:
            raise SettingsError(
                f"{path}: found the ending {path.suffix or 'none'}; expected {', '.join(_ENDINGS)}, or --format with "
                f"one of {', '.join(FORMATS)}"
            )
        return found
    if found is not None and found != asked:
        raise SettingsError(
            f"{path}: its ending says {found}, but --format says {asked}; name the file .{asked}, or leave out --format"
        )
    return asked
