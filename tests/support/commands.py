"""How real commands print: wide or narrow, as JSON, and into a pipe that nobody reads."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from sdcore.cli import Output, _PipeWriter

Arguments = Callable[[], list[str]]
"""Gives the arguments of a command, with new folders where it would refuse the former ones."""

_NARROW = 40
_FOLDED_FROM = 16
"""Words of so many columns may be folded in a table."""


def _run(cli: click.Command, arguments: list[str], *, columns: int | None = None) -> str:
    width = {} if columns is None else {"COLUMNS": str(columns)}
    done = CliRunner(env=width).invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def check_narrow(cli: click.Command, arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 40 columns every word of the command's lines and tables is printed; empty columns may be left out."""
    words: set[str] = set()
    line, table = Output.line, Output.table

    def recorded_line(output: Output, text: str = "", **how: Any) -> None:
        words.update(text.split())
        line(output, text, **how)

    def recorded_table(output: Output, heads: Sequence[str], rows: Sequence[Sequence[Any]], **how: Any) -> None:
        cells = [list(map(str, row)) for row in (*rows, *how.get("totals", ()))]
        shown = [head for place, head in enumerate(heads) if any(row[place] for row in cells)]
        words.update(word for text in (*shown, *itertools.chain(*cells)) for word in text.split())
        table(output, heads, rows, **how)

    monkeypatch.setattr(Output, "line", recorded_line)
    monkeypatch.setattr(Output, "table", recorded_table)
    printed = _run(cli, arguments(), columns=_NARROW)
    assert printed
    missing = {word for word in words if (word if cell_len(word) <= _FOLDED_FROM else word[:8]) not in printed}
    assert not missing, f"{missing} not in:\n{printed}"


def check_json(cli: click.Command, arguments: Arguments, *, documents: int = 1) -> None:
    """With --json, stdout is one document, or so many with one a line."""
    printed = _run(cli, [*arguments(), "--json"])
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
