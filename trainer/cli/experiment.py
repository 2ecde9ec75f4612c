"""The command `experiment`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sdcore.cli import INTERRUPTED, PATH, Output

from ..messages import metric_names, number, percent, signed, signed_range, text

if TYPE_CHECKING:
    from ..experiment.config import ExperimentConfig
    from ..experiment.judge import ArmComparison
    from ..experiment.result import ExperimentResult, Separability


@click.command()
@click.argument("file", metavar="EXPERIMENT.TOML", type=PATH)
@click.option("--dry-run", is_flag=True, help="List the cells with their images, time and disk; write nothing.")
@click.option(
    "--processes",
    type=int,
    help="Cells at a time, each in its own process. Without it: one a physical core, or one a GPU.",
)
@click.option("--overwrite", is_flag=True, help="Train cells again that were trained with other settings or images.")
@click.option(
    "--report", "report_path", type=PATH, help="File of the report: .html, .md or .json.  [default: OUTPUT/report.html]"
)
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", help="Of the report; zh is Chinese.")
@click.option(
    "--note", "notes", multiple=True, help="A caveat for the report, as 'the boards are drawn'; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def experiment(ctx: click.Context, /, file: Path, dry_run: bool, processes: int | None, **options: Any) -> None:
    """Train arms x seeds (x folds) and say whether the generated images helped.

    The file names the data, the arms (baseline, oversampling, classical control, generated sets at their shares)
    and the one metric that decides. Every arm is trained for the same number of steps. After Ctrl-C the
    same command continues; finished cells stay as they are. OUTPUT gets experiment.json with every figure,
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
        _dry_run(Output(json=options["as_json"]), config, processes)
        return
    try:
        _run(file, config, processes, **options)
    except KeyboardInterrupt as stop:
        Output().note(str(stop) or "stopped; the same command goes on")
        ctx.exit(INTERRUPTED)


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
    from ..experiment.result import EXPERIMENT_NAME, experiment_as_json
    from ..experiment.run import run_experiment
    from ..report.elements import choose_format
    from ..report.experiment_report import write_experiment_report

    output = Path(config.output)
    report = report_path or output / "report.html"
    choose_format(report)  # before the experiment runs, which takes long
    result = run_experiment(config, processes=processes, overwrite=overwrite)
    options = ["--report", str(report_path)] if report_path else []
    options += ["--lang", lang] if lang != "en" else []
    options += [part for note in notes for part in ("--note", note)]
    command = shlex.join(["trainer", "experiment", str(file), *options])
    write_experiment_report(report, result, output=output, language=lang, commands=[command], notes=notes)
    out = Output(json=as_json)
    out.document(lambda: experiment_as_json(result))
    _show(out, result)
    out.line(f"All figures: {output / EXPERIMENT_NAME}")
    out.line(f"Report: {report}")


def _dry_run(out: Output, config: ExperimentConfig, processes: int | None) -> None:
    from ..experiment.prepare import estimate, prepare
    from ..experiment.records import started_identity
    from ..experiment.run import choose_workers, is_done, plan_jobs, plan_sets

    workers = choose_workers(config, processes)
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
    cost = estimate(prepared, todo, processes=max(1, workers.processes))
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
    out.document(document)
    _show_plan(out, document)


def _show_plan(out: Output, plan: dict[str, Any]) -> None:
    out.table(
        ["cell", "real", "added", "state"],
        [[one["folder"].partition("/")[2], str(one["real"]), str(one["added"]), one["state"]] for one in plan["cells"]],
    )
    shown = set()
    for one in plan["cells"]:
        if one["added_by_class"] and one["arm"] not in shown:
            shown.add(one["arm"])
            by_class = ", ".join(f"{name} {count}" for name, count in one["added_by_class"].items())
            out.line(f"{one['arm']} ({one['kind']}): {by_class}")
    for one in plan["sets"]:
        which = f"the {one['count']} accepted of {one['recorded']}" if one["curated"] else f"all {one['count']}"
        out.line(f"{one['path']}: {which} images, {one['undecided']} undecided")
    cost = plan["estimate"]
    minutes, seconds = divmod(round(cost["seconds"]), 60)
    out.line(
        f"{len(plan['cells'])} cells, {plan['to_train']} to train, {plan['steps']} steps each "
        f"({plan['images_per_epoch']} images an epoch); primary metric: {plan['primary']}"
    )
    out.line(f"About {minutes} min {seconds} s: {cost['how']} ({cost['trained_images_per_s']:.0f} images/s)")
    out.line(f"About {cost['bytes'] / 1e6:.0f} MB on disk for all cells; nothing was written")
    for warning in plan["warnings"]:
        out.line(f"Note: {warning}")


def _show(out: Output, result: ExperimentResult) -> None:

    folds = f", {result.folds} folds pooled" if result.folds else ""
    out.line(
        f"{len(result.arms)} arms x {len(result.seeds)} seeds{folds}, {result.steps} steps each, judged on "
        f"{result.images} test images; primary metric, declared {result.declared['at']}: "
        f"{' '.join(metric_names(result.primary))}"
    )
    _show_rates(out, result)
    _show_differences(out, result)
    for note in result.notes:
        out.line(f"Note: {text(note)}")
    for one in result.judgements:
        out.line(text(one.sentence), bold=True)


def _show_rates(out: Output, result: ExperimentResult) -> None:
    """Means over seeds, with their spread, one row an arm."""
    rows = []
    for arm in result.arms:
        scores = arm.result.macro_f1
        cells = [number(scores.mean) + (f"\n± {scores.sd:.3f}" if scores.sd is not None else "")]
        for key in ("accuracy", "miss_rate", "overkill_rate"):
            spread = arm.result.rates[key].spread
            cells.append(percent(spread.mean) + (f"\n± {100 * spread.sd:.2f}" if spread.sd is not None else ""))
        counts = f"{sum(arm.real.values()):.0f} + {sum(arm.added.values()):.0f}"
        rows.append([f"{arm.name}\n{counts}", *cells, _separability_cell(arm.separability)])
    heads = ["macro-F1\n宏平均 F1", "accuracy\n正确率", "miss rate\n漏检率", "overkill\n过杀率", "AUROC real\nor added"]
    out.table(["arm\nreal + added images", *heads], rows)


def _separability_cell(one: Separability | None) -> str:
    if one is None:
        return ""
    if one.auroc is None:
        return "undefined"
    between = f"\n{one.interval.low:.2f} to {one.interval.high:.2f}" if one.interval else ""
    return f"{one.auroc:.2f}{between}"


def _show_differences(out: Output, result: ExperimentResult) -> None:
    """Every generated arm against the others: the primary metric, and misses and overkill."""
    shown = list(dict.fromkeys((result.primary, "miss_rate", "overkill_rate")))
    heads = ["\n".join(metric_names(key)) for key in shown]
    rows = []
    for judgement in result.judgements:
        for against in (judgement.baseline, judgement.control, *judgement.oversampling):
            cells = [_difference_cell(against, key) for key in shown]
            p_values = ", ".join(f"{p:.3g}" for p in (against.p_value, against.p_holm) if p is not None)
            rows.append([f"{judgement.arm}\n- {against.other}", f"{cells[0]}\n{p_values}", *cells[1:]])
    out.table(["arm minus other", f"{heads[0]}\nraw p, p (Holm)", *heads[1:]], rows)


def _difference_cell(against: ArmComparison, key: str) -> str:
    """A difference above its interval."""
    one = next(each for each in against.differences if each.metric == key)
    return f"{signed(one.value)}\n{signed_range(one.interval)}"
