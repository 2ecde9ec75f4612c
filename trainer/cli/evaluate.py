"""`trainer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..evaluate import Evaluation


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

    from ..arms import load_arm, name_arms
    from ..errors import EvaluationError
    from ..evaluate import evaluate as judge
    from ..evaluate import evaluation_as_json

    arm = load_arm(subject, data, name=name_arms([subject])[0])
    if len(arm.seeds) > 1:
        names = ", ".join(one.seed for one in arm.seeds)
        raise EvaluationError(
            f"{subject} holds {len(arm.seeds)} trainings ({names}); evaluate one, as {subject / arm.seeds[0].seed}, "
            "or compare all of them with 'trainer compare'"
        )
    evaluation = judge(arm.seeds[0].predictions, normal=normal, abnormal=abnormal)
    if as_json:
        click.echo(json.dumps(evaluation_as_json(evaluation), ensure_ascii=False, indent=2))
    else:
        _show(arm.name, evaluation)


def _show(name: str, evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..metrics import RATE_DEFINITIONS
    from ._format import counted, interval_of, number, percent

    console = Console(highlight=False)
    table = Table(title=f"{escape(name)}: Normal/Abnormal on {evaluation.images} images", title_justify="left")
    for heading in ("rate", "", "formula"):
        table.add_column(heading)
    for heading in ("value", "count", "95 % interval"):
        table.add_column(heading, justify="right")
    rates = evaluation.binary.rates
    for one in RATE_DEFINITIONS:
        rate = rates[one.key]
        table.add_row(one.english, one.chinese, one.formula, percent(rate.value), counted(rate), interval_of(rate))
    wrong = evaluation.named_wrong
    if wrong is not None:
        table.add_row(
            "named wrong", "缺陷误判", "wrong name/(TP+FN)", percent(wrong.value), counted(wrong), interval_of(wrong)
        )
    table.add_row("AUROC of 1-p(Normal)", "", "", number(evaluation.auroc), "", "")
    console.print(table)
    counts = evaluation.binary
    console.print(
        f"TP {counts.tp}  FN {counts.fn}  FP {counts.fp}  TN {counts.tn}; defective = predicted class is not "
        f"{escape(evaluation.normal)}; intervals: Clopper-Pearson, images taken as independent"
    )
    scores = evaluation.multiclass
    if scores is None:
        console.print(f"Multi-class rates are undefined: {escape(evaluation.multiclass_reason)}.")
    else:
        table = Table(title="By class; then rows = true, columns = predicted", title_justify="left")
        table.add_column("class")
        for heading in ("precision", "recall", "F1", "support", *(one.name for one in scores.per_class)):
            table.add_column(escape(heading), justify="right")
        for one_class, row in zip(scores.per_class, scores.confusion, strict=True):
            table.add_row(
                escape(one_class.name),
                percent(one_class.precision.value),
                percent(one_class.recall.value),
                number(one_class.f1),
                str(one_class.support),
                *(str(cell) for cell in row),
            )
        console.print(table)
        console.print(
            f"macro-F1 {number(scores.macro_f1)}  weighted F1 {number(scores.weighted_f1)}  "
            f"multi-class accuracy {percent(scores.accuracy.value)} ({counted(scores.accuracy)})"
        )
    for warning in evaluation.warnings:
        console.print(f"[bold]Note:[/bold] {escape(warning)}.")
