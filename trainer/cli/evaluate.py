"""`trainer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from ..evaluate import Evaluation
    from ..metrics import MulticlassScores


@click.command()
@click.argument("subject", metavar="RUN|predictions.csv", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--normal", default="Normal", show_default=True, help="The class of images without a defect.")
@click.option(
    "--abnormal",
    default="Abnormal",
    show_default=True,
    help="The label of defects whose kind the test set does not name.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def evaluate(subject: Path, data: Path | None, normal: str, abnormal: str, as_json: bool) -> None:
    """Judge one model on DATA/test, or a predictions file.

    An image counts as defective when its predicted class is not the Normal class. Labels may be the defect
    classes, or only Normal and Abnormal; then rates by defect name are undefined.

    \b
    Examples:
      trainer evaluate runs/baseline data
      trainer evaluate predictions.csv --normal good --json
    """
    import json

    from ..arms import load_one, name_arms
    from ..evaluate import evaluate as judge
    from ..evaluate import evaluation_as_json

    evaluation = judge(load_one(subject, data).predictions, normal=normal, abnormal=abnormal)
    if as_json:
        click.echo(json.dumps(evaluation_as_json(evaluation), indent=2))
    else:
        _show(name_arms([subject])[0], evaluation)


def _show(name: str, evaluation: Evaluation) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..metrics import NAMED_WRONG, RATE_DEFINITIONS
    from ..notation import counted, interval_of, number, percent

    console = Console(highlight=False)
    console.print(f"[bold]{escape(name)}[/bold]: Normal/Abnormal on {evaluation.images} images")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("rate", "", "formula"):
        table.add_column(heading)
    for heading in ("value", "count", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(one.english, one.chinese, one.formula, evaluation.binary.rates[one.key]) for one in RATE_DEFINITIONS]
    if evaluation.named_wrong is not None:
        rows.append((NAMED_WRONG.english, NAMED_WRONG.chinese, NAMED_WRONG.formula, evaluation.named_wrong))
    for english, chinese, formula, rate in rows:
        table.add_row(english, chinese, formula, percent(rate.value), counted(rate), interval_of(rate))
    table.add_row("AUROC", "曲线下面积", "of 1-p(Normal)", number(evaluation.auroc), "", "")
    console.print(table)
    counts = evaluation.binary
    console.print(
        f"TP {counts.tp}  FN {counts.fn}  FP {counts.fp}  TN {counts.tn}. Defective: predicted class is not "
        f"{escape(evaluation.normal)}. Intervals: Clopper-Pearson, images taken as independent."
    )
    scores = evaluation.multiclass
    if scores is None:
        console.print(f"Multi-class rates are undefined: {escape(evaluation.multiclass_reason)}.")
    else:
        _show_classes(console, scores)
    for warning in evaluation.warnings:
        console.print(f"[bold]Note:[/bold] {escape(warning)}.")


def _show_classes(console: Console, scores: MulticlassScores) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from ..notation import counted, number, percent

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    for heading in ("precision", "", "recall", "", "F1", "support"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in scores.per_class:
        table.add_row(
            escape(one.name),
            percent(one.precision.value),
            counted(one.precision),
            percent(one.recall.value),
            counted(one.recall),
            number(one.f1),
            str(one.support),
        )
    console.print(table)
    console.print(
        f"macro-F1 {number(scores.macro_f1)}  weighted F1 {number(scores.weighted_f1)}  "
        f"multi-class accuracy {percent(scores.accuracy.value)} ({counted(scores.accuracy)})"
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="rows: true; columns: predicted", title_justify="left")
    table.add_column("")
    # Columns go by number: names of many classes would not fit a terminal.
    for place in range(1, len(scores.per_class) + 1):
        table.add_column(str(place), justify="right")
    for place, (one, row) in enumerate(zip(scores.per_class, scores.confusion, strict=True), start=1):
        table.add_row(f"{place} {escape(one.name)}", *(str(cell) for cell in row))
    console.print(table)
