"""`trainer split`: divide class folders into train, val and test, or into folds, and copy or link the files.

Images of one board or photograph are not independent, so a group is never divided. Files with identical decoded pixels
are always one group, except single-coloured ones, which say nothing about their origin.

Each fold is a DATA folder, `DEST/fold-0` and so on; `DEST/folds.csv` lists which fold tests which image.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from sdcore.files import atomic_path, sha256_of, write_bytes_atomically

from ..errors import SplitError
from .dataset import FOLDS_NAME, PARTS
from .partition import (
    check_amounts,
    part_sizes,
    partition,
    partition_folds,
    require_fold_groups,
    require_groups,
    val_sizes,
)
from .source_images import GroupBy, SourceImages, read_source

SPLIT_NAME = "split.csv"
_SPLIT_COLUMNS = ("file", "class", "split", "group", "source", "sha256")


@dataclass(frozen=True)
class SplitRow:
    """One image of a split."""

    file: str
    """Path relative to DEST, forward slashes: `<part>/<class>/<name>`."""
    label: str
    part: str
    group: str
    source: str
    """Path relative to SRC, forward slashes."""
    sha256: str


@dataclass(frozen=True)
class Placed:
    """Number of files made now; existing ones are not counted."""

    copied: int = 0
    linked: int = 0


@dataclass(frozen=True)
class SplitResult:
    """A finished split."""

    dest: Path
    rows: tuple[SplitRow, ...]
    placed: Placed
    asked: Mapping[str, Mapping[str, int]]
    """Class -> part -> images wanted; `counts` has what whole groups allowed."""
    grouping: str
    notes: tuple[str, ...]
    """As in `SourceImages`."""
    contradictions: tuple[tuple[str, str], ...]
    """Pairs of source files with the same bytes in different classes: one of the two labels is wrong."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Class -> part -> images."""
        return count_parts(self.rows)


def split(
    source: Path,
    dest: Path,
    *,
    val_share: float = 0.15,
    test_share: float = 0.25,
    seed: int = 0,
    group_by: GroupBy | None = None,
    mode: CopyMode = "copy",
    progress: bool = False,
) -> SplitResult:
    """Copy class folders into `dest/train`, `dest/val` and `dest/test`, stratified by class and whole by group.

    The result depends only on names, bytes, amounts, groups and seed. DEST appears when it is complete; running again
    with the same result makes only the files that are missing.

    Args:
        source: one folder per class; `crops.csv` and `mapping.csv` of `sdclient` in it show which images are crops of
            one photograph, so one group.
        dest: a new or empty folder, or one with this same split.
        val_share: a share of each class in [0, 1), or, as an `int` of 1 or more, images of each class.
        test_share: the same.
        seed: chooses one of the possible splits.
        group_by: what names the groups; wins over the tables in SRC.
        mode: "copy", or "link" for hard links to the files of SRC.
        progress: show bars on stderr.

    Raises:
        SplitError: amounts out of range; an image that is unreadable, generated or without a group; a class with too
            few groups; or a DEST with other content.
        DataError: SRC has no class folders, or an empty one.
    """
    check_amounts(val_share=val_share, test_share=test_share)
    refuse_nesting(source, dest)

    def require(groups: Sequence[str], labels: Sequence[str], basis: str) -> None:
        part_sizes(labels, val_share=val_share, test_share=test_share)
        require_groups(groups, labels, val_share=val_share, test_share=test_share, basis=basis)

    images = read_source(source, group_by or GroupBy(), require=require, progress=progress)
    part_of = partition(images.groups, images.labels, val_share=val_share, test_share=test_share, seed=seed)
    rows = rows_of(images, part_of)
    placements = [FileCopy(row.file, row.source, row.sha256) for row in rows]
    placed = copy_into(source, dest, placements, {SPLIT_NAME: split_table(rows)}, mode=mode, progress=progress)
    asked = part_sizes(images.labels, val_share=val_share, test_share=test_share)
    return SplitResult(dest, rows, placed, asked, images.grouping, images.notes, images.contradictions())


