"""The commands `predict`, `explain` and `export`, which run a trained classifier."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import PATH, Output

if TYPE_CHECKING:
    from ..models.classifier import Format
    from ..models.image_list import ImageList, Labels

_STDIN = "-"


@click.command()
@click.argument("run", metavar="RUN", type=PATH)
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True)
@click.option("-o", "--output", default=Path("predictions.csv"), type=PATH, help="CSV to write.")
@click.option(
    "--features",
    type=PATH,
    metavar="NPZ",
    help="Also write the input of the last layer: features (N, D) float32, images, labels, classes.",
)
@click.option(
    "--labels",
    default="auto",
    type=click.Choice(["auto", "parent", "none"]),
    help="True classes: the names of the folders in a single folder (auto), each image's own folder (parent), or none.",
)
@click.option("--skip-unreadable", is_flag=True, help="Skip images that cannot be read; exit code 1 if any.")
@click.option(
    "--batch-size",
    metavar="N",
    type=int,
    help="Images a step.  [default: the fastest, 64 of 64 px or 16 of 224 px on a CPU; 64 on a GPU]",
)
@click.option("--threads", default=1, help="CPU threads of the network in each worker.")
@click.option(
    "--workers",
    metavar="N",
    type=int,
    help="Threads that each read and predict a batch; 0 uses none.  [default: one a core, at most 8, over --threads]",
)
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
def predict(
    run: Path, images: tuple[str, ...], output: Path, features: Path | None, labels: Labels, **options: Any
) -> None:
    """Predict the class of IMAGES with the classifier of RUN.

    RUN is a run folder, its .pt file, or a file that 'trainer export' made (a TorchScript file is a program:
    use only one that you trust). IMAGES are folders, image files, patterns in quotes such as
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
    listed = _list(images, labels)  # before the heavy libraries, so that a mistake shows at once

    from ..models.predict import PredictOptions, predict as predict_images, write_stream

    settings = PredictOptions(with_features=features is not None, **options)
    stream = predict_images(run, listed, settings, progress=True)
    count = write_stream(stream, output, features=features)
    out = Output()
    out.line(f"{count} images, predictions in {output}" + (f", features in {features}" if features else ""))
    if stream.repeats:
        out.note(f"{stream.repeats} named more than once, predicted once")
    if stream.unreadable:
        for one in stream.unreadable:
            out.note(one.reason)
        out.note(f"{len(stream.unreadable)} of {stream.total} images were passed over, named above")
        raise click.exceptions.Exit(1)


def _list(images: tuple[str, ...], labels: Labels) -> ImageList:
    from ..models.image_list import list_files, list_named_images, read_paths

    if _STDIN not in images:
        return list_named_images(images, labels=labels)
    if len(images) > 1:
        raise click.UsageError("'-' reads the whole list from standard input; name nothing else")
    return list_files(read_paths(sys.stdin.buffer), labels=labels, source="standard input")


