"""`evaluate`, `diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..evaluation.metrics import NAMED_WRONG, RATE_DEFINITIONS, RateDefinition
from ..messages import counted, number, percent, percent_range, plain_range, text

if TYPE_CHECKING:
    from ..evaluation.arms import SeedPredictions
    from ..evaluation.diagnosis import Diagnosis
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.evaluation_intervals import EvaluationIntervals
    from ..evaluation.history import RecordedTraining
    from ..evaluation.metrics import MulticlassScores
    from ..evaluation.operating_point import ThresholdReport
    from ..evaluation.threshold_choice import ThresholdChoice


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
@click.option(
    "--max-miss-rate",
    type=float,
    metavar="RATE",
    help="Choose the cut through 1 - p(Normal) that keeps this expected miss rate for new defects, as 0.01 for 1 %.",
)
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Predictions to choose the cut on, where the subject is a predictions file; a run looks at DATA/val.",
)
@click.option(
    "--save/--no-save",
    default=True,
    show_default=True,
    help="Keep the chosen cut with the run, for 'trainer predict' and the next 'trainer evaluate'.",
)
@click.option(
    "--curve",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw miss rate against overkill with the cut marked: PNG, SVG or PDF.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def evaluate(
    subject: Path,
    data: Path | None,
    normal: str,
    abnormal: str,
    max_miss_rate: float | None,
    validation: Path | None,
    save: bool,
    curve: Path | None,
    as_json: bool,
) -> None:
    """Judge one model on DATA/test, or a predictions file.

    An image counts as defective when its predicted class is not the Normal class. With --max-miss-rate a second
    judgement stands beside it: defective when 1 - p(Normal) reaches a cut, which is chosen on validation images and
    applied to the test images; so it does where the run has a cut already. Labels may be the defect classes, or only
    Normal and Abnormal; then rates by defect name are undefined. Where a column 'group', or DATA/split.csv, says
    which images were cut from one board, every interval heeds it.

    \b
    Examples:
      trainer evaluate runs/baseline data
      trainer evaluate runs/baseline data --max-miss-rate 0.01 --curve curve.png
      trainer evaluate test.csv --validation val.csv --max-miss-rate 0.01
      trainer evaluate predictions.csv --normal good --json
    """
    if validation is not None and max_miss_rate is None:
        raise click.UsageError("--validation needs --max-miss-rate: the cut is chosen there to keep that rate")

    import json

    from ..evaluation.arms import load_one, name_arms
    from ..evaluation.evaluate import evaluate as judge
    from ..evaluation.evaluate import evaluation_as_json
    from ..evaluation.operating_point import at_cut_as_json, evaluate_at
    from ..models.decision_threshold import read_operating_point

    if max_miss_rate is not None:
        from ..evaluation.operating_point import defects_needed

        defects_needed(max_miss_rate)  # refuses a rate that is none before any work
    if curve is not None:
        from ..report.standalone_figures import check_suffix

        check_suffix(curve)
    is_file = subject.is_file() or subject.suffix.lower() == ".csv"
    choice = None
    if max_miss_rate is not None and not is_file:
        choice = _choose_for_run(subject, data, validation, normal, abnormal, max_miss_rate)
    tested = load_one(subject, data)
    if max_miss_rate is not None and choice is None:
        choice = _choose_from_file(validation, tested, data, normal, abnormal, max_miss_rate)
    evaluation = judge(tested.predictions, normal=normal, abnormal=abnormal)
    point = choice.point if choice else read_operating_point(tested.run) if tested.run else None
    at_cut = None
    if point is not None:
        at_cut = evaluate_at(
            point,
            tested.predictions,
            choice.validation if choice else None,
            normal=normal,
            abnormal=abnormal,
            notes=choice.notes if choice else (),
        )
    saved = _save(tested, choice) if save else None
    if curve is not None:
        _draw_threshold_curve(curve, at_cut)
    if as_json:
        cut = at_cut_as_json(at_cut) | {"saved": saved.as_posix() if saved else None} if at_cut else None
        click.echo(json.dumps(evaluation_as_json(evaluation) | {"operating_point": cut}, indent=2))
        return

    show_evaluation(name_arms([subject])[0], evaluation)
    if at_cut is not None:
        show_at_cut(evaluation, at_cut)
    if saved is not None:
        click.echo(f"Saved as {saved}; 'trainer predict' decides by it.")
    if curve is not None:
        click.echo(f"Curve: {curve}")


def _choose_for_run(
    run: Path, data: Path | None, validation: Path | None, normal: str, abnormal: str, max_miss_rate: float
) -> ThresholdChoice:
    from ..evaluation.threshold_choice import choose_for_run

    if validation is not None:
        raise click.UsageError(f"{run} is a run, which looks at DATA/val itself; leave --validation out")
    return choose_for_run(run, data, max_miss_rate=max_miss_rate, normal=normal, abnormal=abnormal)


def _choose_from_file(
    validation: Path | None, tested: SeedPredictions, data: Path | None, normal: str, abnormal: str, rate: float
) -> ThresholdChoice:
    from ..evaluation.threshold_choice import choose_from_file

    if validation is None:
        raise click.UsageError(
            "a cut is chosen on validation images, never on test images; add --validation with their predictions"
        )
    return choose_from_file(validation, tested.predictions, data, max_miss_rate=rate, normal=normal, abnormal=abnormal)


def _save(tested: SeedPredictions, choice: ThresholdChoice | None) -> Path | None:
    from ..evaluation.threshold_choice import save_choice

    return save_choice(tested.run, choice) if choice is not None and tested.run is not None else None


def _draw_threshold_curve(curve: Path, at_cut: ThresholdReport | None) -> None:
    from ..report.standalone_figures import draw_curve

    if at_cut is None:
        raise click.UsageError("--curve marks the cut that was chosen, and there is none; add --max-miss-rate")
    draw_curve(curve, at_cut)


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


def show_at_cut(evaluation: Evaluation, at_cut: ThresholdReport) -> None:
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


@click.command()
@click.argument("subject", metavar="RUN|results.csv", type=click.Path(path_type=Path))
@click.option("--window", type=click.IntRange(min=8), help="Epochs at the end to read slopes from; otherwise 40 %.")
@click.option("--classes", type=click.IntRange(min=2), help="Number of classes, where the run does not say.")
@click.option(
    "--label-smoothing", type=click.FloatRange(0, 1), help="Of the training loss, where the run does not say."
)
@click.option(
    "-o", "figure", metavar="PNG", type=click.Path(path_type=Path), help="Draw the curves with window and slopes."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def diagnose(
    subject: Path,
    window: int | None,
    classes: int | None,
    label_smoothing: float | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Say what the loss curves of a training show, and what to do next.

    Both losses fall: learning. Training falls and validation rises: overfitting. Both are flat: a plateau, or
    finished where the learning rate is spent or everything is learned. Training rises: diverging. Anything else,
    and what noise hides, is inconclusive. YOLOv5's own results.csv can be read too; a folder of seed-* runs is
    diagnosed run by run. The exit code is 0 whatever the diagnosis, and 1 for a file that cannot be read.

    \b
    Examples:
      trainer diagnose runs/baseline
      trainer diagnose runs/baseline -o curves.png
      trainer diagnose yolov5/runs/train-cls/exp/results.csv --classes 7 --json
    """
    import json
    from dataclasses import replace

    from ..evaluation.diagnosis import diagnose as judge
    from ..evaluation.history import find_recorded
    from ..messages import text

    results = []
    for one in find_recorded(subject):
        conditions = one.conditions
        if classes is not None:
            conditions = replace(conditions, classes=classes)
        if label_smoothing is not None:
            conditions = replace(conditions, label_smoothing=label_smoothing)
        results.append((one, judge(one.history.epochs, conditions, window=window)))
    drawings = {} if figure is None else _draw(figure, results)
    if as_json:
        documents = [_as_json(one, diagnosis, drawings.get(one.path)) for one, diagnosis in results]
        click.echo(json.dumps(documents, ensure_ascii=False, indent=2, allow_nan=False))
        return
    for one, diagnosis in results:
        click.echo(f"{one.name}: {text(diagnosis.line)}.")
        for sentence in diagnosis.advice:
            click.echo(f"  - {text(sentence)}")
        if one.upstream:
            click.echo("  Read from YOLOv5's own record: it has no macro-F1, and its --lr is --lr0.")
        if one.path in drawings:
            click.echo(f"  Curves: {drawings[one.path]}")


