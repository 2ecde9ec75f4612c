"""`sdclient generate --until-accepted`: shown while it goes on, and summed up by class at the end."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..adaptive.loop import AcceptanceLoop
    from ..batch import BatchRunner, RunSpec
    from ..sources import Source

STRENGTH_RANGE = "0.15:0.45"
_BUDGET = 6.0
_LISTED_SOURCES = 12


def make_until_accepted(
    runner: BatchRunner,
    spec: RunSpec,
    owed: Sequence[tuple[Source, int]],
    output: Path,
    *,
    servers: int,
    strengths: str,
    budget: float | None,
) -> tuple[AcceptanceLoop, dict[str, Any]]:
    """Run until enough is accepted while it is shown; gives the loop and the summary.

    Args:
        runner: one that checks nothing itself.
        spec: its settings.
        owed: accepted images wanted of each source.
        output: its output folder.
        servers: how many there are.
        strengths: "low:high".
        budget: images for each planned one; None is the usual number.

    Raises:
        Exit: stopped by Ctrl-C, with code 130.
        SettingsError: strengths that cannot be.
        MissingExtra: the filters' extra is not installed.
    """
    from ..adaptive.filters import open_filters
    from ..adaptive.loop import AcceptanceLoop
    from ..adaptive.strength import StrengthRange
    from ..adaptive.strengths import AdaptiveStrength

    limits = StrengthRange.parse(strengths)
    followed = AdaptiveStrength(spec, (source for source, _ in owed), low=limits.low, high=limits.high)
    loop = AcceptanceLoop(
        runner,
        output,
        spec,
        owed,
        followed,
        parameters={"strength_range": [limits.low, limits.high]},
        budget=_BUDGET if budget is None else budget,
        open_judge=open_filters,
    )
    return loop, _make(loop, runner, servers, output)


def show_until_accepted(out: Output, loop: AcceptanceLoop, summary: dict[str, Any]) -> None:
    """Say what became of it, in words or as JSON.

    Raises:
        Exit: a class falls short, with code 1.
    """
    out.document(summary)
    _show(out, loop, summary)
    if not summary["is_complete"]:
        raise click.exceptions.Exit(1)


def _make(loop: AcceptanceLoop, runner: BatchRunner, servers: int, output: Path) -> dict[str, Any]:
    """Run while it is shown; gives the summary."""
    from rich.console import Console

    from ..adaptive.learned import as_json
    from ._generating import end_stopped, stopped_by_interrupt
    from ._run_view import watched

    made = shown = 0
    engines: set[str] = set()
    with stopped_by_interrupt(runner), ExitStack() as view:
        advance: Callable[[int], object] | None = None

        def start() -> None:
            nonlocal advance, shown
            shown = loop.accepted
            advance = view.enter_context(watched(loop.planned - shown, servers, runner.statuses, Console(stderr=True)))

        for record in loop.run(on_start=start):
            made += 1
            engines.add(record.engine)
            accepted = loop.accepted
            if advance is not None and accepted != shown:
                advance(accepted - shown)
                shown = accepted
    if runner.stopped.is_set():
        end_stopped(f"what was made is kept in {output}, {loop.accepted} images are accepted")
    classes = loop.learned()
    return {
        "output": str(output),
        "planned": loop.planned,
        "accepted": loop.accepted,
        "made": made,
        "failed": sum(one.failed for one in classes),
        "is_complete": all(one.is_complete for one in classes),
        "classes": as_json(classes),
        "engines": sorted(engines),
    }


def _show(out: Output, loop: AcceptanceLoop, summary: dict[str, Any]) -> None:
    """What became of each class, the sources that gave nothing, and what to do about classes that fall short."""
    classes = loop.learned()
    rows = []
    for one in classes:
        low, high = one.strengths
        words = f"{low:g}" if low == high else f"{low:g}-{high:g}"
        rows.append((one.class_name, str(one.planned), str(one.accepted), str(one.made), str(one.failed), words))
    out.table(("class 类别", "planned 计划", "accepted 合格", "made 生成", "failed 失败", "strength 重绘幅度"), rows)
    out.line(f"{summary['made']} images made now, {summary['accepted']} of {summary['planned']} planned are accepted")
    exhausted = [
        f"{one.class_name}/{source.source}" for one in classes for source in one.sources if source.is_exhausted
    ]
    if exhausted:
        out.line(f"No image was accepted of {_some(exhausted)}; their share was made from others of the class.")
    short = [one for one in classes if not one.is_complete]
    for one in short:
        out.line(
            f"{one.class_name}: {one.planned - one.accepted} short, its budget of {one.budget} images is spent; "
            "look at 'sdclient curate OUTPUT --sheet DIR', then give a larger --budget or a wider --strength-range"
        )
    for engine in summary["engines"]:
        out.line(f"Engine: {engine}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED_SOURCES])
    return shown + (f" and {len(names) - _LISTED_SOURCES} more" if len(names) > _LISTED_SOURCES else "")
