"""The command group that turns our errors into one line and an exit code."""

from __future__ import annotations

import errno
import sys
from io import TextIOWrapper
from typing import Any

import click

from ..errors import SDClientError


class OneLineErrors(click.Group):
    """A group whose commands end with one line on stderr and exit code 1 instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; translate what went wrong."""
        try:
            return super().invoke(ctx)
        except SDClientError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(describe_os_error(error)) from error


def describe_os_error(error: OSError) -> str:
    """What an operating-system error means for the user, in one line."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full; free some space and run the same command again; nothing made is lost"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}{error.strerror}; choose another folder or change its rights"
    return f"{where}{error.strerror or error}"


def speak_utf8() -> None:
    """Write UTF-8 into pipes and files, whatever the system's code page; class names may be Chinese."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
