"""The command group that turns our errors into one line and an exit code."""

from __future__ import annotations

import errno
import sys
from io import TextIOWrapper
from typing import Any

import click

from ..errors import GeneratorError, MissingExtra

_EXTRA = {
    "accelerate",
    "diffusers",
    "jinja2",
    "numpy",
    "peft",
    "safetensors",
    "scipy",
    "torch",
    "torchsde",
    "transformers",
}


class OneLineErrors(click.Group):
    """A group whose commands end with one line on stderr and exit code 1 instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; translate what went wrong."""
        try:
            return super().invoke(ctx)
        except GeneratorError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in _EXTRA:
                raise click.ClickException(str(MissingExtra(f"this command ({error.name})", "diffusion"))) from error
            raise
        except OSError as error:
            raise click.ClickException(_describe(error)) from error


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full; free some space and run the same command again; what was saved is still there"
    return f"{where}{error.strerror or error}"


def speak_utf8() -> None:
    """Write UTF-8 into pipes and files, whatever the system's code page; class names may be Chinese."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
