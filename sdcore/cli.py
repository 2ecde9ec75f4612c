"""What the three commands share: error lines, number types, pages in the browser, and the output of results.

A command passes its result to an `Output`. With `--json` the output prints only documents, otherwise only lines and
tables, so no command checks which of the two is wanted. This module imports only click at its top, so that `--help`
stays instant.
"""

from __future__ import annotations

import errno
import io
import json as json_format
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from .errors import MissingExtra, SDError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C stopped."""

PATH = click.Path(path_type=Path)
"""Type of an option or argument that names a file or folder, existing or not."""

_PIPED_WIDTH = 200
_CELL_FRAME = 3
_NARROWEST_TEXT = 16
"""Columns of text are folded down to this width; a table that is wider still is shown as a list."""


class CommandGroup(click.Group):
    """A group whose commands end with one line on stderr and exit code 1 instead of a traceback.

    A missing module of `extra_modules` is reported as a missing `extra`. `error_text` gives the text for an error; None
    where another process prints it.
    """

    def __init__(
        self,
        *args: Any,
        extra: str = "",
        extra_modules: frozenset[str] = frozenset(),
        error_text: Callable[[SDError], str | None] = str,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self._extra, self._extra_modules, self._error_text = extra, extra_modules, error_text

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn an expected error into one line."""
        try:
            return super().invoke(ctx)
        except SDError as error:
            text = self._error_text(error)
            if text is None:
                ctx.exit(1)
            raise click.ClickException(text) from error
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in self._extra_modules:
                raise click.ClickException(str(MissingExtra(f"this command ({error.name})", self._extra))) from error
            raise
        except OSError as error:
            raise click.ClickException(describe_os_error(error)) from error


def describe_os_error(error: OSError) -> str:
    """What an operating-system error means for the user, in one line."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full; free some space and run the same command again; what was saved is still there"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}{error.strerror}; choose another folder or change its rights"
    return f"{where}{error.strerror or error}"


def use_utf8() -> None:
    """Prepare stdout and stderr of a console script for pipes and files.

    They get UTF-8, whatever the system's code page, because class names may be Chinese. When the reader of a pipe has
    gone (`| head -1`), the rest of the output is dropped and the command finishes its work.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
            continue
        if stream is getattr(sys, f"__{name}__"):
            stream.flush()
            buffer = io.BufferedWriter(_PipeWriter(stream.fileno(), "wb", closefd=False))
            options: dict[str, Any] = {"errors": stream.errors, "line_buffering": stream.line_buffering}
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8", **options))
        else:
            stream.reconfigure(encoding="utf-8")


class _PipeWriter(io.FileIO):
    """A file descriptor that leads to the null device once the reader of the pipe has gone.

    Ignoring the error here covers everything that prints: our own lines, progress bars, warnings, and the flush when
    the interpreter ends. Setting SIGPIPE to its default is no alternative: it would also end the process when a
    server closes a connection.
    """

    reader_is_gone = False

    def write(self, data: Any, /) -> int:
        """Write; after the reader has gone, everything is dropped."""
        try:
            return super().write(data)
        except OSError as error:
            # Windows reports a closed pipe as EINVAL.
            if error.errno != errno.EPIPE and not (sys.platform == "win32" and error.errno == errno.EINVAL):
                raise
        self.reader_is_gone = True
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        return len(data)


class _ReaderIsGone(Exception):
    """Nobody reads the standard output any more."""


class _PipedRows(io.TextIOBase):
    """The standard output, for writers of many rows: writing ends when the reader of the pipe has gone."""

    def write(self, text: str, /) -> int:
        """Write the text to the standard output."""
        raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
        if isinstance(raw, _PipeWriter) and raw.reader_is_gone:
            raise _ReaderIsGone
        return sys.stdout.write(text)


