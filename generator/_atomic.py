"""Files that are whole or not there: written under a temporary name, then renamed into place."""

from __future__ import annotations

import os
from pathlib import Path

TEMPORARY_PATTERN = ".*.part"
"""Glob pattern of the temporary names; a killed process may leave one."""


def write_bytes_atomically(path: Path, content: bytes | memoryview) -> None:
    """Put `content` at `path` in one step, making the folder when it is missing.

    A reader sees the former file or the new one, never a part; a failure leaves the former file.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        # With the name the user knows, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
