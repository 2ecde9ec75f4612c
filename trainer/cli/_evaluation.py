"""An evaluation as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..messages import counted, number, percent, percent_range, plain_range, text
from ..metrics import NAMED_WRONG, RATE_DEFINITIONS, RateDefinition

if TYPE_CHECKING:
    from ..at_cut import AtCut
    from ..evaluate import Evaluation
    from ..evaluation_intervals import EvaluationIntervals
    from ..metrics import MulticlassScores


def show_evaluation(name: str, evaluation: Evaluation) -> None:
    """Print the rates of both judgements with counts and intervals."""
    console, bounds = Console(highlight=False), evaluation.intervals
    groups = f" in {bounds.groups} groups" if bounds.groups else ""
    console.print(f"[bold]{escape(name)}[/bold]: Normal/Abnormal on {evaluation.images} images{groups}")
    table = _table("rate", "", "formula", right=("value", "count", "95 % interval"))
    rates = dict(evaluation.binary.rates)
    definitions: tuple[RateDefinition, ...] = RATE_DEFINITIONS
    if evaluation.named_wrong is not None:
        rates[NAMED_WRONG.key] = evaluation.named_wrong
        definitions = (*definitions, NAMED_WRONG)
    for one in definitions:
        rate = rates[one.key]
        table.add_row(
            one.english,
            one.chinese,
            one.formula,
            percent(rate.value),
            counted(rate),
            percent_range(bounds.rates[one.key]),
        )
    for english, chinese, value, interval in (
        ("AUROC", "曲线下面积", evaluation.auroc, bounds.auroc),
        ("average precision", "平均精度", evaluation.average_precision, bounds.average_precision),
    ):
        table.add_row(english, chinese, "of 1-p(Normal)", number(value), "", plain_range(interval))
    console.print(table)
    counts = evaluation.binary
    console.print(
        f"TP {counts.tp}  FN {counts.fn}  FP {counts.fp}  TN {counts.tn}. Defective: predicted class is not "
        f"{escape(evaluation.normal)}."
    )
    scores = evaluation.multiclass
    if scores is None:
        reason = text(evaluation.multiclass_reason) if evaluation.multiclass_reason else ""
        console.print(f"Multi-class rates are undefined: {escape(reason)}.")
    else:
        _show_classes(console, scores, bounds)
    console.print(f"Intervals (95 %) of rates: {bounds.rates_by}. Of means and areas: {bounds.scores_by}.")
    for warning in evaluation.warnings:
        console.print(f"[bold]Note:[/bold] {escape(text(warning))}.")


def show_at_cut(evaluation: Evaluation, at_cut: AtCut) -> None:
    """Print what the chosen cut promises and does, beside the judgement by the most probable class."""
    console, point, test = Console(highlight=False), at_cut.point, at_cut.test
    console.print()
    console.print(f"[bold]Operating point[/bold]: defective when 1-p({escape(point.normal)}) >= {point.cut:.6g}")
    if point.k is not None and point.n_defects is not None and point.max_miss_rate is not None:
        console.print(
            f"The cut is number {point.k} from below of {point.n_defects} validation defects' scores: of new defects "
            f"like them, no more than {percent(at_cut.promised_miss_rate)} are missed on average over validation sets "
            f"(asked for: {100 * point.max_miss_rate:.4g} %); one cut from {point.n_defects} has its own miss rate, "
            f"{percent_range(at_cut.promise_range)} in 95 of 100 cases."
        )
    rates = test.binary.rates
    table = _table("rate on test", "", right=("by class", "at the cut", "count", "95 % interval"))
    for one in RATE_DEFINITIONS:
        table.add_row(
            one.english,
            one.chinese,
            percent(evaluation.binary.rates[one.key].value),
            percent(rates[one.key].value),
            counted(rates[one.key]),
            percent_range(test.intervals[one.key]),
        )
    console.print(table)
    counts = test.binary
    console.print(f"At the cut: TP {counts.tp}  FN {counts.fn}  FP {counts.fp}  TN {counts.tn}.")
    if at_cut.validation is not None:
        known = at_cut.validation.binary.rates
        console.print(
            f"On validation, where it was chosen: miss rate {percent(known['miss_rate'].value)} "
            f"({counted(known['miss_rate'])}), overkill rate {percent(known['overkill_rate'].value)} "
            f"({counted(known['overkill_rate'])})."
        )
    promised = f"{100 * point.max_miss_rate:.4g} %" if point.max_miss_rate is not None else "not said"
    filtered, missed = rates["false_call_filter_rate"], rates["miss_rate"]
    console.print(
        f"[bold]False-call filter rate 假点过滤率 {percent(filtered.value)}[/bold] ({counted(filtered)}) "
        f"at a miss rate of {percent(missed.value)} ({counted(missed)}); promised: {promised}."
    )
    for note in at_cut.notes:
        console.print(f"[bold]Note:[/bold] {escape(text(note))}.")


def _table(*left: str, right: tuple[str, ...]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in left:
        table.add_column(heading)
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _show_classes(console: Console, scores: MulticlassScores, bounds: EvaluationIntervals) -> None:
    table = _table("class", right=("precision", "recall", "F1", "support"))
    for one, sure in zip(scores.per_class, bounds.per_class, strict=True):
        table.add_row(
            escape(one.name),
            f"{percent(one.precision.value)} {counted(one.precision)}\n{percent_range(sure.precision, digits=1)}",
            f"{percent(one.recall.value)} {counted(one.recall)}\n{percent_range(sure.recall, digits=1)}",
            f"{number(one.f1)}\n{plain_range(sure.f1) if sure.f1 else ''}",
            str(one.support),
        )
    console.print(table)
    means = (
        ("macro precision", scores.macro_precision, bounds.macro_precision),
        ("macro recall", scores.macro_recall, bounds.macro_recall),
        ("weighted precision", scores.weighted_precision, bounds.weighted_precision),
    )
    console.print("  ".join(f"{name} {number(value)} ({plain_range(interval)})" for name, value, interval in means))
    console.print(
        f"macro-F1 {number(scores.macro_f1)} ({plain_range(bounds.macro_f1)})  weighted F1 "
        f"{number(scores.weighted_f1)} ({plain_range(bounds.weighted_f1)})  multi-class accuracy "
        f"{percent(scores.accuracy.value)} ({counted(scores.accuracy)}, {percent_range(bounds.accuracy)})"
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="rows: true; columns: predicted", title_justify="left")
    table.add_column("")
    # Columns go by number: names of many classes would not fit a terminal.
    for place in range(1, len(scores.per_class) + 1):
        table.add_column(str(place), justify="right")
    for place, (one, row) in enumerate(zip(scores.per_class, scores.confusion, strict=True), start=1):
        table.add_row(f"{place} {escape(one.name)}", *(str(cell) for cell in row))
    console.print(table)
