"""Find the files that would stop a training: broken pictures, strangers, and operating systems' leftovers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from ._atomic import write_bytes_atomically
from .dataset import IMAGE_SUFFIXES, is_junk, natural_key
from .errors import DataError

REPORT_NAME = "check_error.txt"

_OWN_RECORDS = frozenset(
    {
        REPORT_NAME,
        "split.csv",
        "mapping.csv",
        "plan.csv",
        "predictions.csv",
        "manifest.sqlite",
        "manifest.sqlite-wal",
        "manifest.sqlite-shm",
    }
)
"""Files that this software writes beside images; they do not disturb."""


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be trained on."""

    file: str
    """Path relative to the folder that was checked, forward slashes."""
    reason: str


@dataclass(frozen=True)
class CheckResult:
    """What a folder holds."""

    root: Path
    good: int
    """Pictures that can be read to their end."""
    bad: tuple[BadFile, ...]
    """In natural order."""


def check_folder(root: Path, *, progress: bool = False) -> CheckResult:
    """Read every file below `root` to its end and tell which cannot be used; nothing is changed.

    Links to folders are not followed.

    Raises:
        DataError: no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a folder of images")
    unlisted: list[OSError] = []
    files = [
        Path(place, name)
        for place, _, names in os.walk(root, onerror=unlisted.append)
        for name in names
        if name not in _OWN_RECORDS
    ]
    files.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    bad = [
        BadFile(_relative(Path(error.filename), root), f"folder cannot be listed: {error.strerror}")
        for error in unlisted
    ]
    for path in tqdm(files, desc="check", unit="file", disable=not progress):
        reason = reason_unusable(path)
        if reason is not None:
            bad.append(BadFile(_relative(path, root), reason))
    return CheckResult(root, good=len(files) + len(unlisted) - len(bad), bad=tuple(bad))


def reason_unusable(path: Path) -> str | None:
    """Why a file cannot be trained on, in words; None for a picture that can be read to its end."""
    if is_junk(path.name):
        return "left behind by an operating system, not a picture; delete it"
    has_image_name = path.suffix.lower() in IMAGE_SUFFIXES
    try:
        if path.stat().st_size == 0:
            return "zero bytes"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata and mere size are no faults; what matters raises
            with Image.open(path) as picture:
                if not has_image_name:
                    return f"a {picture.format} picture whose name does not end like one; rename it"
                picture.load()
    except FileNotFoundError:
        return "a link to nothing" if path.is_symlink() else "gone while checking"
    except UnidentifiedImageError:
        return "not an image, whatever its name says" if has_image_name else "not an image"
    except Image.DecompressionBombError:
        return f"says to have more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels: damaged, or a decompression bomb"
    except MemoryError:
        return "too large for the memory of this machine"
    except Exception as error:  # Pillow raises many kinds on damaged files
        return _words_of(error)
    return None


def write_report(result: CheckResult) -> Path | None:
    """Write `check_error.txt` into the checked folder, one bad file a line: path, tab, reason.

    When there is none, a report of an earlier check is removed.

    Returns:
        The file that was written, or None.

    Raises:
        OSError: the folder cannot be written.
    """
    path = result.root / REPORT_NAME
    if not result.bad:
        path.unlink(missing_ok=True)
        return None
    write_bytes_atomically(path, "".join(_lines(result.bad)).encode("utf-8", "surrogateescape"))
    return path


def _lines(bad: Iterable[BadFile]) -> Iterable[str]:
    for entry in bad:
        # A line break in a name must not make two lines of it.
        yield " ".join(entry.file.splitlines()) + "\t" + " ".join(entry.reason.splitlines()) + "\n"


def _words_of(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    if isinstance(error, PermissionError):
        return "cannot be opened: permission denied"
    if any(sign in words.lower() for sign in ("truncated", "not enough image data", "unexpected end", "incomplete")):
        return f"truncated: {words}"
    return f"damaged: {words}"


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
