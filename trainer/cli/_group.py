"""The command group that turns our errors into one line and an exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Any

import click

from ..errors import MissingExtra, RankFailed, SaidElsewhere, SettingsError, TrainerError
from ..ranks import read_ranks

_TRAIN_EXTRA = {"torch", "torchvision", "yolov5", "cv2", "numpy", "scipy", "matplotlib", "jinja2"}


class OneLineErrors(click.Group):
    """A group whose commands end with one line on stderr and exit code 1 instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; translate what went wrong."""
        try:
            return super().invoke(ctx)
        except TrainerError as error:
            if isinstance(error, SaidElsewhere) or not (_speaks() or isinstance(error, RankFailed)):
                ctx.exit(1)
            if isinstance(error, RankFailed):
                click.echo(err=True)  # off the line of the bar that another process may have drawn
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in {
                "torch",
                "torchvision",
                "yolov5",
                "numpy",
                "scipy",
                "jinja2",
            }:
                raise click.ClickException(str(MissingExtra(f"this command ({error.name})", "train"))) from error
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


def _speaks() -> bool:
    """Whether this process says what all of those started with it on this machine would say."""
    try:
        return read_ranks().leads_machine
    except SettingsError:
        return True


def speak_utf8() -> None:
    """Write UTF-8 into pipes and files, whatever the system's code page; class names may be Chinese."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
