"""The commands `evaluate` and `diagnose`, which judge one trained model and one training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import PATH, Output

from ..errors import SettingsError
from ..messages import number, percent, percent_range, plain_range, text

if TYPE_CHECKING:
    from ..evaluation.arms import SeedPredictions
    from ..evaluation.diagnosis import Diagnosis
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.evaluation_intervals import EvaluationIntervals
    from ..evaluation.history import RecordedTraining
    from ..evaluation.metrics import BinaryCounts, MulticlassScores
    from ..evaluation.operating_point import ThresholdReport
    from ..evaluation.threshold_choice import ThresholdChoice


@click.command()
@click.argument("subject", metavar="RUN|predictions.csv", type=PATH)
@click.argument("data", required=False, type=PATH)
@click.option("--normal", default="Normal", help="The class of images without a defect.")
@click.option("--abnormal", default="Abnormal", help="The label of defects whose class the test set does not name.")
@click.option(
    "--max-miss-rate",
    type=float,
    metavar="RATE",
    help="Choose the cut of 1 - p(Normal) that keeps this expected miss rate for new defects, as 0.01 for 1 %.",
)
@click.option(
    "--validation",
    type=PATH,
    metavar="CSV",
    help="Predictions on which to choose the cut for a predictions file; a run uses DATA/val.",
)
@click.option(
    "--save/--no-save",
    default=True,
    help="Keep the chosen cut with the run, for 'trainer predict' and the next 'trainer evaluate'.",
)
@click.option(
    "--curve", type=PATH, metavar="FILE", help="Draw miss rate against overkill with the cut marked: PNG, SVG or PDF."
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

    An image counts as defective when its predicted class is not the Normal class. --max-miss-rate adds a second
    judgement: defective when 1 - p(Normal) reaches a cut, which is chosen on validation images and applied to the
    test images. A run that already has a cut is judged by it, too. Labels may be the defect classes, or only
    Normal and Abnormal; then rates by defect name are undefined. If a column 'group' or DATA/split.csv says
    which images show the same board, every interval takes it into account.

    \b
    Examples:
      trainer evaluate runs/baseline data
      trainer evaluate runs/baseline data --max-miss-rate 0.01 --curve curve.png
      trainer evaluate test.csv --validation val.csv --max-miss-rate 0.01
      trainer evaluate predictions.csv --normal good --json
    """
    if validation is not None and max_miss_rate is None:
        raise click.UsageError("--validation needs --max-miss-rate: the cut is chosen there to keep that rate")

    from ..evaluation.arms import load_one, name_arms
    from ..evaluation.evaluate import evaluate as judge, evaluation_as_json
    from ..evaluation.operating_point import evaluate_at, threshold_report_as_json
    from ..evaluation.threshold_choice import save_choice
    from ..models.decision_threshold import read_operating_point

    if max_miss_rate is not None:
        from ..evaluation.operating_point import defects_needed

        defects_needed(max_miss_rate)  # refuses an impossible rate before any work
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
    validated, notes = (choice.validation, choice.notes) if choice else (None, ())
    at_cut = None
    if point is not None:
        at_cut = evaluate_at(point, tested.predictions, validated, normal=normal, abnormal=abnormal, notes=notes)
    saved = save_choice(tested.run, choice) if save and choice and tested.run is not None else None
    if curve is not None:
        _draw_threshold_curve(curve, at_cut)
    cut = threshold_report_as_json(at_cut) | {"saved": saved.as_posix() if saved else None} if at_cut else None
    out = Output(json=as_json)
    out.document(lambda: evaluation_as_json(evaluation) | {"operating_point": cut})
    _show_evaluation(out, name_arms([subject])[0], evaluation)
    if at_cut is not None:
        _show_at_cut(out, evaluation, at_cut)
    if saved is not None:
        out.line(f"Saved as {saved}; 'trainer predict' decides by it.")
    if curve is not None:
        out.line(f"Curve: {curve}")


def _choose_for_run(
    run: Path, data: Path | None, validation: Path | None, normal: str, abnormal: str, max_miss_rate: float
) -> ThresholdChoice:
    from ..evaluation.threshold_choice import choose_for_run

    if validation is not None:
        raise click.UsageError(f"{run} is a run, which uses DATA/val itself; leave --validation out")
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


def _draw_threshold_curve(curve: Path, at_cut: ThresholdReport | None) -> None:
    from ..report.standalone_figures import draw_curve

    if at_cut is None:
        raise click.UsageError("--curve marks the cut that was chosen, and there is none; add --max-miss-rate")
    draw_curve(curve, at_cut)