class Output:
    """Where a command prints its results: words and tables for people, or with `json` documents for scripts."""

    def __init__(self, *, json: bool = False) -> None:
        self._json = json

    def document(self, content: Any, *, one_line: bool = False) -> None:
        """Print a JSON document; without `--json` nothing. `content` may be a function, called only with `--json`.

        `one_line` is for a command that prints several documents, one a line.
        """
        if self._json:
            found = content() if callable(content) else content
            click.echo(json_format.dumps(found, ensure_ascii=False, indent=None if one_line else 2))

    def line(self, text: str = "", *, bold: bool = False, always: bool = False) -> None:
        """Print one line or several for people; with `--json` nothing, or on stderr with `always`."""
        if not self._json or always:
            click.echo(click.style(text, bold=True) if bold else text, err=self._json)

    def note(self, text: str, *, always: bool = True) -> None:
        """Print one line or several on stderr; with `always=False` not with `--json`, whose document holds it."""
        if not self._json or always:
            click.echo(text, err=True)

    def table(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str | Text]],
        *,
        totals: Sequence[Sequence[str | Text]] = (),
        align: str = "",
        title: str = "",
    ) -> None:
        """Print a table for people; with `--json` nothing. A table that is too wide is shown as a list of its rows.

        Heads may have several lines; lines after a cell's first one are dim; `totals` are rows below a gap. `align` has
        a letter a column, l or r; by default the first column is left and all others are right.
        """
        if self._json:
            return
        from rich.console import Console

        # A pipe gets so many columns that no cell is folded; None is the terminal's own width.
        is_wide = not os.environ.get("COLUMNS", "").isdigit() and not sys.stdout.isatty()
        console = Console(width=_PIPED_WIDTH if is_wide else None, highlight=False)
        align = align or _usual_align(heads)
        if _narrowest(heads, [*rows, *totals], align) <= console.width:
            console.print(build_table(heads, rows, totals=totals, align=align, title=title))
            return
        click.echo("\n".join([*([title] if title else []), *_as_list(heads, [*rows, *totals])]))

    @contextmanager
    def rows(self) -> Iterator[TextIO]:
        """The standard output for a writer of many rows; it ends early when the reader of the pipe has gone."""
        try:
            yield cast("TextIO", _PipedRows())
        except _ReaderIsGone:
            return


def progress_console() -> Console:
    """Where the progress of a command is shown: stderr."""
    from rich.console import Console

    return Console(stderr=True)


def build_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    totals: Sequence[Sequence[str | Text]] = (),
    align: str = "",
    title: str = "",
) -> Table:
    """A table in the one style of all commands, see `Output.table`; text is never cut, only folded."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title_justify="left")
    table.title = Text(title) if title else None
    for head, letter in zip(heads, align or _usual_align(heads), strict=True):
        is_number = letter == "r"
        table.add_column(Text(head), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for number, row in enumerate([*rows, *totals]):
        if number == len(rows):
            table.add_section()
        table.add_row(*(_cell(cell) for cell in row))
    return table


def _cell(cell: str | Text) -> Text:
    from rich.text import Text

    if isinstance(cell, Text):
        return cell
    first, newline, details = cell.partition("\n")
    return Text(first) + Text(newline + details, style="dim")


def _usual_align(heads: Sequence[str]) -> str:
    return "l" + "r" * (len(heads) - 1)


def _narrowest(heads: Sequence[str], rows: Sequence[Sequence[str | Text]], align: str) -> int:
    """Columns of a terminal in which no number is folded, and no word before 16 columns."""
    from rich.cells import cell_len

    width = 1
    for place, letter in enumerate(align):
        lines = [line for cell in (heads[place], *(row[place] for row in rows)) for line in str(cell).split("\n")]
        if letter == "r":
            width += max(map(cell_len, lines)) + _CELL_FRAME
        else:
            longest_word = max((cell_len(word) for line in lines for word in line.split()), default=0)
            width += min(longest_word, _NARROWEST_TEXT) + _CELL_FRAME
    return width


def _as_list(heads: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Iterator[str]:
    """Lines "head: cell"; a row begins at the margin, and empty cells are left out."""
    for row in rows:
        indent = ""
        for head, cell in zip(heads, row, strict=True):
            first, *more = str(cell).split("\n")
            if str(cell):
                name = " ".join(head.split("\n"))
                yield f"{indent}{name}: {first}" if name else f"{indent}{first}"
                yield from (f"{indent}  {line}" for line in more)
            indent = "  "


def open_page(output: Output, command: str, *, open_browser: bool) -> Callable[[str], None]:
    """A function to call with a page's address once it answers; it prints the address that `command` serves."""

    def announce(url: str) -> None:
        import webbrowser

        output.document({"url": url}, one_line=True)
        output.line(f"{command}: {url}\nStop it with Ctrl-C.")
        if open_browser:
            # In a thread, because a browser may start slowly and the page is served meanwhile.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    return announce


class FiniteRange(click.FloatRange):
    """A float range that takes neither "nan" nor "inf", which compare as within any bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class NumberPair(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    """LOW:HIGH, or one number for both."""

    name = "LOW:HIGH"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The two numbers, or a usage error."""
        low, colon, high = str(value).partition(":")
        try:
            return self._kind(low), self._kind(high if colon else low)
        except ValueError:
            self.fail(f"{value!r}; expected LOW:HIGH or one number, as {param.default if param else '1:2'}", param, ctx)
