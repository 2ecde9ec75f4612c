"""Shows a run of `sdclient generate` while it works, stops it on Ctrl-C, and sums it up.

The first part serves every run, the second a run with --until-accepted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sdcore.cli import INTERRUPTED, Output, build_table, progress_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..batch.run_file import RunSpec
    from ..batch.runner import BatchRunner, RunStart
    from ..batch.servers import ServerStatus
    from ..batch.until_accepted import AcceptanceLoop
    from ..masks.mask import SourceMasks
    from ..sources.source import Source

SERVER_HEADS = ("server 服务器", "state 状态", "images 图片", "images/s", "queue 排队", "errors 错误")
SERVER_ALIGN = "llrrrr"

_REFRESHES_PER_S = 2


@contextmanager
def watched(
    total: int, servers: int, statuses: Callable[[], Sequence[ServerStatus]], console: Console
) -> Iterator[Callable[[int], object]]:
    """Show the progress of a run; gives a function to call with the number of new images.

    On a terminal, several servers are shown in a live table; otherwise there is only a bar.
    """
    if console.is_terminal and servers > 1:
        with _live_table(total, statuses, console) as made:
            yield made
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="image", desc="generate", dynamic_ncols=True, file=console.file) as bar:
        yield bar.update


def server_rows(statuses: Sequence[ServerStatus]) -> list[tuple[str | Text, ...]]:
    """One row for each server, in the order of `SERVER_HEADS`."""
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
    from rich import progress
    from rich.console import Group
    from rich.live import Live

    bar = progress.Progress(
        progress.TextColumn("generate"),
        progress.BarColumn(),
        progress.TaskProgressColumn(show_speed=False),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]:.2f} images/s, left"),
        progress.TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task("generate", total=total, rate=0.0)

    def render() -> Group:
        now = statuses()
        bar.update(task, rate=sum(one.images_per_s for one in now))
        return Group(build_table(SERVER_HEADS, server_rows(now), align=SERVER_ALIGN), bar)

    with Live(get_renderable=render, console=console, refresh_per_second=_REFRESHES_PER_S, transient=True):
        yield lambda images: bar.advance(task, images)


def warn_of_sources(
    spec: RunSpec, owed: Sequence[tuple[Source, int]], servers_native_px: int, masks: SourceMasks | None
) -> None:
    """Warn of sources that are larger than what the model makes, and of unusual masks."""
    from ..sources.source import oversized, oversized_warning

    chosen = spec.common["native_px"]
    native_px = chosen if isinstance(chosen, int) else servers_native_px
    # Where only the masked area is repainted, the source itself is not shrunk to the model's size.
    all_shrunk = masks is None or spec.common["inpaint_area"] == "whole"
    shrunk = [source for source, _ in owed if masks is None or all_shrunk or masks.sha256_of(source) is None]
    warning = oversized_warning(oversized(shrunk, native_px), native_px)
    if warning:
        Output().note(f"Warning: {warning}")
    if masks is not None:
        warn_of_masks(masks)


def warn_of_masks(masks: SourceMasks) -> None:
    """Name the sources without a mask, and the masks that keep nothing of their source."""
    if masks.without:
        Output().note(f"Without a mask: {_some(masks.without)}")
    if masks.covering_all:
        names = _some(masks.covering_all)
        Output().note(f"Warning: masks that are nowhere black keep nothing of their source: {names}")


def _some(names: Sequence[str]) -> str:
    """Their number and the first three."""
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def run_and_show(
    runner: BatchRunner, servers: int, spec: RunSpec, owed: Sequence[tuple[Source, int]], output: Path
) -> dict[str, Any]:
    """Run and show the progress; gives the summary.

    Raises:
        Exit: stopped by Ctrl-C, with code 130.
    """
    planned = missing = made = 0
    engines: set[str] = set()
    view = ExitStack()
    image_made: Callable[[int], object] | None = None

    def start(run: RunStart) -> None:
        nonlocal planned, missing, image_made
        planned, missing = run.planned, run.missing
        warn_of_sources(spec, owed, run.native_px, run.masks)
        image_made = view.enter_context(watched(missing, servers, runner.statuses, progress_console()))

    with stopped_by_interrupt(runner), view:
        for record in runner.run(owed, on_start=start):
            made += 1
            engines.add(record.engine)
            if image_made is not None:
                image_made(1)
    if runner.stopped.is_set():
        end_stopped(f"what was made is kept in {output}, {missing - made} images or fewer are left")
    summary = summary_of(output, planned=planned, missing=missing, made=made, failed_now=len(runner.failed))
    return {**summary, "engines": sorted(engines)}


def summary_of(output: Path, *, planned: int, missing: int, made: int, failed_now: int) -> dict[str, Any]:
    """The summary of a run, with all images that were given up, in this run or before, by class and reason."""
    from ..output.upkeep import read_status

    failures = read_status(output).failures
    failed = sum(failures.values())
    return {
        "output": str(output),
        "planned": planned,
        "already_there": planned - missing - (failed - failed_now),
        "made": made,
        "failed": failed,
        "failures": [
            {"class": name, "reason": reason, "images": count} for (name, reason), count in sorted(failures.items())
        ],
    }


@contextmanager
def stopped_by_interrupt(runner: BatchRunner) -> Iterator[None]:
    """The first Ctrl-C lets the running jobs finish; the second one interrupts them at the servers."""

    def interrupted(*_: object) -> None:
        # In a thread: the signal may have interrupted this very thread while it holds the lock of stderr or of a
        # connection, and printing or sending here would then wait for itself.
        first = not runner.stopped.is_set()
        threading.Thread(target=_announce_stop if first else runner.interrupt_jobs, daemon=True).start()
        runner.stop()

    former = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def end_stopped(what: str) -> NoReturn:
    """Say that the run was stopped and what is kept; end with code 130."""
    Output().note(f"Stopped; {what}. Run the same command again to go on.")
    raise click.exceptions.Exit(INTERRUPTED)


def _announce_stop() -> None:
    Output().note("\nFinishing the jobs in hand; press Ctrl-C again to interrupt them at the server.")


def show_summary(out: Output, summary: dict[str, Any], runner: BatchRunner) -> None:
    """Print the summary, with a table of the servers where there are several and a table of failures."""
    if summary["planned"] == 0:
        out.line("The plan owes no images; nothing to do.")
        return

    statuses = runner.statuses()
    if len(statuses) > 1:
        out.table(SERVER_HEADS, server_rows(statuses), align=SERVER_ALIGN)
    show_counts(out, summary)
    for engine in summary["engines"]:
        out.line(f"Engine: {engine}")


def show_counts(out: Output, summary: Mapping[str, Any], advice: str = "") -> None:
    """Print the failures, advice about them, and the numbers of images of a run."""
    if summary["failures"]:
        rows = [(row["class"], str(row["images"]), row["reason"]) for row in summary["failures"]]
        out.table(("class 类别", "failed 失败", "reason 原因"), rows, align="lrl")
        if advice:
            out.line(advice)
    out.line(
        f"{summary['made']} images made, {summary['already_there']} were there already, "
        f"{summary['planned']} planned, {summary['failed']} failed, in {summary['output']}"
    )


# A run with --until-accepted.

STRENGTH_RANGE = "0.15:0.45"
_BUDGET = 6.0
_LISTED_SOURCES = 12


def run_until_accepted(
    runner: BatchRunner,
    spec: RunSpec,
    owed: Sequence[tuple[Source, int]],
    output: Path,
    *,
    servers: int,
    strengths: str,
    budget: float | None,
) -> tuple[AcceptanceLoop, dict[str, Any]]:
    """Run until enough images are accepted and show the progress; gives the loop and the summary.

    At most `budget` images are made for each planned one; None is the default.

    Raises:
        Exit: stopped by Ctrl-C, with code 130.
        SettingsError: impossible strengths.
        MissingExtra: the filters' extra is not installed.
    """
    from ..batch.strength import AdaptiveStrength, StrengthRange
    from ..batch.until_accepted import AcceptanceLoop, open_filters

    limits = StrengthRange.parse(strengths)
    policy = AdaptiveStrength(spec, (source for source, _ in owed), low=limits.low, high=limits.high)
    parameters = {"strength_range": [limits.low, limits.high]}
    most = _BUDGET if budget is None else budget
    loop = AcceptanceLoop(
        runner, output, spec, owed, policy, parameters=parameters, budget=most, open_judge=open_filters
    )
    return loop, _run_loop(loop, runner, servers, output)


def show_until_accepted(out: Output, loop: AcceptanceLoop, summary: dict[str, Any]) -> None:
    """Print the summary.

    Raises:
        Exit: a class falls short, with code 1.
    """
    out.document(summary)
    _show_classes(out, loop, summary)
    if not summary["is_complete"]:
        raise click.exceptions.Exit(1)


def _run_loop(loop: AcceptanceLoop, runner: BatchRunner, servers: int, output: Path) -> dict[str, Any]:
    """Run and show the number of accepted images; gives the summary."""
    from ..batch.acceptance import outcomes_as_json

    made = shown = 0
    engines: set[str] = set()
    with stopped_by_interrupt(runner), ExitStack() as view:
        advance: Callable[[int], object] | None = None

        def start() -> None:
            nonlocal advance, shown
            shown = loop.accepted
            advance = view.enter_context(watched(loop.planned - shown, servers, runner.statuses, progress_console()))

        for record in loop.run(on_start=start):
            made += 1
            engines.add(record.engine)
            accepted = loop.accepted
            if advance is not None and accepted != shown:
                advance(accepted - shown)
                shown = accepted
    if runner.stopped.is_set():
        end_stopped(f"what was made is kept in {output}, {loop.accepted} images are accepted")
    classes = loop.outcomes()
    return {
        "output": str(output),
        "planned": loop.planned,
        "accepted": loop.accepted,
        "made": made,
        "failed": sum(one.failed for one in classes),
        "is_complete": all(one.is_complete for one in classes),
        "classes": outcomes_as_json(classes),
        "engines": sorted(engines),
    }


def _show_classes(out: Output, loop: AcceptanceLoop, summary: dict[str, Any]) -> None:
    """Print the result of each class, the sources without an accepted image, and advice for classes that fall short."""
    classes = loop.outcomes()
    rows = []
    for one in classes:
        low, high = one.strengths
        strengths = f"{low:g}" if low == high else f"{low:g}-{high:g}"
        rows.append((one.class_name, str(one.planned), str(one.accepted), str(one.made), str(one.failed), strengths))
    out.table(("class 类别", "planned 计划", "accepted 合格", "made 生成", "failed 失败", "strength 重绘幅度"), rows)
    out.line(f"{summary['made']} images made now, {summary['accepted']} of {summary['planned']} planned are accepted")
    exhausted = [f"{one.class_name}/{tally.source}" for one in classes for tally in one.sources if tally.is_exhausted]
    if exhausted:
        listed = ", ".join(exhausted[:_LISTED_SOURCES])
        listed += f" and {len(exhausted) - _LISTED_SOURCES} more" if len(exhausted) > _LISTED_SOURCES else ""
        out.line(f"No image was accepted of {listed}; their share was made from others of the class.")
    for one in (one for one in classes if not one.is_complete):
        out.line(
            f"{one.class_name}: {one.planned - one.accepted} short, its budget of {one.budget} images is spent; "
            "look at 'sdclient curate OUTPUT --sheet DIR', then give a larger --budget or a wider --strength-range"
        )
    for engine in summary["engines"]:
        out.line(f"Engine: {engine}")
