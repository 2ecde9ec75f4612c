"""`trainer predict`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGES", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    default=Path("predictions.csv"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="CSV to write.",
)
@click.option("--batch-size", default=64, show_default=True, help="Images a step.")
@click.option("--threads", default=1, show_default=True, help="CPU threads; small images do not gain from more.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def predict(run: Path, images: Path, output: Path, batch_size: int, threads: int, device: str) -> None:
    """Let the classifier of RUN (a run folder, or a .pt file of one) look at every image below IMAGES.

    The CSV has the columns image (relative to IMAGES), label (the name of the folder an image lies in, empty
    for one that lies directly in IMAGES), predicted, and one p_<class> per class.

    \b
    Example:
      trainer predict runs/baseline data/test -o predictions.csv
    """
    from ..predict import predict_folder
    from ..predictions import write_predictions

    found = predict_folder(run, images, batch_size=batch_size, threads=threads, device=device, progress=True)
    write_predictions(output, found.images, found.labels, found.classes, found.probabilities)
    click.echo(f"{len(found.images)} images, predictions in {output}")
