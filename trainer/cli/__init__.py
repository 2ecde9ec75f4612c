"""The `trainer` command. Command modules import `click` alone at their top, so that `--help` is instant."""

from __future__ import annotations

import click

from .. import __version__
from ..ranks import refuse_torchrun
from ._group import OneLineErrors, speak_utf8
from .check import check
from .compare import compare
from .counts import counts
from .diagnose import diagnose
from .evaluate import evaluate
from .experiment import experiment
from .explain import explain
from .export import export
from .predict import predict
from .split import split
from .train import train


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trainer")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train, judge and compare defect classifiers.

    \b
    The usual order:
      trainer check photos
      trainer split photos data --val 0.15 --test 0.25 --seed 0
      trainer train data --model yolov5n-cls -o runs/baseline
      trainer train data --generated output -o runs/augmented
      trainer compare runs/baseline runs/augmented data
    """
    if ctx.invoked_subcommand != "train":
        refuse_torchrun(str(ctx.invoked_subcommand))


cli.add_command(check)
cli.add_command(compare)
cli.add_command(counts)
cli.add_command(diagnose)
cli.add_command(evaluate)
cli.add_command(experiment)
cli.add_command(explain)
cli.add_command(export)
cli.add_command(predict)
cli.add_command(split)
cli.add_command(train)


def main() -> None:
    """Entry point of the console script."""
    speak_utf8()
    cli(prog_name="trainer")
