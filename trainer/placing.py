"""Put divided images into a folder, as copies or as hard links: all of them and their tables, or none."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from sdcore.files import atomic_path, sha256_of, write_bytes_atomically

from .errors import SplitError

Manner = Literal["copy", "link", "share"]
"""copy: every file is one of its own. link: each shares its content with SRC. share: the first of several files of
an image is a copy of its own, the others share its content, so that DEST needs the room of SRC once."""


@dataclass(frozen=True)
class Placement:
    """One file that DEST is to have."""

    file: str
    """Relative to DEST, forward slashes."""
    source: str
    """Relative to SRC, forward slashes."""
    sha256: str


@dataclass(frozen=True)
class Placed:
    """How many files were made now; those that were there already are not counted."""

    copied: int = 0
    linked: int = 0


def refuse_nesting(source: Path, dest: Path) -> None:
    """Refuse a DEST in SRC, or the other way round.

    Raises:
        SplitError: one lies in the other.
    """
    inner, outer = dest.resolve(), source.resolve()
    if inner == outer or inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise SplitError(
            f"{dest}: lies in {source}, or the other way round, so copies would become sources; "
            "choose a DEST beside SRC"
        )


def put_in_place(
    source: Path,
    dest: Path,
    placements: Sequence[Placement],
    tables: Mapping[str, bytes],
    *,
    manner: Manner,
    progress: bool = False,
) -> Placed:
    """Make `dest` hold these files and tables; it appears when it is complete.

    Where it holds these tables already, only files that are missing, or that are links where copies are wanted
    or the other way round, are made.

    Args:
        source: SRC; only read.
        dest: not there yet, empty, or holding these very tables.
        placements: in a fixed order.
        tables: file name -> content; the first is written last, and says that DEST is a split.
        manner: copies or links.
        progress: show a bar on stderr.

    Raises:
        SplitError: DEST holds something else or a changed image, SRC changed meanwhile, or links are not possible.
        OSError: the disk is full, or the folder cannot be written.
    """
    if any((dest / name).is_file() for name in tables):
        _refuse_another(dest, tables)
        return _fill(source, dest, placements, manner=manner, progress=progress)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise SplitError(f"{dest}: is there already and holds something else; choose a new or empty DEST")
    # Filled under another name, so that a split cut short is never taken for a whole one.
    dest = dest.resolve()
    partial = dest.with_name(f".{dest.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        placed = _fill(source, partial, placements, manner=manner, progress=progress)
        for name in reversed(list(tables)):
            write_bytes_atomically(partial / name, tables[name])
        if dest.exists():
            dest.rmdir()
        partial.rename(dest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return placed


def _refuse_another(dest: Path, tables: Mapping[str, bytes]) -> None:
    for name, content in tables.items():
        if not (dest / name).is_file() or (dest / name).read_bytes() != content:
            found = "differs" if (dest / name).is_file() else "is not there"
            raise SplitError(
                f"{dest}: holds another split (its {name} {found}: other images, shares, groups, folds or seed); "
                "choose a new DEST"
            )


def _fill(source: Path, dest: Path, placements: Sequence[Placement], *, manner: Manner, progress: bool) -> Placed:
    copied = linked = 0
    checked: set[str] = set()
    first_of: dict[str, Path] = {}
    files: dict[str, set[tuple[int, int]]] = {}
    for placement in tqdm(placements, desc="link" if manner == "link" else "copy", unit="image", disable=not progress):
        origin, target = source / placement.source, dest / placement.file
        if manner == "link":
            twin: Path | None = origin
        else:
            twin = first_of.setdefault(placement.source, target) if manner == "share" else None
        if twin is not None and twin != target:
            if not (target.is_file() and target.samefile(twin)):
                if twin is origin and placement.source not in checked:
                    _read_unchanged(origin, placement.sha256)
                    checked.add(placement.source)
                _link(twin, target, manner)
                linked += 1
            continue
        # Files that a copy must not share its content with: SRC's, and those made before it.
        taken = files.setdefault(placement.source, {_identity(origin)})
        if not target.is_file() or _identity(target) in taken:
            write_bytes_atomically(target, _read_unchanged(origin, placement.sha256))
            copied += 1
        elif sha256_of(target) != placement.sha256:
            raise SplitError(f"{target}: is no longer the image that was put here; delete it and run the command again")
        taken.add(_identity(target))
    return Placed(copied, linked)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _read_unchanged(origin: Path, sha256: str) -> bytes:
    content = origin.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SplitError(f"{origin}: changed while being copied; run the same command again")
    return content


def _link(twin: Path, target: Path, manner: Manner) -> None:
    try:
        with atomic_path(target) as temporary:
            os.link(twin.resolve(), temporary)
    except OSError as error:
        if manner == "share":
            expected = "a drive that has hard links for DEST; add --copy to give every fold copies of its own"
        else:
            expected = "SRC and DEST on one drive that has hard links; leave out --link to copy"
        raise SplitError(
            f"{target}: cannot be a hard link to {twin}: {error.strerror or error}; expected {expected}"
        ) from error
