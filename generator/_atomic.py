"""Files that are whole or not there: written under a temporary name, then renamed into place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step, making the folder when it is missing.

    A reader sees the former file or the new one, never a part; a failure leaves the former file.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    with replaced_when_done(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replaced_when_done(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what lies there when the block ends without an error takes its place.

    Close the file before the block ends: Windows renames none that is open.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
