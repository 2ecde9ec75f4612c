"""The command `lora`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import INTERRUPTED, PATH, Output

if TYPE_CHECKING:
    from ..lora.base_model import Prediction
    from ..lora.train import LoraResult

_EPILOG = """\b
Examples:
  generator lora data/train --base v1-5-pruned.safetensors -o defects.safetensors
  generator lora data/train --base sdxl/ -o defects.safetensors --minutes 60 --micro-batch 1 \\
      --gradient-checkpointing --caption "macro photo of a circuit board, {class}"
Then copy defects.safetensors into the WebUI's models/Lora and give 'sdclient generate' --lora defects:0.8.
After an interruption, run the same command again: it continues from the last saved state."""


@click.command(epilog=_EPILOG)
@click.argument("data", type=PATH)
@click.option("--base", required=True, type=PATH, help="SD 1.x or SDXL: .safetensors or folder.")
@click.option("-o", "--output", required=True, type=PATH, help="The LoRA: NAME.safetensors.")
@click.option(
    "--tokenizer",
    type=PATH,
    help="CLIP's vocabulary, for a base in one file: the WebUI's folder, a diffusers folder, or the vocabulary file.",
)
@click.option(
    "--base-config", type=PATH, help="A diffusers folder that describes the parts of an unusual base in one file."
)
@click.option(
    "--prediction", type=click.Choice(["epsilon", "v"]), help="What the base predicts, if its file says it wrongly."
)
@click.option(
    "--caption", help='Template; {class} is replaced by the class  [default: "photo of a circuit board, {class}"]'
)
@click.option(
    "--captions",
    "captions_file",
    type=PATH,
    help="TOML: [class] words and [caption] whole captions by class. A .txt beside an image takes precedence.",
)
@click.option("--steps", type=int, help="Optimiser steps  [default: 1500, unless --minutes is given]")
@click.option("--minutes", type=float, help="Time for training; with --steps, whichever ends first.")
@click.option("--rank", type=int, default=16, show_default=True, help="Rank of the update.")
@click.option("--alpha", type=float, help="The update is scaled by alpha / rank  [default: the rank]")
@click.option(
    "--targets",
    type=click.Choice(["attention", "transformer"]),
    default="attention",
    show_default=True,
    help="Layers of the UNet: attention only, or all of its transformer blocks.",
)
@click.option("--text-encoder", is_flag=True, help="Adapt the text encoder too.")
@click.option("--lr", type=float, default=1e-4, show_default=True, help="Learning rate of the UNet's part.")
@click.option("--text-encoder-lr", type=float, default=5e-5, show_default=True, help="Of the text encoder's part.")
@click.option("--warmup-steps", type=int, default=50, show_default=True, help="Steps until the full learning rate.")
@click.option("--batch", type=int, default=4, show_default=True, help="Images per optimiser step.")
@click.option("--micro-batch", type=int, help="Images in memory at once; their gradients are added up.")
@click.option("--size", "size_px", type=int, help="Side in px, a multiple of 64  [default: 512, SDXL 1024]")
@click.option(
    "--flip",
    "flips",
    type=click.Choice(["horizontal", "vertical"]),
    multiple=True,
    help="Train on mirrored images too, if a mirrored board is possible. Repeatable.",
)
@click.option("--no-balance", is_flag=True, help="Draw every image equally often, not every class.")
@click.option("--min-snr", type=float, help="Gamma of min-SNR weighting, usually 5.")
@click.option("--clip-skip", type=int, default=1, show_default=True, help="As in the WebUI; no effect for SDXL.")
@click.option("--gradient-checkpointing", is_flag=True, help="Less memory, about a third more time.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "fp16", "bf16"]),
    default="auto",
    show_default=True,
    help="On CUDA.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--save-every", type=int, default=250, show_default=True, help="Steps between two saved states.")
@click.option("--sample-every", type=int, default=0, help="Steps between two sheets of sample images.")
@click.option("--half", is_flag=True, help="Write float16: half the size.")
@click.option("--restart", is_flag=True, help="Start again from step 0.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary instead of words.")
def lora(
    data: Path,
    base: Path,
    output: Path,
    tokenizer: Path | None,
    base_config: Path | None,
    prediction: str | None,
    caption: str | None,
    captions_file: Path | None,
    steps: int | None,
    minutes: float | None,
    no_balance: bool,
    device: str,
    half: bool,
    restart: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Adapt your own Stable Diffusion to the defects in DATA/<class>/, as a LoRA for a WebUI.

    Training needs a GPU; docs/lora.md says how much memory. BASE is not changed; nothing is downloaded.
    """
    from sdcore.progress import deferred_interrupts

    from ..config import LoraSettings
    from ..lora.dataset import DEFAULT_TEMPLATE, read_captions
    from ..lora.train import BaseChoice, LoraOptions, train_lora

    steps = 1500 if steps is None and minutes is None else steps
    chosen = LoraSettings(steps=steps, minutes=minutes, balance=not no_balance, **settings)
    rules = read_captions(captions_file, caption or DEFAULT_TEMPLATE)
    prediction_type: Prediction | None = "v_prediction" if prediction == "v" else "epsilon" if prediction else None
    choice = BaseChoice(base, tokenizer, base_config, prediction_type)
    options = LoraOptions(device=device, half=half, restart=restart, progress=True)
    with deferred_interrupts() as should_stop:
        result = train_lora(data, output, choice, chosen, rules, options=options, should_stop=should_stop)
    out = Output(json=as_json)
    out.document(lambda: {**asdict(result), "output": str(result.output)})
    out.line(_words(result))
    if result.stopped:
        raise click.exceptions.Exit(INTERRUPTED)


def _words(result: LoraResult) -> str:
    run_file = result.output.with_name(f"{result.output.stem}-training") / "run.toml"
    lines = [
        f"{result.family}: {result.images} images 图像, {result.steps} steps 步, {result.seconds / 60:.1f} min 分钟",
        f"Loss 损失: {result.first_loss:.4f} at first, {result.last_loss:.4f} at last (means of a tenth of the steps)",
    ]
    if result.stopped:
        lines.append(f"Stopped; {result.output} holds the result so far, and the same command goes on from there.")
    else:
        lines.append(f"Wrote {result.output}. Copy it into the WebUI's models/Lora, then for example:")
        lines.append(f"  sdclient generate SOURCES OUTPUT --plan plan.csv --config {run_file}")
    return "\n".join(lines)
