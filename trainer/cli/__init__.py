"""The `trainer` command. Command modules import `click` alone at their top, so that `--help` is instant."""

import click

from sdcore import __version__
from sdcore.cli import CommandGroup, Output, use_utf8

from ..errors import RankFailed, ReportedElsewhere, SettingsError, TrainerError
from ..processes import read_ranks, refuse_torchrun
from .check import check, counts
from .compare import compare
from .evaluate import diagnose, evaluate
from .experiment import experiment
from .predict import explain, export, predict
from .split import split
from .train import train

_EXTRA_MODULES = frozenset({"torch", "torchvision", "yolov5", "numpy", "scipy", "jinja2"})


def _error_text(error: TrainerError) -> str | None:
    """What this process prints for an error; None if another process of the same training prints it."""
    if isinstance(error, ReportedElsewhere):
        return None
    if isinstance(error, RankFailed):
        Output().note("")  # ends the line of a progress bar that another process may have drawn
        return str(error)
    try:
        is_reporting = read_ranks().leads_machine
    except SettingsError:
        is_reporting = True
    return str(error) if is_reporting else None


@click.group(
    cls=CommandGroup,
    extra="train",
    extra_modules=_EXTRA_MODULES,
    error_text=_error_text,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
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


for _command in (check, compare, counts, diagnose, evaluate, experiment, explain, export, predict, split, train):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the console script."""
    use_utf8()
    cli(prog_name="trainer")
