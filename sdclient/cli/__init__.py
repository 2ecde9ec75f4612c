"""The `sdclient` command. Command modules import `click` alone at their top, so that `--help` is instant."""

import click

from sdcore import __version__
from sdcore.cli import CommandGroup, use_utf8

from .compose import compose
from .curate import curate, review
from .generate import generate
from .mask import mask
from .output import export, manifest, retry, status, verify
from .probe import probe
from .servers import info, serve
from .sources import crop, number, plan


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sdclient")
def cli() -> None:
    """Make more images of rare defects with a local Stable Diffusion WebUI.

    \b
    A first try with no GPU and no model:
      sdclient serve                 (in one terminal)
      sdclient number photos sources
      sdclient plan sources --target 300
      sdclient generate sources output --plan plan.csv --url http://127.0.0.1:7861
    """


for command in (compose, generate, info, crop, mask, curate, number, plan, probe, review, serve):
    cli.add_command(command)
for command in (export, manifest, retry, status, verify):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    use_utf8()
    cli(prog_name="sdclient")
