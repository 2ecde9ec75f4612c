"""The command `train`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import INTERRUPTED, PATH, Output

if TYPE_CHECKING:
    from ..diffusion.train import TrainResult


@click.command()
@click.argument("data", metavar="DATA/train", type=PATH)
@click.option("-o", "--output", "folder", metavar="MODEL", required=True, type=PATH, help="Folder for the model.")
@click.option("--minutes", type=float, help="Minutes to train; the time of earlier starts counts.")
@click.option("--steps", type=int, help="Steps to train.")
@click.option("--size", "size_px", default=64, show_default=True, help="Side in pixels of the training images.")
@click.option("--flips", is_flag=True, help="Mirror images; only if a mirrored part could be a real one.")
@click.option(
    "--quarter-turns", is_flag=True, help="Turn images by 90 degrees; only if parts may lie in any direction."
)
@click.option(
    "--val",
    metavar="FOLDER",
    type=PATH,
    help="Held-out images, one folder per class. Without it: 'val' beside 'train', else --val-share.",
)
@click.option("--val-share", default=0.1, show_default=True, help="Share of each class held out if there is no val.")
@click.option(
    "--balance/--no-balance", default=True, show_default=True, help="Draw every class equally often, not every image."
)
@click.option("--batch-size", default=32, show_default=True, help="Images per step.")
@click.option("--lr", default=5e-4, show_default=True, help="Highest learning rate.")
@click.option(
    "--widths",
    default="96,128,192",
    show_default=True,
    metavar="N,N,..",
    help="Channels of the network's levels. 64,64,96 makes a small model of a few MB.",
)
@click.option("--layers", default=2, show_default=True, help="Residual blocks per level.")
@click.option(
    "--packing",
    default=4,
    show_default=True,
    help="Side in pixels of the square that becomes one position of the network; 2 is slower and finer.",
)
@click.option(
    "--keep",
    default="best",
    show_default=True,
    type=click.Choice(["best", "last"]),
    help="Save the weights of the lowest validation loss, or the latest.",
)
@click.option("--half", is_flag=True, help="Save the weights in 16 bits: half the size.")
@click.option("--save-every", default=100, show_default=True, metavar="STEPS", help="Validate and save.")
@click.option(
    "--sheet-every", default=500, show_default=True, metavar="STEPS", help="Draw sample images; 0: at the end."
)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--threads", type=int, help="CPU threads. Without it: all that this process may use.")
@click.option("--amp/--no-amp", default=True, show_default=True, help="Mixed precision, on CUDA only.")
@click.option("--overwrite", is_flag=True, help="Replace what is in MODEL.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def train(ctx: click.Context, /, **options: Any) -> None:
    """Train a diffusion model on the class folders of DATA/train; held-out images are only used to judge it.

    MODEL gets the weights in diffusers' own layout, generator.json, history.csv and sheet.png. Run the same command
    again to resume an interrupted training; with more --minutes or --steps a finished one continues too.
    'sdclient serve --engine diffusion --model MODEL' then makes images with it.

    Never give it test images: what the model learns from them would be in its images. Generated images are refused.

    \b
    Examples:
      generator train data/train -o models/pads --minutes 30 --flips --quarter-turns
      generator train data/train -o models/small --widths 64,64,96 --half --steps 3000
    """
    try:
        _train(**options)
    except KeyboardInterrupt as stop:
        Output().note(str(stop) or "stopped; the same command goes on")
        ctx.exit(INTERRUPTED)


def _train(
    data: Path, folder: Path, val: Path | None, overwrite: bool, as_json: bool, widths: str, **settings: Any
) -> None:
    from ..config import make_config
    from ..diffusion.train import train as run

    network = {name: settings.pop(name) for name in ("size_px", "packing", "layers")}
    network["widths"] = _parse_widths(widths)
    config = make_config(network=network, **settings)
    result = run(data, folder, config, val=val, overwrite=overwrite, progress=True)
    out = Output(json=as_json)
    out.document(lambda: _as_json(result))
    state = "already trained, not changed" if result.was_there else f"{result.images_per_s:.0f} images/s"
    judged = "nothing held out" if result.val_loss is None else f"validation loss {result.val_loss:.3f}"
    out.line(
        f"{result.folder}: {result.steps} steps in {result.minutes:.1f} min, training loss {result.train_loss:.3f}, "
        f"{judged} (weights of step {result.weights_of_step}; {state})"
    )
    for note in result.notes:
        out.line(f"  note: {note}")
    out.line(f"  next: sdclient serve --engine diffusion --model {result.folder}")


def _as_json(result: TrainResult) -> dict[str, Any]:
    fields = asdict(result)
    return {"model": fields.pop("folder").as_posix(), **fields}


def _parse_widths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: expected numbers like 96,128,192", param_hint="--widths") from error