def rows_of(images: SourceImages, part_of: Mapping[str, str]) -> tuple[SplitRow, ...]:
    """A row for each image, from the part of its group."""
    return tuple(
        SplitRow(f"{part_of[group]}/{name}", label, part_of[group], group, name, sha256)
        for name, label, group, sha256 in zip(images.names, images.labels, images.groups, images.hashes, strict=True)
    )


def count_parts(rows: Iterable[SplitRow]) -> dict[str, dict[str, int]]:
    """Class -> part -> images."""
    counted = Counter((row.label, row.part) for row in rows)
    return {label: {part: counted[label, part] for part in PARTS} for label in sorted({label for label, _ in counted})}


def split_table(rows: Iterable[SplitRow]) -> bytes:
    """The content of `split.csv`."""
    lines = ((row.file, row.label, row.part, row.group, row.source, row.sha256) for row in rows)
    return csv_bytes(_SPLIT_COLUMNS, lines)


def csv_bytes(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """A CSV file in UTF-8 with a byte order mark, by which spreadsheet programs recognise it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return text.getvalue().encode("utf-8-sig")


_FOLDS_COLUMNS = ("source", "class", "group", "fold", "sha256")


@dataclass(frozen=True)
class Fold:
    """One division of all images, as a DATA folder."""

    path: Path
    rows: tuple[SplitRow, ...]
    """Files relative to `path`."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Class -> part -> images."""
        return count_parts(self.rows)


@dataclass(frozen=True)
class FoldsResult:
    """Finished folds; fields that are not described mean the same as in `SplitResult`."""

    dest: Path
    folds: tuple[Fold, ...]
    placed: Placed
    asked_val: Mapping[str, int]
    """Class -> images wanted in each fold's val; the folds' `counts` have what whole groups allowed."""
    grouping: str
    notes: tuple[str, ...]
    contradictions: tuple[tuple[str, str], ...]


def split_folds(
    source: Path,
    dest: Path,
    *,
    folds: int = 5,
    val_share: float = 0.15,
    seed: int = 0,
    group_by: GroupBy | None = None,
    mode: CopyMode = "share",
    progress: bool = False,
) -> FoldsResult:
    """Make `dest/fold-0` to `dest/fold-<folds - 1>`, each with train, val and test, and `dest/folds.csv`.

    Every image is a test image in exactly one fold; a group is whole in every fold. Otherwise as `split`.

    Args:
        source: as for `split`.
        dest: as for `split`.
        folds: number of folds, 2 or more.
        val_share: as for `split`, of all images of a class; taken from the images that a fold does not test.
        seed: chooses one of the possible divisions.
        group_by: as for `split`.
        mode: "share" stores each image once in DEST and hard-links it into all folds; "link" hard-links the files of
            SRC; "copy" gives every fold its own copies.
        progress: show bars on stderr.

    Raises:
        SplitError: as for `split`, or links are not possible.
        DataError: SRC has no class folders, or an empty one.
    """
    refuse_nesting(source, dest)

    def require(groups: Sequence[str], labels: Sequence[str], basis: str) -> None:
        require_fold_groups(groups, labels, folds=folds, val_share=val_share, basis=basis)

    images = read_source(source, group_by or GroupBy(), require=require, progress=progress)
    part_of = partition_folds(images.groups, images.labels, folds=folds, val_share=val_share, seed=seed)
    made = tuple(Fold(dest / f"fold-{number}", rows_of(images, one)) for number, one in enumerate(part_of))
    tables = {
        FOLDS_NAME: _folds_table(made),
        **{f"{fold.path.name}/{SPLIT_NAME}": split_table(fold.rows) for fold in made},
    }
    placements = [
        FileCopy(f"{fold.path.name}/{row.file}", row.source, row.sha256) for fold in made for row in fold.rows
    ]
    placed = copy_into(source, dest, placements, tables, mode=mode, progress=progress)
    asked_val = val_sizes(images.labels, val_share=val_share)
    return FoldsResult(dest, made, placed, asked_val, images.grouping, images.notes, images.contradictions())


def _folds_table(folds: Sequence[Fold]) -> bytes:
    tested = {row.source: number for number, fold in enumerate(folds) for row in fold.rows if row.part == "test"}
    lines = ((row.source, row.label, row.group, tested[row.source], row.sha256) for row in folds[0].rows)
    return csv_bytes(_FOLDS_COLUMNS, lines)


CopyMode = Literal["copy", "link", "share"]
"""copy: every file is a copy. link: every file is a hard link to SRC. share: the first file of an image is a copy, the
others are hard links to it, so that DEST needs the space of SRC only once."""


@dataclass(frozen=True)
class FileCopy:
    """One file to make in DEST."""

    file: str
    """Relative to DEST, forward slashes."""
    source: str
    """Relative to SRC, forward slashes."""
    sha256: str


def refuse_nesting(source: Path, dest: Path) -> None:
    """Refuse a DEST inside SRC, or SRC inside DEST.

    Raises:
        SplitError: one is inside the other.
    """
    inner, outer = dest.resolve(), source.resolve()
    if inner == outer or inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise SplitError(
            f"{dest}: lies in {source}, or the other way round, so copies would become sources; "
            "choose a DEST beside SRC"
        )


def copy_into(
    source: Path,
    dest: Path,
    placements: Sequence[FileCopy],
    tables: Mapping[str, bytes],
    *,
    mode: CopyMode,
    progress: bool = False,
) -> Placed:
    """Make these files and tables in `dest`, which appears when it is complete.

    A DEST that has these tables already gets only the files that are missing, or that are links instead of copies or
    copies instead of links.

    Args:
        source: SRC; only read.
        dest: new, empty, or with these same tables.
        placements: in a fixed order.
        tables: file name -> content; the first is written last and marks DEST as a complete split.
        mode: copies or links.
        progress: show a bar on stderr.

    Raises:
        SplitError: DEST has other content or a changed image, SRC changed meanwhile, or links are not possible.
        OSError: the disk is full, or the folder cannot be written.
    """
    if any((dest / name).is_file() for name in tables):
        _refuse_another(dest, tables)
        return _fill(source, dest, placements, mode=mode, progress=progress)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise SplitError(f"{dest}: is there already and holds something else; choose a new or empty DEST")
    # Filled under another name: an interrupted run must not leave a partial split that looks complete.
    dest = dest.resolve()
    partial = dest.with_name(f".{dest.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        placed = _fill(source, partial, placements, mode=mode, progress=progress)
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


def _fill(source: Path, dest: Path, placements: Sequence[FileCopy], *, mode: CopyMode, progress: bool) -> Placed:
    copied = linked = 0
    checked: set[str] = set()
    first_of: dict[str, Path] = {}
    files: dict[str, set[tuple[int, int]]] = {}
    for placement in tqdm(placements, desc="link" if mode == "link" else "copy", unit="image", disable=not progress):
        origin, target = source / placement.source, dest / placement.file
        if mode == "link":
            twin: Path | None = origin
        else:
            twin = first_of.setdefault(placement.source, target) if mode == "share" else None
        if twin is not None and twin != target:
            if not (target.is_file() and target.samefile(twin)):
                if twin is origin and placement.source not in checked:
                    _read_unchanged(origin, placement.sha256)
                    checked.add(placement.source)
                _link(twin, target, mode)
                linked += 1
            continue
        # Files that a copy must not be hard-linked with: that of SRC and those made before it.
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


def _link(twin: Path, target: Path, mode: CopyMode) -> None:
    try:
        with atomic_path(target) as temporary:
            os.link(twin.resolve(), temporary)
    except OSError as error:
        if mode == "share":
            expected = "a drive that has hard links for DEST; add --copy to give every fold copies of its own"
        else:
            expected = "SRC and DEST on one drive that has hard links; leave out --link to copy"
        raise SplitError(
            f"{target}: cannot be a hard link to {twin}: {error.strerror or error}; expected {expected}"
        ) from error
