"""The `generator` command. Command modules import only `click` at the top, so that `--help` is instant."""

import click

from sdcore import __version__
from sdcore.cli import CommandGroup, use_utf8

from .lora import lora
from .report import report
from .train import train

_EXTRA_MODULES = frozenset(
    {"accelerate", "diffusers", "jinja2", "numpy", "peft", "safetensors", "scipy", "torch", "torchsde", "transformers"}
)


@click.group(
    cls=CommandGroup,
    extra="diffusion",
    extra_modules=_EXTRA_MODULES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="generator")
def cli() -> None:
    """Train diffusion models on your own defect images.

    \b
    A first model, and images from it:
      generator train data/train -o models/pads --minutes 30
      sdclient serve --engine diffusion --model models/pads     (in another terminal)
      sdclient generate sources output --per-source 4 --native-size 64 --url http://127.0.0.1:7861
    How good it is, whether it copies, which strengths suit each class:
      trainer export runs/real-only --features
      generator report models/pads data --classifier runs/real-only/best.onnx
    Adapt your own Stable Diffusion to your defects, for a WebUI:
      generator lora data/train --base v1-5.safetensors -o defects.safetensors
    """


cli.add_command(train)
cli.add_command(lora)
cli.add_command(report)


def main() -> None:
    """Entry point of the console script."""
    use_utf8()
    cli(prog_name="generator")