@click.command()
@click.argument("run", metavar="RUN", type=PATH)
@click.argument("images", metavar="IMAGES", type=PATH)
@click.option(
    "-o", "--output", metavar="DIR", default=Path("explained"), type=PATH, help="New or empty folder to write into."
)
@click.option("--class", "class_name", metavar="NAME", help="Explain this class, in every image.")
@click.option("--normal", default="Normal", metavar="NAME", help="The class of images without a defect.")
@click.option(
    "--even-normal", is_flag=True, help="Also explain images predicted Normal: what looks most like a defect."
)
@click.option("--limit", type=int, metavar="N", help="Only the first N images.")
@click.option("--batch-size", default=32, help="Images a step.")
@click.option("--threads", default=1, help="CPU threads; small images do not gain from more.")
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--json", "as_json", is_flag=True, help="Print the rows of explain.csv as one JSON document.")
def explain(
    run: Path, images: Path, output: Path, class_name: str | None, normal: str, as_json: bool, **options: Any
) -> None:
    """Show where the classifier of RUN looked, in every image below IMAGES (or in one image).

    DIR gets overlays/<image>.png (the image, and its heat map with a box around the hottest region), explain.csv
    (boxes in pixels of the upright image) and index.html to browse them. The heat shows what speaks for a defect
    and against Normal; images predicted Normal get none.

    \b
    Examples:
      trainer explain runs/baseline data/test -o explained
      trainer explain runs/baseline data/test/open --class short --limit 20 --json
    """
    from ..models.explain import ANY_DEFECT, ExplainOptions, explain as explain_images, explanation_as_row
    from ..report.overlays import PAGE_NAME, check_output, write_folder

    check_output(output, images)
    settings = ExplainOptions(class_name=class_name, normal=normal, **options)
    written = write_folder(output, explain_images(run, images, settings))
    out = Output(json=as_json)
    if class_name is None and any(row.explained not in ("", ANY_DEFECT) for row in written.rows):
        out.note(
            f"No class is named {normal!r}, so the predicted class is explained in every image; "
            "give the name of the class without defects with --normal"
        )
    out.document(lambda: [explanation_as_row(row) for row in written.rows])
    boxes = sum(row.box is not None for row in written.rows)
    out.line(f"{len(written.rows)} images, {boxes} with a box; look at {output / PAGE_NAME}")
    for instead, name in written.legend.items():
        out.line(f"no font here can write {name}; in the overlays it is {instead!r}")


@click.command()
@click.argument("run", metavar="RUN", type=PATH)
@click.option("--format", "kind", default="onnx", type=click.Choice(["onnx", "torchscript"]))
@click.option("-o", "--output", type=PATH, help="File to write.  [default: RUN/best.onnx or RUN/best.torchscript]")
@click.option(
    "--images",
    type=PATH,
    metavar="FOLDER",
    help="Real images for the check.  [default: val/ of the data RUN was trained on]",
)
@click.option(
    "--features", "with_features", is_flag=True, help="A second output: the input of the last linear layer, (N, D)."
)
@click.option("--threads", default=1, help="CPU threads of the check.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def export(
    run: Path, kind: Format, output: Path | None, images: Path | None, with_features: bool, threads: int, as_json: bool
) -> None:
    """Write the classifier of RUN as one ONNX or TorchScript file for another program.

    Its input `images` is uint8 (N, 3, size, size): R, G, B from 0 to 255, any N; it normalises by itself. Its
    output `probabilities` is float32 (N, classes), softmax. The file also holds, in metadata_props (ONNX) or
    extra/sd-defects.json (TorchScript): class names, size, resizing method, mean and std, the operating point
    if RUN has one, model, version and the sha256 of the checkpoint.

    The file is then run on up to 64 real images; if a probability differs from torch by more than 1e-4, the
    export fails and no file is left. 'trainer predict FILE IMAGES' takes it in place of RUN.

    \b
    Examples:
      trainer export runs/baseline
      trainer export runs/baseline --features              (for 'generator report --classifier')
      trainer export runs/baseline --format torchscript -o baseline.torchscript --images photos
    """
    from ..models.export import PARITY_TOLERANCE, export as write, export_as_json

    done = write(run, output, format=kind, images=images, threads=threads, with_features=with_features)
    out = Output(json=as_json)
    out.document(lambda: export_as_json(done))
    out.line(f"{done.path}: {kind}, {done.size_bytes / 1e6:.1f} MB, {len(done.classes)} classes, {done.imgsz} px")
    out.line(
        f"largest difference from torch: {done.max_abs_difference:.2g} in a probability, over {done.parity_images} "
        f"images of {done.parity_source} (allowed: {PARITY_TOLERANCE:g})"
    )
    if done.features_difference is not None:
        out.line(f"largest difference of a feature: {done.features_difference:.2g} of the largest feature")
    if done.point is not None:
        out.line(f"operating point: NG when 1 - p({done.point.normal}) >= {done.point.cut:.6g}")
