"""`trainer diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..diagnose import Diagnosis
    from ..recorded import Recorded


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

    from ..diagnose import diagnose as judge
    from ..messages import text
    from ..recorded import find_recorded

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


def _draw(figure: Path, results: list[tuple[Recorded, Diagnosis]]) -> dict[Path, Path]:
    """results.csv -> its drawing; with several runs, the run's name is put before the suffix."""
    from sdcore.files import write_bytes_atomically

    from ..errors import SettingsError
    from ..report.diagnosis_figure import draw_diagnosis

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


def _as_json(one: Recorded, diagnosis: Diagnosis, drawing: Path | None) -> dict[str, Any]:
    import math
    from dataclasses import asdict

    from ..diagnosis_words import kind_name
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
