"""The `generator` command. Command modules import `click` alone at their top, so that `--help` is instant."""

from __future__ import annotations

import click

from .. import __version__
from ._group import OneLineErrors, speak_utf8


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="generator")
def cli() -> None:
    """Train diffusion models on your own defect pictures."""


def main() -> None:
    """Entry point of the console script."""
    speak_utf8()
    cli(prog_name="generator")
