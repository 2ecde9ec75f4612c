"""A run on a terminal with several servers shows how each of them is doing."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console

from sdclient.batch import ServerStatus
from sdclient.cli._run_view import server_rows, watched

STATUSES = [
    ServerStatus("fast", "working", 12, 2.5, 2, 0),
    ServerStatus("slow [b]", "away: refused the connection", 3, 0.75, 0, 4),
]


def screen() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_server_has_a_row_with_its_rate_queue_errors_and_state() -> None:
    rows = [[str(cell) for cell in row] for row in server_rows(STATUSES)]
    assert ["fast", "working", "12", "2.50", "2", "0"] in rows
    assert ["slow [b]", "away: refused the connection", "3", "0.75", "0", "4"] in rows


def test_the_table_on_a_terminal_is_asked_for_anew_while_images_come() -> None:
    console, asked = screen(), 0

    def statuses() -> Sequence[ServerStatus]:
        nonlocal asked
        asked += 1
        return [ServerStatus("one", "working", asked, 1.0, 1, 0), STATUSES[0]]

    with watched(2, 2, statuses, console) as made:
        made(1)
        made(1)
    assert asked >= 2
    assert "2/2" in text_of(console)
    assert "queue 排队" in text_of(console)


def test_one_server_has_a_bar_alone() -> None:
    console = screen()
    with watched(3, 1, lambda: STATUSES[:1], console) as made:
        made(1)
    assert "1/3" in text_of(console)
    assert "queue" not in text_of(console)


def test_what_is_piped_gets_a_bar_and_no_table() -> None:
    console = Console(file=io.StringIO(), width=120)
    with watched(3, 2, lambda: STATUSES, console) as made:
        made(1)
    assert "1/3" in text_of(console)
    assert "queue" not in text_of(console)
