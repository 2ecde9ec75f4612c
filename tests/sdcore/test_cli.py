"""The command line that the three commands share: error lines, the output sink, narrow terminals and closed pipes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from rich.text import Text

from sdcore.cli import CommandGroup, FiniteRange, NumberPair, Output
from sdcore.errors import SDError

HEADS = ["class 类别", "done\n完成", "reason 原因"]
ROWS = [
    ["movable foreign matter 可移动异物", "12\nof 13", "server http://gpu-pc:7860 was away for a long time"],
    ["短路", "1000000", ""],
]
TOTALS = [["all 全部", "1000012", ""]]


def fails_with(error: Exception, **attributes: Any) -> Result:
    group = CommandGroup("program", **attributes)

    @group.command()
    def work() -> None:
        raise error

    return CliRunner().invoke(group, ["work"])


def test_an_expected_error_is_one_line_and_exit_code_1() -> None:
    result = fails_with(SDError("photos: no such folder"))
    assert (result.exit_code, result.stderr) == (1, "Error: photos: no such folder\n")


def test_an_unexpected_error_keeps_its_traceback() -> None:
    error = KeyError("a bug")
    assert fails_with(error).exception is error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "m/state"), "m/state: the disk is full; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "out: Permission denied; choose another folder"),
        (OSError("something else"), "something else"),
    ],
)
def test_an_error_of_the_operating_system_says_what_to_do(error: OSError, words: str) -> None:
    result = fails_with(error)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_missing_module_of_an_extra_names_the_extra() -> None:
    error = ModuleNotFoundError("No module named 'torch'", name="torch.nn")
    result = fails_with(error, extra="train", extra_modules=frozenset({"torch"}))
    assert result.exit_code == 1
    assert 'pip install "sd-defects[train]"' in result.stderr
    assert fails_with(error).exception is error


def test_an_error_that_another_process_prints_ends_without_a_word() -> None:
    result = fails_with(SDError("said elsewhere"), error_text=lambda error: None)
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize("value", ["nan", "inf", "2"])
def test_a_range_takes_finite_numbers_within_it_alone(value: str) -> None:
    with pytest.raises(click.BadParameter):
        FiniteRange(0, 1).convert(value, None, None)
    assert FiniteRange(0, 1).convert("0.5", None, None) == 0.5


def test_a_pair_of_numbers_may_be_one_number() -> None:
    assert NumberPair(float).convert("0.9:1.1", None, None) == (0.9, 1.1)
    assert NumberPair(int).convert("2", None, None) == (2, 2)
    with pytest.raises(click.BadParameter, match="LOW:HIGH"):
        NumberPair(int).convert("a:b", None, None)


def tell(output: Output) -> None:
    output.document(lambda: {"类": 1})
    output.line("for people")
    output.line("drawn: curve.png", always=True)
    output.table(HEADS, ROWS)
    output.note("Warning: on stderr")
    output.note("it is in the document", always=False)


def test_with_json_the_document_alone_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Output(json=True))
    out, err = capsys.readouterr()
    assert out == '{\n  "类": 1\n}\n'
    assert err == "drawn: curve.png\nWarning: on stderr\n"


def test_without_json_there_is_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Output())
    out, err = capsys.readouterr()
    assert out.startswith("for people\ndrawn: curve.png\n")
    assert "短路" in out
    assert "{" not in out
    assert err == "Warning: on stderr\nit is in the document\n"


def test_a_document_that_is_not_wanted_is_not_made() -> None:
    Output().document(lambda: pytest.fail("was made"))


def test_documents_of_one_line_can_be_read_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(json=True)
    output.document({"url": "u"}, one_line=True)
    output.document({"drawn": 2}, one_line=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"url": "u"}, {"drawn": 2}]


def words(heads: list[str], *parts: list[list[str]]) -> Iterator[str]:
    for cells in (heads, *(row for rows in parts for row in rows)):
        for cell in cells:
            yield from cell.split()


@pytest.mark.parametrize("columns", [1, 20, 40, 60, 80, 200])
def test_a_table_of_any_width_shows_every_word(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Output().table(HEADS, ROWS, totals=TOTALS, title="output: images")
    shown = capsys.readouterr().out
    assert "output: images" in shown
    for word in words(HEADS, ROWS, TOTALS):
        assert word in shown


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_table_keeps_within_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Output().table(HEADS, ROWS, totals=TOTALS, align="lrl")
    assert max(cell_len(line) for line in capsys.readouterr().out.splitlines()) <= columns


def test_a_table_that_is_too_wide_is_a_list_of_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    Output().table(["class", "done\n完成", "why"], [["dirt", "12\nof 13", ""], ["a" * 30, "1000000", Text("late")]])
    assert capsys.readouterr().out.splitlines() == [
        "class: dirt",
        "  done 完成: 12",
        "    of 13",
        f"class: {'a' * 30}",
        "  done 完成: 1000000",
        "  why: late",
    ]


def test_brackets_in_a_cell_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(["class"], [["[bold]x[/bold] [/y]"]])
    assert "[bold]x[/bold] [/y]" in capsys.readouterr().out


def piped_into_head(code: str, *, read: int) -> tuple[int, str, bytes]:
    """Run a program whose reader leaves after some bytes; gives its exit code, its stderr and what was read."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    taken = process.stdout.read(read)
    process.stdout.close()
    with process.stderr:
        errors = process.stderr.read().decode()
    return process.wait(), errors, taken


PROGRAM = """
import sys
import click
from sdcore.cli import CommandGroup, Output, use_utf8
group = CommandGroup("program")
@group.command()
def work():
    output = Output()
    {body}
    output.note("the work is done")
use_utf8()
sys.argv = ["program", "work"]
group()
"""


@pytest.mark.parametrize(
    "body",
    [
        "[output.line('x' * 100) for _ in range(10000)]",
        "[output.table(['a', 'b'], [['x' * 100, 'y']] * 100) for _ in range(20)]",
        "[click.echo('x' * 100) for _ in range(10000)]",
        "print('x' * 1000000)",
    ],
)
def test_a_command_whose_reader_has_gone_finishes_its_work_in_silence(body: str) -> None:
    code, errors, taken = piped_into_head(PROGRAM.format(body=body), read=10)
    assert (code, errors, len(taken)) == (0, "the work is done\n", 10)


def test_a_writer_of_many_rows_ends_when_its_reader_has_gone() -> None:
    body = "\n    ".join(
        ["import itertools", "with output.rows() as rows:", "    [rows.write('x\\n') for _ in itertools.count()]"]
    )
    assert piped_into_head(PROGRAM.format(body=body), read=10)[:2] == (0, "the work is done\n")


def test_a_closed_stderr_ends_nothing() -> None:
    body = "[output.note('x' * 100) for _ in range(10000)]\n    output.line('done')"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    assert process.communicate()[0] == b"done\n"
    assert process.returncode == 0


def test_chinese_goes_into_a_pipe_whatever_the_locale() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body="output.line('短路')")],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.decode() == "短路\n"