def _show_evaluation(out: Output, name: str, evaluation: Evaluation) -> None:
    """Print the rates by the predicted class, with counts and intervals."""
    from ..evaluation.metrics import NAMED_WRONG, RATE_DEFINITIONS

    bounds = evaluation.intervals
    groups = f" in {bounds.groups} groups" if bounds.groups else ""
    out.line(f"{name}: Normal/Abnormal on {evaluation.images} images{groups}", bold=True)
    definitions, rates = list(RATE_DEFINITIONS), dict(evaluation.binary.rates)
    if evaluation.named_wrong is not None:
        definitions.append(NAMED_WRONG)
        rates[NAMED_WRONG.key] = evaluation.named_wrong
    rows = []
    for one in definitions:
        rate = rates[one.key]
        figures = [percent(rate.value), rate.fraction, percent_range(bounds.rates[one.key])]
        rows.append([f"{one.english}\n{one.chinese}", one.formula, *figures])
    for names, value, interval in (
        ("AUROC\n曲线下面积", evaluation.auroc, bounds.auroc),
        ("average precision\n平均精度", evaluation.average_precision, bounds.average_precision),
    ):
        rows.append([names, "of 1-p(Normal)", number(value), "", plain_range(interval)])
    out.table(["rate", "formula", "value", "count", "95 % interval"], rows, align="llrrr")
    out.line(f"{_counts(evaluation.binary)}. Defective: predicted class is not {evaluation.normal}.")
    if evaluation.multiclass is None:
        reason = text(evaluation.multiclass_reason) if evaluation.multiclass_reason else ""
        out.line(f"Multi-class rates are undefined: {reason}.")
    else:
        _show_classes(out, evaluation.multiclass, bounds)
    out.line(f"Intervals (95 %) of rates: {bounds.rates_by}. Of means and areas: {bounds.scores_by}.")
    for warning in evaluation.warnings:
        out.line(f"Note: {text(warning)}.")


def _counts(counts: BinaryCounts) -> str:
    return f"TP {counts.tp}  FN {counts.fn}  FP {counts.fp}  TN {counts.tn}"


def _show_at_cut(out: Output, evaluation: Evaluation, at_cut: ThresholdReport) -> None:
    """Print what the chosen cut promises and achieves, beside the rates by the predicted class."""
    from ..evaluation.metrics import RATE_DEFINITIONS

    point, test = at_cut.point, at_cut.test
    out.line()
    out.line(f"Operating point: defective when 1-p({point.normal}) >= {point.cut:.6g}", bold=True)
    if point.k is not None and point.n_defects is not None and point.max_miss_rate is not None:
        out.line(
            f"The cut is number {point.k} from below of {point.n_defects} validation defects' scores: of new defects "
            f"like them, no more than {percent(at_cut.promised_miss_rate)} are missed on average over validation sets "
            f"(asked for: {100 * point.max_miss_rate:.4g} %); one cut from {point.n_defects} has its own miss rate, "
            f"{percent_range(at_cut.promise_range)} in 95 of 100 cases."
        )
    rates = test.binary.rates
    rows = [
        [
            f"{one.english} {one.chinese}",
            percent(evaluation.binary.rates[one.key].value),
            percent(rates[one.key].value),
            rates[one.key].fraction,
            percent_range(test.intervals[one.key]),
        ]
        for one in RATE_DEFINITIONS
    ]
    out.table(["rate on test", "by class", "at the cut", "count", "95 % interval"], rows)
    out.line(f"At the cut: {_counts(test.binary)}.")
    if at_cut.validation is not None:
        known = at_cut.validation.binary.rates
        out.line(
            f"On validation, where it was chosen: miss rate {percent(known['miss_rate'].value)} "
            f"({known['miss_rate'].fraction}), overkill rate {percent(known['overkill_rate'].value)} "
            f"({known['overkill_rate'].fraction})."
        )
    promised = f"{100 * point.max_miss_rate:.4g} %" if point.max_miss_rate is not None else "not said"
    filtered, missed = rates["false_call_filter_rate"], rates["miss_rate"]
    out.line(
        f"False-call filter rate 假点过滤率 {percent(filtered.value)} ({filtered.fraction}) "
        f"at a miss rate of {percent(missed.value)} ({missed.fraction}); promised: {promised}.",
        bold=True,
    )
    for note in at_cut.notes:
        out.line(f"Note: {text(note)}.")


