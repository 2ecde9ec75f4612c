"""Files written whole or not at all, one writer a folder, hashes, JSON, names that can be printed."""

import hashlib
import itertools
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from .errors import FolderInUse

TEMPORARY_PATTERN = ".*.part"
"""Glob pattern of the temporary names; a killed process may leave one."""
LOCK_NAME = ".lock"
"""The file that the holder of a folder has locked; it stays when the lock is released."""
OWNER_NAME = ".lock-owner.json"
"""The file that names who holds, or last held, the folder."""

_BLOCK_BYTES = 1 << 20
_serial_numbers = itertools.count()


def is_temporary(name: str) -> bool:
    """Whether a file's name fits `TEMPORARY_PATTERN`."""
    return name[:1] == "." and name[1:].endswith(".part")


def write_bytes_atomically(path: Path, content: bytes | memoryview, *, durable: bool = False) -> None:
    """Put `content` at `path` in one step, making the folder when it is missing.

    A reader sees the former file or the new one, never a part; a failure leaves the former file. With `durable` it
    waits until the file and its name are on the disk, so that a loss of power cannot undo it.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full; it names `path`.
    """
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(content)


@contextmanager
def open_atomically(path: Path, *, encoding: str) -> Iterator[TextIO]:
    """A text file that appears at `path` when the block ends; line ends stay as they are written.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full; it names `path`.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding=encoding, newline="") as stream:
        yield stream


@contextmanager
def atomic_path(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends without an error, the file there replaces `path`.

    Close the file before the block ends: Windows cannot rename an open file. Where the block fails, the temporary file
    is removed and the former file stays. The folder of `path` is made when it is missing. For `durable` see
    `write_bytes_atomically`.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full; it names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Process, thread and number: two writers of one folder, or two nested blocks of one thread, never share a name.
    # It leaves out the name of `path`, which may be as long as the file system allows.
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}-{next(_serial_numbers)}.part")
    try:
        yield temporary
        if durable:
            _flush_to_disk(temporary)
        temporary.replace(path)
        if durable:
            _flush_to_disk(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        # An error of another file (one that the block reads) keeps the name it has.
        ours = error.filename is None or str(error.filename) in (str(temporary), str(path.parent))
        if error.errno is None or not ours:
            raise
        # With the name that the user knows, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush_to_disk(path: Path) -> None:
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


@contextmanager
def lock_folder(folder: Path, *, busy: str = "another run is at work there") -> Iterator[None]:
    """Hold an existing folder while inside; the system releases it even when this process is killed.

    `busy` is what the error says of the holder.

    Raises:
        FolderInUse: another process holds it; the message names its pid and host.
        OSError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK_NAME, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise FolderInUse(f"{folder}: {busy} ({_describe_owner(folder)}); wait for it, or stop it first") from error
    try:
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        # Beside the lock file, not in it: Windows lets nobody read a locked file.
        write_bytes_atomically(folder / OWNER_NAME, json.dumps(owner).encode("utf-8"))
        yield
    finally:
        lock.release()


def _describe_owner(folder: Path) -> str:
    try:
        owner = read_json(folder / OWNER_NAME)
        return f"pid {owner['pid']} on {owner['host']}, since {owner['since']}"
    except (OSError, ValueError, KeyError):
        return "its owner is unknown"


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_or_none(path: Path) -> str | None:
    """Hex sha256 of a file's bytes, or None when there is no such file.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        return sha256_of(path)
    except FileNotFoundError:
        return None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, which is UTF-8 with or without a byte order mark.

    Raises:
        OSError: the file is not there or cannot be read.
        ValueError: not UTF-8, not JSON, or not an object.
    """
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError(f"found {type(content).__name__}; expected a JSON object")
    return content


def read_json_or_none(path: Path) -> dict[str, Any] | None:
    """As `read_json`; None where that raises."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def write_json(path: Path, content: Mapping[str, Any], *, indent: int = 2) -> None:
    """Write an object to a JSON file in one step, as `write_bytes_atomically` does.

    Raises:
        OSError: as of `write_bytes_atomically`.
    """
    write_bytes_atomically(path, (json.dumps(content, ensure_ascii=False, indent=indent) + "\n").encode("utf-8"))


def is_utf8_name(name: str) -> bool:
    """Whether a name can be written as UTF-8; one from an old archive with another encoding cannot."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(name: object) -> str:
    """A path or name that can be printed whatever its bytes are."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")
