"""One runner an output folder: the second one is told who the first is."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from .._atomic import write_bytes_atomically
from ..errors import OutputError

LOCK_NAME = ".sdclient-lock"
OWNER_NAME = ".sdclient-owner.json"


@contextmanager
def sole_runner(output: Path) -> Iterator[None]:
    """Hold an output folder while inside; the system lets go of it even when this process is killed.

    Raises:
        OutputError: another process holds it; the message names its pid and host.
    """
    lock = FileLock(output / LOCK_NAME, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"{output}: another run is at work there ({_owner(output)}); wait for it, or stop it first"
        ) from error
    try:
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_bytes_atomically(output / OWNER_NAME, json.dumps(owner).encode("utf-8"))
        yield
    finally:
        lock.release()


def _owner(output: Path) -> str:
    try:
        owner = json.loads((output / OWNER_NAME).read_text(encoding="utf-8"))
        return f"pid {owner['pid']} on {owner['host']}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said who it is"
