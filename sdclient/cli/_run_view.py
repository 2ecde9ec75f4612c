"""A run as it is shown while it goes on: a bar, and with several servers a table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sdcore.cli import build_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..batch import ServerStatus

SERVER_HEADS = ("server 服务器", "state 状态", "images 图片", "images/s", "queue 排队", "errors 错误")
SERVER_ALIGN = "llrrrr"

_REFRESHES_PER_S = 2


@contextmanager
def watched(
    total: int, servers: int, statuses: Callable[[], Sequence[ServerStatus]], console: Console
) -> Iterator[Callable[[int], object]]:
    """Show how far a run is; gives what to call with the number of images that are there more.

    On a terminal, several servers are shown in a table that is kept up to date; else there is a bar alone.

    Args:
        total: images to make.
        servers: how many there are.
        statuses: tells how the servers are doing at the moment.
        console: where to show it.
    """
    if console.is_terminal and servers > 1:
        with _live_table(total, statuses, console) as made:
            yield made
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="image", desc="generate", dynamic_ncols=True, file=console.file) as bar:
        yield bar.update


def server_rows(statuses: Sequence[ServerStatus]) -> list[tuple[str | Text, ...]]:
    """One row a server: its state, what it made, how fast, what waits at it, how often it failed."""
    from rich.text import Text

    return [
        (
            one.name,
            Text(one.state, style="" if one.state == "working" else "yellow"),
            str(one.made),
            f"{one.images_per_s:.2f}",
            str(one.waiting),
            str(one.errors),
        )
        for one in statuses
    ]


@contextmanager
def _live_table(
    total: int, statuses: Callable[[], Sequence[ServerStatus]], console: Console
) -> Iterator[Callable[[int], object]]:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("generate"),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.2f} images/s, left"),
        TimeRemainingColumn(),
        console=console,
    )
    task = progress.add_task("generate", total=total, rate=0.0)

    def picture() -> Group:
        now = statuses()
        progress.update(task, rate=sum(one.images_per_s for one in now))
        return Group(build_table(SERVER_HEADS, server_rows(now), align=SERVER_ALIGN), progress)

    with Live(get_renderable=picture, console=console, refresh_per_second=_REFRESHES_PER_S, transient=True):
        yield lambda images: progress.advance(task, images)
