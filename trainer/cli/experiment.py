"""`trainer experiment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ..experiment.config import ExperimentConfig
    from ..experiment.judge import Against
    from ..experiment.result import ExperimentResult, Separability


@click.command()
@click.argument("file", metavar="EXPERIMENT.TOML", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="List the cells with their images, time and disk; write nothing.")
@click.option(
    "--processes",
    type=int,
    help="Cells at a time, each in a process of its own. Without it: one a physical core, or one a GPU.",
)
@click.option("--overwrite", is_flag=True, help="Train cells anew that were trained with other settings or images.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def experiment(
    ctx: click.Context, file: Path, dry_run: bool, processes: int | None, overwrite: bool, as_json: bool
) -> None:
    """Train arms x seeds (x folds) and say whether the generated images helped.

    The file names the data, the arms (baseline, oversampling, classical control, generated sets at their shares)
    and the one metric that decides. Every arm is trained for the same number of steps. Stopped (Ctrl-C will do),
    the same command goes on; finished cells are left as they are. OUTPUT/experiment.json holds every figure.

    \b
    Examples:
      trainer experiment experiment.toml --dry-run
      trainer experiment experiment.toml
    """
    from ..experiment.config import read_experiment

    config = read_experiment(file)
    if dry_run:
        _dry_run(config, processes, as_json=as_json)
        return
    try:
        _run(config, processes, overwrite=overwrite, as_json=as_json)
    except KeyboardInterrupt as stop:
        click.echo(str(stop) or "stopped; the same command goes on", err=True)
        ctx.exit(130)


def _run(config: ExperimentConfig, processes: int | None, *, overwrite: bool, as_json: bool) -> None:
    import json

    from ..experiment.as_json import EXPERIMENT_NAME, experiment_as_json
    from ..experiment.run import run_experiment

    result = run_experiment(config, processes=processes, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(experiment_as_json(result), ensure_ascii=False, indent=2))
        return
    _show(result)
    click.echo(f"All figures: {Path(config.output) / EXPERIMENT_NAME}")


def _dry_run(config: ExperimentConfig, processes: int | None, *, as_json: bool) -> None:
    import json

    from ..experiment.cell import read_done
    from ..experiment.estimate import estimate
    from ..experiment.prepare import prepare
    from ..experiment.run import choose_hands

    hands = choose_hands(config, processes)
    prepared = prepare(config, progress=True)
    cells: list[dict[str, Any]] = []
    todo = []
    for cell in prepared.cells:
        real, added = prepared.counts(cell.arm, prepared.fold(cell.fold))
        done = read_done(prepared.output / cell.folder) is not None
        if not done:
            todo.append(cell)
        cells.append(
            {
                "arm": cell.arm.name,
                "kind": cell.arm.kind,
                "seed": cell.seed,
                "fold": cell.fold,
                "folder": cell.folder,
                "real": sum(real.values()),
                "added": sum(added.values()),
                "added_by_class": dict(sorted(added.items())),
                "done": done,
            }
        )
    cost = estimate(prepared, todo, processes=max(1, hands.processes))
    document = {
        "primary": config.primary,
        "cells": cells,
        "steps": prepared.steps,
        "images_per_epoch": prepared.images_per_epoch,
        "to_train": len(todo),
        "estimate": {
            "seconds": cost.seconds,
            "processes": cost.processes,
            "trained_images_per_s": cost.trained_per_s,
            "predicted_images_per_s": cost.predicted_per_s,
            "bytes": cost.bytes,
            "how": cost.how,
        },
        "warnings": list(prepared.warnings),
    }
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _show_plan(document)


def _show_plan(plan: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    table = _table("cell", "real", "added", "state")
    shown = set()
    for one in plan["cells"]:
        folder = one["folder"].partition("/")[2]
        state = "done" if one["done"] else "to train"
        table.add_row(escape(folder), str(one["real"]), str(one["added"]), state)
    console.print(table)
    for one in plan["cells"]:
        if one["added_by_class"] and one["arm"] not in shown:
            shown.add(one["arm"])
            by_class = ", ".join(f"{name} {count}" for name, count in one["added_by_class"].items())
            console.print(f"{escape(one['arm'])} ({one['kind']}): {escape(by_class)}")
    cost = plan["estimate"]
    minutes, seconds = divmod(round(cost["seconds"]), 60)
    console.print(
        f"{len(plan['cells'])} cells, {plan['to_train']} to train, {plan['steps']} steps each "
        f"({plan['images_per_epoch']} images an epoch); primary metric: {plan['primary']}"
    )
    console.print(f"About {minutes} min {seconds} s: {cost['how']} ({cost['trained_images_per_s']:.0f} images/s)")
    console.print(f"About {cost['bytes'] / 1e6:.0f} MB on disk for all cells; nothing was written")
    for words in plan["warnings"]:
        console.print(f"Note: {escape(words)}")


def _show(result: ExperimentResult) -> None:
    from rich.console import Console
    from rich.markup import escape

    from ..verdict import COMPARED

    console = Console(highlight=False)
    folds = f", {result.folds} folds pooled" if result.folds else ""
    console.print(
        f"{len(result.arms)} arms x {len(result.seeds)} seeds{folds}, {result.steps} steps each, judged on "
        f"{result.images} test images; primary metric, declared {result.declared['at']}: "
        f"{COMPARED[result.primary].english} {COMPARED[result.primary].chinese}"
    )
    console.print(_rates(result))
    console.print(_differences(result))
    for note in result.notes:
        console.print(f"Note: {escape(note)}")
    for one in result.judgements:
        console.print(f"[bold]{escape(one.sentence)}[/bold]")


def _rates(result: ExperimentResult) -> Table:
    """Means over seeds, with their spread, one row an arm."""
    from rich.markup import escape

    from ..notation import number, percent

    table = _table(
        "arm",
        "real + added",
        "macro-F1\n宏平均 F1",
        "accuracy\n正确率",
        "miss rate\n漏检率",
        "overkill rate\n过杀率",
        "real or added?\nAUROC",
    )
    for arm in result.arms:
        scores = arm.result.macro_f1
        cells = [f"{number(scores.mean)} ± {scores.sd:.3f}" if scores.sd is not None else number(scores.mean)]
        for key in ("accuracy", "miss_rate", "overkill_rate"):
            spread = arm.result.rates[key].spread
            cells.append(percent(spread.mean) + (f" ± {100 * spread.sd:.2f}" if spread.sd is not None else ""))
        counts = f"{sum(arm.real.values()):.0f} + {sum(arm.added.values()):.0f}"
        table.add_row(escape(arm.name), counts, *cells, _told(arm.separability))
    return table


def _told(one: Separability | None) -> str:
    if one is None:
        return ""
    if one.auroc is None:
        return "undefined"
    between = f" ({one.interval.low:.2f} to {one.interval.high:.2f})" if one.interval else ""
    return f"{one.auroc:.2f}{between}"


def _differences(result: ExperimentResult) -> Table:
    """Every generated arm against the others, the primary metric and the miss rate."""
    from rich.markup import escape

    from ..verdict import COMPARED

    table = _table("arm minus", "other", "figure", "difference", "95 % interval", "p", "p (Holm)")
    for judgement in result.judgements:
        for against in (judgement.baseline, judgement.control, *judgement.oversampling):
            wanted = dict.fromkeys((result.primary, "miss_rate", "overkill_rate"))
            for key in wanted:
                metric = COMPARED[key]
                name = f"{metric.english} {metric.chinese}"
                table.add_row(escape(judgement.arm), escape(against.other), name, *_figures(against, key))
    return table


def _figures(against: Against, key: str) -> list[str]:
    from ..notation import signed, signed_range

    one = next(each for each in against.differences if each.metric == key)
    p_values = [against.p_value, against.p_holm] if one is against.primary else [None, None]
    return [signed(one.value), signed_range(one.interval), *("" if p is None else f"{p:.3g}" for p in p_values)]


def _table(*headings: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right")
    return table
