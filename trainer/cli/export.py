"""`trainer export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..exported import Format


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--format", "kind", default="onnx", show_default=True, type=click.Choice(["onnx", "torchscript"]))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write.  [default: RUN/best.onnx or RUN/best.torchscript]",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Real images for the check.  [default: val/ of the data RUN was trained on]",
)
@click.option(
    "--features", "with_features", is_flag=True, help="A second output: what the last linear layer sees, (N, D)."
)
@click.option("--threads", default=1, show_default=True, help="CPU threads of the check.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def export(
    run: Path,
    kind: Format,
    output: Path | None,
    images: Path | None,
    with_features: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Write the classifier of RUN as one ONNX or TorchScript file for another program.

    Its input `images` is uint8 (N, 3, size, size): R, G, B from 0 to 255, any N; it normalises by itself. Its
    output `probabilities` is float32 (N, classes), softmax. The file also holds, in metadata_props (ONNX) or
    extra/sd-defects.json (TorchScript): class names, size, way of resizing, mean and std, the operating point
    if RUN has one, model, version and the sha256 of the checkpoint.

    It is then run on up to 64 real images; where a probability differs from torch by more than 1e-4, the
    export fails and no file is left. 'trainer predict FILE IMAGES' uses it as it does RUN.

    \b
    Examples:
      trainer export runs/baseline
      trainer export runs/baseline --features              (for 'generator report --classifier')
      trainer export runs/baseline --format torchscript -o baseline.torchscript --images photos
    """
    import json

    from ..export import export as write
    from ..export import export_as_json
    from ..export_parity import PARITY_TOLERANCE

    done = write(run, output, format=kind, images=images, threads=threads, with_features=with_features)
    if as_json:
        click.echo(json.dumps(export_as_json(done), ensure_ascii=False, indent=2))
        return
    click.echo(f"{done.path}: {kind}, {done.size_bytes / 1e6:.1f} MB, {len(done.classes)} classes, {done.imgsz} px")
    click.echo(
        f"largest difference from torch: {done.max_abs_difference:.2g} in a probability, over {done.parity_images} "
        f"images of {done.parity_source} (allowed: {PARITY_TOLERANCE:g})"
    )
    if done.features_difference is not None:
        click.echo(f"largest difference of a feature: {done.features_difference:.2g} of the largest feature")
    if done.point is not None:
        click.echo(f"operating point: NG when 1 - p({done.point.normal}) >= {done.point.cut:.6g}")