def _show_classes(out: Output, scores: MulticlassScores, bounds: EvaluationIntervals) -> None:

    rows = [
        [
            one.name,
            f"{percent(one.precision.value)} {one.precision.fraction}\n{percent_range(interval.precision, digits=1)}",
            f"{percent(one.recall.value)} {one.recall.fraction}\n{percent_range(interval.recall, digits=1)}",
            f"{number(one.f1)}\n{plain_range(interval.f1) if interval.f1 else ''}",
            str(one.support),
        ]
        for one, interval in zip(scores.per_class, bounds.per_class, strict=True)
    ]
    out.table(["class", "precision", "recall", "F1", "support"], rows)
    means = (
        ("macro precision", scores.macro_precision, bounds.macro_precision),
        ("macro recall", scores.macro_recall, bounds.macro_recall),
        ("weighted precision", scores.weighted_precision, bounds.weighted_precision),
    )
    out.line("  ".join(f"{name} {number(value)} ({plain_range(interval)})" for name, value, interval in means))
    out.line(
        f"macro-F1 {number(scores.macro_f1)} ({plain_range(bounds.macro_f1)})  weighted F1 "
        f"{number(scores.weighted_f1)} ({plain_range(bounds.weighted_f1)})  multi-class accuracy "
        f"{percent(scores.accuracy.value)} ({scores.accuracy.fraction}, {percent_range(bounds.accuracy)})"
    )
    # Columns go by number: names of many classes would not fit a terminal.
    numbers = [str(place) for place in range(1, len(scores.per_class) + 1)]
    out.table(
        ["", *numbers],
        [
            [f"{place} {one.name}", *map(str, row)]
            for place, one, row in zip(numbers, scores.per_class, scores.confusion, strict=True)
        ],
        title="rows: true; columns: predicted",
    )


@click.command()
@click.argument("subject", metavar="RUN|results.csv", type=PATH)
@click.option("--window", type=click.IntRange(min=8), help="Last epochs to read slopes from; otherwise 40 %.")
@click.option("--classes", type=click.IntRange(min=2), help="Number of classes, if the run does not say.")
@click.option("--label-smoothing", type=click.FloatRange(0, 1), help="Of the training loss, if the run does not say.")
@click.option("-o", "figure", metavar="PNG", type=PATH, help="Draw the curves with window and slopes.")
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
    finished if the learning rate is used up or everything is learned. Training rises: diverging. Anything else,
    or anything that noise hides: inconclusive. YOLOv5's own results.csv can be read too; a folder of seed-* runs
    is diagnosed run by run. The exit code is 0 for every diagnosis, and 1 for a file that cannot be read.

    \b
    Examples:
      trainer diagnose runs/baseline
      trainer diagnose runs/baseline -o curves.png
      trainer diagnose yolov5/runs/train-cls/exp/results.csv --classes 7 --json
    """
    from ..evaluation.diagnosis import diagnose as judge
    from ..evaluation.history import find_recorded_trainings

    options: dict[str, Any] = {"classes": classes, "label_smoothing": label_smoothing}
    given = {name: value for name, value in options.items() if value is not None}
    results = [
        (one, judge(one.history.epochs, replace(one.conditions, **given), window=window))
        for one in find_recorded_trainings(subject)
    ]
    drawings = {} if figure is None else _draw(figure, results)
    out = Output(json=as_json)
    out.document([_diagnosis_as_json(one, diagnosis, drawings.get(one.path)) for one, diagnosis in results])
    for one, diagnosis in results:
        out.line(f"{one.name}: {text(diagnosis.line)}.")
        for sentence in diagnosis.advice:
            out.line(f"  - {text(sentence)}")
        if one.upstream:
            out.line("  Read from YOLOv5's own record: it has no macro-F1, and its --lr is --lr0.")
        if one.path in drawings:
            out.line(f"  Curves: {drawings[one.path]}")


def _draw(figure: Path, results: list[tuple[RecordedTraining, Diagnosis]]) -> dict[Path, Path]:
    """results.csv -> its drawing; with several runs, the run's name is put before the suffix."""
    from sdcore.files import write_bytes_atomically

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


def _diagnosis_as_json(one: RecordedTraining, diagnosis: Diagnosis, drawing: Path | None) -> dict[str, Any]:
    import math

    from ..evaluation.diagnosis import describe_kind

    evidence = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(diagnosis.evidence).items()
    }
    return {
        "run": one.path.parent.as_posix(),
        "kind": diagnosis.kind,
        "chinese": text(describe_kind(diagnosis.kind), "zh"),
        "line": text(diagnosis.line),
        "advice": [text(one) for one in diagnosis.advice],
        "epochs": len(one.history.epochs),
        "upstream": one.upstream,
        "figure": None if drawing is None else drawing.as_posix(),
        "evidence": evidence,
    }