def _draw(figure: Path, results: list[tuple[RecordedTraining, Diagnosis]]) -> dict[Path, Path]:
    """results.csv -> its drawing; with several runs, the run's name is put before the suffix."""
    from sdcore.files import write_bytes_atomically

    from ..errors import SettingsError
    from ..report.standalone_figures import draw_diagnosis

    if figure.suffix.lower() != ".png":
        raise SettingsError(f"-o {figure}: found the ending {figure.suffix or 'none'}; expected a file name in .png")
    drawings = {}
    for one, diagnosis in results:
        if not one.history.epochs:
            continue
        place = figure if len(results) == 1 else figure.with_name(f"{figure.stem}-{one.name}{figure.suffix}")
        title = one.name if one.name.isascii() else ""
        write_bytes_atomically(place, draw_diagnosis(one.history.epochs, diagnosis, title=title))
        drawings[one.path] = place
    return drawings


def _as_json(one: RecordedTraining, diagnosis: Diagnosis, drawing: Path | None) -> dict[str, Any]:
    import math
    from dataclasses import asdict

    from ..evaluation.diagnosis import kind_name
    from ..messages import text

    evidence = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(diagnosis.evidence).items()
    }
    return {
        "run": one.path.parent.as_posix(),
        "kind": diagnosis.kind,
        "chinese": text(kind_name(diagnosis.kind), "zh"),
        "line": text(diagnosis.line),
        "advice": [text(one) for one in diagnosis.advice],
        "epochs": len(one.history.epochs),
        "upstream": one.upstream,
        "figure": None if drawing is None else drawing.as_posix(),
        "evidence": evidence,
    }
