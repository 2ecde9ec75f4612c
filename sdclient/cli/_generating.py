"""A run from the command line: shown while it goes on, stopped by Ctrl-C, summed up at the end."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sdcore.cli import INTERRUPTED, Output

if TYPE_CHECKING:
    from ..batch import BatchRunner, RunSpec, RunStart
    from ..batch.mask_files import SourceMasks
    from ..sources import Source


def warn_of_sources(
    spec: RunSpec, owed: Sequence[tuple[Source, int]], servers_native_px: int, masks: SourceMasks | None
) -> None:
    """Say which sources are larger than what the model makes, and what is odd about masks."""
    from ..sources import oversized, oversized_warning

    chosen = spec.common["native_px"]
    native_px = chosen if isinstance(chosen, int) else servers_native_px
    # Of a source whose masked area alone is repainted, nothing is shrunk but that.
    shrunk = [source for source, _ in owed if masks is None or masks.sha256_of(source) is None]
    if masks is not None and spec.common["inpaint_area"] == "whole":
        shrunk = [source for source, _ in owed]
    warning = oversized_warning(oversized(shrunk, native_px), native_px)
    if warning:
        Output().note(f"Warning: {warning}")
    if masks is not None:
        warn_of_masks(masks)


def warn_of_masks(masks: SourceMasks) -> None:
    """Say which sources have no mask, and which one that is none to speak of."""
    if masks.without:
        Output().note(f"Without a mask: {_some(masks.without)}")
    if masks.covering_all:
        Output().note(
            f"Warning: masks that are nowhere black keep nothing of their source: {_some(masks.covering_all)}"
        )


def _some(names: Sequence[str]) -> str:
    """How many, and the first of them."""
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def make_all(
    runner: BatchRunner, servers: int, spec: RunSpec, owed: Sequence[tuple[Source, int]], output: Path
) -> dict[str, Any]:
    """Run while it is shown; gives the summary.

    Raises:
        Exit: stopped by Ctrl-C, with code 130.
    """
    from rich.console import Console

    from ._run_view import watched

    planned = missing = made = 0
    engines: set[str] = set()
    view = ExitStack()
    image_made: Callable[[int], object] | None = None

    def start(run: RunStart) -> None:
        nonlocal planned, missing, image_made
        planned, missing = run.planned, run.missing
        warn_of_sources(spec, owed, run.native_px, run.masks)
        image_made = view.enter_context(watched(missing, servers, runner.statuses, Console(stderr=True)))

    with stopped_by_interrupt(runner), view:
        for record in runner.run(owed, on_start=start):
            made += 1
            engines.add(record.engine)
            if image_made is not None:
                image_made(1)
    if runner.stopped.is_set():
        end_stopped(f"what was made is kept in {output}, {missing - made} images or fewer are left")
    failures = _failures(output)
    failed = sum(failures.values())
    failed_before = failed - len(runner.failed)
    return {
        "output": str(output),
        "planned": planned,
        "already_there": planned - missing - failed_before,
        "made": made,
        "failed": failed,
        "failures": [
            {"class": name, "reason": reason, "images": count} for (name, reason), count in sorted(failures.items())
        ],
        "engines": sorted(engines),
    }


@contextmanager
def stopped_by_interrupt(runner: BatchRunner) -> Iterator[None]:
    """The first Ctrl-C finishes the jobs in hand; the second interrupts ours at the servers."""

    def interrupted(*_: object) -> None:
        # In threads: what the signal broke into may be in the middle of a line, or of a request.
        first = not runner.stopped.is_set()
        threading.Thread(target=_announce_stop if first else runner.interrupt_jobs, daemon=True).start()
        runner.stop()

    former = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def end_stopped(what: str) -> NoReturn:
    """Say that a run was stopped, and what is kept; end with code 130."""
    Output().note(f"Stopped; {what}. Run the same command again to go on.")
    raise click.exceptions.Exit(INTERRUPTED)


def _announce_stop() -> None:
    Output().note("\nFinishing the jobs in hand; press Ctrl-C again to interrupt them at the server.")


def _failures(output: Path) -> Counter[tuple[str, str]]:
    """Images that were given up, in this run or before, by class and reason."""
    from ..manifest import Manifest
    from ..manifest_progress import count_failures

    with Manifest(output) as manifest:
        return count_failures(manifest)


def show_summary(out: Output, summary: dict[str, Any], runner: BatchRunner) -> None:
    """The summary in words, with a table of the servers where there are several and one of what failed."""
    if summary["planned"] == 0:
        out.line("The plan owes no images; nothing to do.")
        return
    from ._run_view import SERVER_ALIGN, SERVER_HEADS, server_rows

    statuses = runner.statuses()
    if len(statuses) > 1:
        out.table(SERVER_HEADS, server_rows(statuses), align=SERVER_ALIGN)
    if summary["failures"]:
        rows = [(row["class"], str(row["images"]), row["reason"]) for row in summary["failures"]]
        out.table(("class 类别", "failed 失败", "reason 原因"), rows, align="lrl")
    out.line(
        f"{summary['made']} images made, {summary['already_there']} were there already, "
        f"{summary['planned']} planned, {summary['failed']} failed, in {summary['output']}"
    )
    for engine in summary["engines"]:
        out.line(f"Engine: {engine}")
