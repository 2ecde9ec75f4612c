"""`trainer predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..image_list import ImageList, Labels

_STDIN = "-"


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    default=Path("predictions.csv"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="CSV to write.",
)
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    metavar="NPZ",
    help="Also write what the last layer sees of each image: features (N, D) float32, images, labels, classes.",
)
@click.option(
    "--labels",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "parent", "none"]),
    help="True classes: of a single folder, the names of the folders in it (auto); each image's own folder"
    " (parent); or none.",
)
@click.option("--skip-unreadable", is_flag=True, help="Pass over images that cannot be read; exit code 1 if any.")
@click.option(
    "--batch-size",
    metavar="N",
    type=int,
    help="Images a step.  [default: the quickest, 64 of 64 px or 16 of 224 px on a CPU; 64 on a GPU]",
)
@click.option("--threads", default=1, show_default=True, help="CPU threads of the network in each worker.")
@click.option(
    "--workers",
    metavar="N",
    type=int,
    help="Threads, each of which reads a batch and looks at it; 0 does one after the other.  [default: one a core, at "
    "most 8, over --threads]",
)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def predict(
    run: Path,
    images: tuple[str, ...],
    output: Path,
    features: Path | None,
    labels: Labels,
    skip_unreadable: bool,
    batch_size: int | None,
    threads: int,
    workers: int | None,
    device: str,
) -> None:
    """Let the classifier of RUN look at IMAGES.

    RUN is a run folder, a .pt file of one, or a file that 'trainer export' made (a TorchScript file is a program:
    use none that you do not trust). IMAGES are folders, image files, patterns in quotes such as
    'photos/**/*.png', or - for a list on standard input: UTF-8, one path a line, or each ended by NUL.

    The CSV has the columns image (relative to IMAGES where that is a single folder, else the path as named),
    label (see --labels; empty when unknown), predicted, one p_<class> per class, and, where an operating point
    was chosen for RUN, decision: NG when 1 - p(Normal) reaches its cut, else OK. An image named twice is
    predicted once. Memory does not grow with the number of images beyond the list of their names.

    \b
    Examples:
      trainer predict runs/baseline data/test -o predictions.csv
      trainer predict runs/baseline "line3/**/*.bmp" line4 --skip-unreadable
      find photos -name "*.png" -print0 | trainer predict runs/baseline/best.onnx -
    """
    listed = _list(images, labels)  # before the heavy libraries, so that a slip of the pen shows at once

    from ..predict import PredictOptions, write_stream
    from ..predict import predict as look

    options = PredictOptions(
        batch_size=batch_size,
        device=device,
        threads=threads,
        workers=workers,
        with_features=features is not None,
        skip_unreadable=skip_unreadable,
    )
    stream = look(run, listed, options, progress=True)
    count = write_stream(stream, output, features=features)
    click.echo(f"{count} images, predictions in {output}" + (f", features in {features}" if features else ""))
    if stream.repeats:
        click.echo(f"{stream.repeats} named more than once, predicted once", err=True)
    if stream.unreadable:
        for one in stream.unreadable:
            click.echo(one.reason, err=True)
        click.echo(f"{len(stream.unreadable)} of {stream.total} images were passed over, named above", err=True)
        raise click.exceptions.Exit(1)


def _list(images: tuple[str, ...], labels: Labels) -> ImageList:
    from ..image_list import list_files, list_named_images, read_paths

    if _STDIN not in images:
        return list_named_images(images, labels=labels)
    if len(images) > 1:
        raise click.UsageError("'-' reads the whole list from standard input; name nothing beside it")
    return list_files(read_paths(sys.stdin.buffer), labels=labels, source="standard input")
