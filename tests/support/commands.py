"""How real commands print: wide or narrow, as JSON, and into a pipe that nobody reads."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from sdcore.cli import _PipeWriter

Arguments = Callable[[], list[str]]
"""Gives the arguments of a command that can be run again and prints the same each time."""

_NARROW = 40
_FOLDED_FROM = 16
"""Words of so many columns may be folded in a table."""


def _printed(cli: click.Command, arguments: list[str], *, columns: int | None = None) -> str:
    width = {} if columns is None else {"COLUMNS": str(columns)}
    done = CliRunner(env=width).invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def _words(text: str) -> set[str]:
    return {word for word in text.translate({ord(line): " " for line in "│┃━┏┳┓┡╇┩├┼┤─└┴┘"}).split() if word != ":"}


def check_narrow(cli: click.Command, arguments: Arguments) -> None:
    """In 40 columns no word is lost; words that two runs do not share, such as times, are not compared."""
    words = _words(_printed(cli, arguments())) & _words(_printed(cli, arguments()))
    assert words
    narrow = _printed(cli, arguments(), columns=_NARROW)
    missing = {word for word in words if (word if cell_len(word) <= _FOLDED_FROM else word[:8]) not in narrow}
    assert not missing, f"{missing} not in:\n{narrow}"


def check_json(cli: click.Command, arguments: Arguments, *, documents: int = 1) -> None:
    """With --json, stdout is one document, or so many with one a line."""
    printed = _printed(cli, [*arguments(), "--json"])
    parts = [printed] if documents == 1 else printed.splitlines()
    found: list[Any] = [json.loads(part) for part in parts]
    assert len(found) == documents


def check_closed_pipe(cli: click.Command, arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> None:
    """The command finishes its work with exit code 0, and stderr says nothing of the pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    pipe = _PipeWriter(writing, "wb")
    former, sys.stdout = sys.stdout, io.TextIOWrapper(io.BufferedWriter(pipe), encoding="utf-8")
    try:
        with pytest.raises(SystemExit) as end:
            cli.main(arguments(), prog_name="program")
        sys.stdout.close()
    finally:
        sys.stdout = former
    assert end.value.code == 0
    assert pipe.reader_is_gone
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert "ipe" not in errors


def takes_json(cli: click.Group) -> set[str]:
    """The commands with an option --json."""
    return {name for name, one in cli.commands.items() if any("--json" in param.opts for param in one.params)}
