"""`trainer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..arms import SeedPredictions
    from ..at_cut import AtCut
    from ..choosing import Choice


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

    from ..arms import load_one, name_arms
    from ..at_cut import at_cut_as_json, judge_at
    from ..evaluate import evaluate as judge
    from ..evaluate import evaluation_as_json
    from ..operating_point_file import read_operating_point

    if max_miss_rate is not None:
        from ..operating_point import defects_needed

        defects_needed(max_miss_rate)  # refuses a rate that is none before any work
    if curve is not None:
        from ..report.cut_figure import check_suffix

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
        at_cut = judge_at(
            point,
            tested.predictions,
            choice.validation if choice else None,
            normal=normal,
            abnormal=abnormal,
            notes=choice.notes if choice else (),
        )
    saved = _save(tested, choice) if save else None
    if curve is not None:
        _draw(curve, at_cut)
    if as_json:
        cut = at_cut_as_json(at_cut) | {"saved": saved.as_posix() if saved else None} if at_cut else None
        click.echo(json.dumps(evaluation_as_json(evaluation) | {"operating_point": cut}, indent=2))
        return

    from ._evaluation import show_at_cut, show_evaluation

    show_evaluation(name_arms([subject])[0], evaluation)
    if at_cut is not None:
        show_at_cut(evaluation, at_cut)
    if saved is not None:
        click.echo(f"Saved as {saved}; 'trainer predict' decides by it.")
    if curve is not None:
        click.echo(f"Curve: {curve}")


def _choose_for_run(
    run: Path, data: Path | None, validation: Path | None, normal: str, abnormal: str, max_miss_rate: float
) -> Choice:
    from ..choosing import choose_for_run

    if validation is not None:
        raise click.UsageError(f"{run} is a run, which looks at DATA/val itself; leave --validation out")
    return choose_for_run(run, data, max_miss_rate=max_miss_rate, normal=normal, abnormal=abnormal)


def _choose_from_file(
    validation: Path | None, tested: SeedPredictions, data: Path | None, normal: str, abnormal: str, rate: float
) -> Choice:
    from ..choosing import choose_from_file

    if validation is None:
        raise click.UsageError(
            "a cut is chosen on validation images, never on test images; add --validation with their predictions"
        )
    return choose_from_file(validation, tested.predictions, data, max_miss_rate=rate, normal=normal, abnormal=abnormal)


def _save(tested: SeedPredictions, choice: Choice | None) -> Path | None:
    from ..choosing import save_choice

    return save_choice(tested.run, choice) if choice is not None and tested.run is not None else None


def _draw(curve: Path, at_cut: AtCut | None) -> None:
    from ..report.cut_figure import draw_curve

    if at_cut is None:
        raise click.UsageError("--curve marks the cut that was chosen, and there is none; add --max-miss-rate")
    draw_curve(curve, at_cut)
