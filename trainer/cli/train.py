"""`trainer train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("data", metavar="DATA", type=_FOLDER)
@click.option("-o", "--output", "run", metavar="RUN", required=True, type=_FOLDER, help="Folder to write the run into.")
@click.option(
    "--generated",
    metavar="OUTPUT",
    multiple=True,
    type=_FOLDER,
    help="Folder of 'sdclient generate' whose images join training only. May be repeated.",
)
@click.option(
    "--control-for",
    metavar="OUTPUT",
    multiple=True,
    type=_FOLDER,
    help="For each image of this folder its real source joins once more: as many images, real pixels only.",
)
@click.option(
    "--model",
    default="yolov5n-cls",
    show_default=True,
    type=click.Choice(["yolov5n-cls", "yolov5s-cls", "yolov5m-cls", "yolov5l-cls", "yolov5x-cls"]),
    help="From small and fast to large and slow.",
)
@click.option("--epochs", default=30, show_default=True, help="Rounds of training, each judged on DATA/val.")
@click.option("--imgsz", default=64, show_default=True, help="Side in pixels images are resized to, 32 times n.")
@click.option("--batch-size", default=32, show_default=True, help="Images a step.")
@click.option(
    "--seed",
    "seeds",
    default=(0,),
    show_default=True,
    multiple=True,
    help="Repeat it for several runs, RUN/seed-0, RUN/seed-1, ...",
)
@click.option(
    "--images-per-epoch", type=int, help="Images seen in an epoch; give two arms the same for an equal number of steps."
)
@click.option("--lr", default=1e-3, show_default=True, help="Highest learning rate.")
@click.option(
    "--balance/--no-balance",
    default=False,
    show_default=True,
    help="Draw every class equally often: fewer misses, more overkill.",
)
@click.option("--weights", metavar="FILE", type=_FOLDER, help="Run, or checkpoint of one, to start from.")
@click.option("--threads", default=1, show_default=True, help="CPU threads; small images do not gain from more.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--overwrite", is_flag=True, help="Replace a finished run of other settings or images.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def train(
    data: Path,
    run: Path,
    generated: tuple[Path, ...],
    control_for: tuple[Path, ...],
    seeds: tuple[int, ...],
    weights: Path | None,
    overwrite: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a YOLOv5 classifier on DATA/train; DATA/val chooses the best epoch, DATA/test is left alone.

    RUN gets config.json, data.json, environment.json, results.csv, best.pt and last.pt. Started again, a
    finished run of the same settings and images is left as it is, and an interrupted one is trained anew.

    \b
    Examples:
      trainer train data -o runs/baseline
      trainer train data --generated output -o runs/augmented --seed 0 --seed 1 --seed 2
      trainer train data --control-for output -o runs/control
    """
    import json

    from ..config import make_config
    from ..train import train as train_runs

    config = make_config(seed=seeds[0], weights=None if weights is None else str(weights), **settings)
    results = train_runs(
        data,
        run,
        config,
        seeds=seeds,
        generated=generated,
        control_for=control_for,
        overwrite=overwrite,
        progress=True,
    )
    if as_json:
        document = [
            {
                "run": result.run.as_posix(),
                "seed": result.seed,
                "epochs": result.epochs,
                "best_epoch": result.best.epoch,
                "val_macro_f1": result.best.val_macro_f1,
                "val_accuracy": result.best.val_accuracy,
                "images_per_s": result.images_per_s,
                "was_there": result.was_there,
            }
            for result in results
        ]
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    for result in results:
        state = "was trained already, left as it is" if result.was_there else f"{result.images_per_s:.0f} images/s"
        click.echo(
            f"{result.run}: best epoch {result.best.epoch} of {result.epochs}, "
            f"validation macro-F1 {result.best.val_macro_f1:.3f}, accuracy {result.best.val_accuracy:.3f} ({state})"
        )
