"""`trainer experiment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ..experiment.config import ExperimentConfig
    from ..experiment.judge import ArmComparison
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
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    help="Where the report goes: .html, .md or .json.  [default: OUTPUT/report.html]",
)
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Of the report; zh is Chinese."
)
@click.option(
    "--note", "notes", multiple=True, help="A caveat for the report, as 'the boards are drawn'; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def experiment(ctx: click.Context, /, file: Path, dry_run: bool, processes: int | None, **options: Any) -> None:
    """Train arms x seeds (x folds) and say whether the generated images helped.

    The file names the data, the arms (baseline, oversampling, classical control, generated sets at their shares)
    and the one metric that decides. Every arm is trained for the same number of steps. Stopped (Ctrl-C will do),
    the same command goes on; finished cells are left as they are. OUTPUT gets experiment.json with every figure,
    and report.html.

    \b
    Examples:
      trainer experiment experiment.toml --dry-run
      trainer experiment experiment.toml
      trainer experiment experiment.toml --report 报告.html --lang zh
    """
    from ..experiment.config import read_experiment

    config = read_experiment(file)
    if dry_run:
        _dry_run(config, processes, as_json=options["as_json"])
        return
    try:
        _run(file, config, processes, **options)
    except KeyboardInterrupt as stop:
        click.echo(str(stop) or "stopped; the same command goes on", err=True)
        ctx.exit(130)


def _run(
    file: Path,
    config: ExperimentConfig,
    processes: int | None,
    *,
    overwrite: bool,
    report_path: Path | None,
    lang: Literal["en", "zh"],
    notes: tuple[str, ...],
    as_json: bool,
) -> None:
    import json
    import shlex

    from ..experiment.result import EXPERIMENT_NAME, experiment_as_json
    from ..experiment.run import run_experiment
    from ..report.elements import choose_format
    from ..report.experiment_report import write_experiment_report

    output = Path(config.output)
    report = report_path or output / "report.html"
    choose_format(report)  # a mistake in it must not cost a whole experiment
    result = run_experiment(config, processes=processes, overwrite=overwrite)
    options = ["--report", str(report_path)] if report_path else []
    options += ["--lang", lang] if lang != "en" else []
    options += [part for note in notes for part in ("--note", note)]
    command = shlex.join(["trainer", "experiment", str(file), *options])
    write_experiment_report(report, result, output=output, language=lang, commands=[command], notes=notes)
    if as_json:
        click.echo(json.dumps(experiment_as_json(result), ensure_ascii=False, indent=2))
        return
    _show(result)
    click.echo(f"All figures: {output / EXPERIMENT_NAME}")
    click.echo(f"Report: {report}")


def _dry_run(config: ExperimentConfig, processes: int | None, *, as_json: bool) -> None:
    import json

    from ..experiment.prepare import estimate, prepare
    from ..experiment.records import started_identity
    from ..experiment.run import choose_workers, is_done, plan_jobs, plan_sets
    from ..messages import text

    hands = choose_workers(config, processes)
    prepared = prepare(config, progress=True)
    cells: list[dict[str, Any]] = []
    todo = []
    for cell, job in zip(prepared.cells, plan_jobs(prepared, plan_sets(prepared)), strict=True):
        real, added = prepared.counts(cell.arm, prepared.fold(cell.fold))
        there = started_identity(job.folder)
        state = "to train" if there is None else "begun" if there == job.identity else "other settings"
        if is_done(job):
            state = "done"
        else:
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
                "state": state,
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
        "sets": [
            {name: one.summary()[name] for name in ("path", "curated", "count", "recorded", "undecided")}
            for one in prepared.sets.values()
        ],
        "warnings": [text(one) for one in prepared.warnings],
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
        table.add_row(escape(folder), str(one["real"]), str(one["added"]), one["state"])
    console.print(table)
    for one in plan["cells"]:
        if one["added_by_class"] and one["arm"] not in shown:
            shown.add(one["arm"])
            by_class = ", ".join(f"{name} {count}" for name, count in one["added_by_class"].items())
            console.print(f"{escape(one['arm'])} ({one['kind']}): {escape(by_class)}")
    for one in plan["sets"]:
        which = f"the {one['count']} accepted of {one['recorded']}" if one["curated"] else f"all {one['count']}"
        console.print(escape(f"{one['path']}: {which} images, {one['undecided']} undecided"))
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

    from ..messages import metric_names, text

    console = Console(highlight=False)
    folds = f", {result.folds} folds pooled" if result.folds else ""
    console.print(
        f"{len(result.arms)} arms x {len(result.seeds)} seeds{folds}, {result.steps} steps each, judged on "
        f"{result.images} test images; primary metric, declared {result.declared['at']}: "
        f"{' '.join(metric_names(result.primary))}"
    )
    console.print(_rates(result))
    console.print(_differences(result))
    for note in result.notes:
        console.print(f"Note: {escape(text(note))}")
    for one in result.judgements:
        console.print(f"[bold]{escape(text(one.sentence))}[/bold]")


def _rates(result: ExperimentResult) -> Table:
    """Means over seeds, with their spread, one row an arm."""
    from rich.markup import escape

    from ..messages import number, percent

    table = _table(
        "arm\nreal + added images",
        "macro-F1\n宏平均 F1",
        "accuracy\n正确率",
        "miss rate\n漏检率",
        "overkill\n过杀率",
        "AUROC real\nor added",
    )
    for arm in result.arms:
        scores = arm.result.macro_f1
        cells = [number(scores.mean) + (f"\n± {scores.sd:.3f}" if scores.sd is not None else "")]
        for key in ("accuracy", "miss_rate", "overkill_rate"):
            spread = arm.result.rates[key].spread
            cells.append(percent(spread.mean) + (f"\n± {100 * spread.sd:.2f}" if spread.sd is not None else ""))
        counts = f"{sum(arm.real.values()):.0f} + {sum(arm.added.values()):.0f}"
        table.add_row(f"{escape(arm.name)}\n[dim]{counts}[/dim]", *cells, _told(arm.separability))
    return table


def _told(one: Separability | None) -> str:
    if one is None:
        return ""
    if one.auroc is None:
        return "undefined"
    between = f"\n{one.interval.low:.2f} to {one.interval.high:.2f}" if one.interval else ""
    return f"{one.auroc:.2f}{between}"


def _differences(result: ExperimentResult) -> Table:
    """Every generated arm against the others: the primary metric, and misses and overkill."""
    from rich.markup import escape

    from ..messages import metric_names

    shown = list(dict.fromkeys((result.primary, "miss_rate", "overkill_rate")))
    headings = ["\n".join(metric_names(key)) for key in shown]
    table = _table("arm minus other", f"{headings[0]}\nraw p, p (Holm)", *headings[1:])
    for judgement in result.judgements:
        for against in (judgement.baseline, judgement.control, *judgement.oversampling):
            figures = [_figure(against, key) for key in shown]
            p_values = ", ".join(f"{p:.3g}" for p in (against.p_value, against.p_holm) if p is not None)
            arms = f"{escape(judgement.arm)}\n- {escape(against.other)}"
            table.add_row(arms, f"{figures[0]}\n{p_values}", *figures[1:])
    return table


def _figure(against: ArmComparison, key: str) -> str:
    """A difference above its interval."""
    from ..messages import signed, signed_range

    one = next(each for each in against.differences if each.metric == key)
    return f"{signed(one.value)}\n[dim]{signed_range(one.interval)}[/dim]"


def _table(*headings: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_lines=any("\n" in heading for heading in headings))
    table.add_column(headings[0], min_width=13, overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
