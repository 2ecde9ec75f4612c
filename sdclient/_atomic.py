"""Files that are whole or not there: written under a temporary name, then renamed into place."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

TEMPORARY_PATTERN = ".*.part"
"""Glob pattern of the temporary names; a killed process may leave one."""


def is_temporary(name: str) -> bool:
    """Whether a file's name fits `TEMPORARY_PATTERN`."""
    return name[:1] == "." and name[1:].endswith(".part")


def write_bytes_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put `content` at `path` in one step, making the folder when it is missing.

    A reader sees the former file or the new one, never a part; a failure leaves the former file.

    Args:
        path: where to.
        content: what.
        durable: wait until the file and its name are on the disk, so that a loss of power cannot undo it.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    with _in_place_of(path, durable=durable) as temporary:
        temporary.write_bytes(content)


@contextmanager
def open_atomically(path: Path, *, encoding: str) -> Iterator[TextIO]:
    """A text file that is at `path` once it is written to its end; line ends stay as they are written.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    with _in_place_of(path) as temporary, temporary.open("w", encoding=encoding, newline="") as stream:
        yield stream


@contextmanager
def _in_place_of(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary file's path; what was written there is put at `path` at the end, or removed where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield temporary
        if durable:
            _to_disk(temporary)
        temporary.replace(path)
        if durable:
            _to_disk(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        # With the name the user knows, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _to_disk(path: Path) -> None:
    """Flush a file, or a folder's names; a system that cannot open a folder (Windows) keeps names by itself."""
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
