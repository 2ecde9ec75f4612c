"""`trainer split`: divide class folders into train, val and test, or into folds, and copy or link the files.

Images of one board or photograph are not independent, so a group is never divided. Files with identical decoded pixels
are always one group, except single-coloured ones, which say nothing about their origin.

Each fold is a DATA folder, `DEST/fold-0` and so on; `DEST/folds.csv` lists which fold tests which image.
"""

import csv
import hashlib
import io
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from sdcore.files import atomic_path, sha256_of, write_bytes_atomically

from ..errors import SplitError
from .dataset import FOLDS_NAME, PARTS
from .partition import check_amounts, part_sizes, partition, partition_folds, require_folds, require_groups, val_sizes
from .source_images import GroupBy, SourceImages, read_source

SPLIT_NAME = "split.csv"
_SPLIT_COLUMNS = ("file", "class", "split", "group", "source", "sha256")
_FOLDS_COLUMNS = ("source", "class", "group", "fold", "sha256")

CopyMode = Literal["copy", "link", "share"]
"""copy: every file is a copy. link: every file is a hard link to SRC. share: the first file of an image is a copy, the
others are hard links to it, so that DEST needs the space of SRC only once."""


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


class _Rows:
    rows: tuple[SplitRow, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """Class -> part -> images."""
        counted = Counter((row.label, row.part) for row in self.rows)
        labels = sorted({label for label, _ in counted})
        return {label: {part: counted[label, part] for part in PARTS} for label in labels}


@dataclass(frozen=True)
class SplitResult(_Rows):
    """A finished split."""

    dest: Path
    rows: tuple[SplitRow, ...]
    placed: Placed
    wanted: Mapping[str, Mapping[str, int]]
    """Class -> part -> images asked for; `counts` has what whole groups allowed."""
    grouping: str
    notes: tuple[str, ...]
    """As in `SourceImages`."""
    contradictions: tuple[tuple[str, str], ...]
    """Pairs of source files with the same bytes in different classes: one of the two labels is wrong."""


@dataclass(frozen=True)
class Fold(_Rows):
    """One division of all images, as a DATA folder."""

    path: Path
    rows: tuple[SplitRow, ...]
    """Files relative to `path`."""


@dataclass(frozen=True)
class FoldsResult:
    """Finished folds; fields that are not described mean the same as in `SplitResult`."""

    dest: Path
    folds: tuple[Fold, ...]
    placed: Placed
    wanted_val: Mapping[str, int]
    """Class -> images asked for in each fold's val; the folds' `counts` have what whole groups allowed."""
    grouping: str
    notes: tuple[str, ...]
    contradictions: tuple[tuple[str, str], ...]


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

    `source` has one folder per class; `crops.csv` and `mapping.csv` of `sdclient` in it show which images are crops of
    one photograph, so one group, unless `group_by` names the groups. The shares are as in `part_sizes`.

    The result depends only on names, bytes, amounts, groups and seed. DEST appears when it is complete; running again
    with the same result makes only the files that are missing.

    Raises:
        SplitError: amounts out of range; an image that is unreadable, generated or without a group; a class with too
            few groups; or a DEST with other content.
        DataError: SRC has no class folders, or an empty one.
    """
    check_amounts(val_share=val_share, test_share=test_share)
    _refuse_nesting(source, dest)
    require = partial(require_groups, val_share=val_share, test_share=test_share)
    images = read_source(source, group_by or GroupBy(), require=require, progress=progress)
    part_of = partition(images.groups, images.labels, val_share=val_share, test_share=test_share, seed=seed)
    rows = _rows_of(images, part_of)
    copies = [_FileCopy(row.file, row.source, row.sha256) for row in rows]
    placed = _copy_into(source, dest, copies, {SPLIT_NAME: _split_table(rows)}, mode=mode, progress=progress)
    wanted = part_sizes(images.labels, val_share=val_share, test_share=test_share)
    return SplitResult(dest, rows, placed, wanted, images.grouping, images.notes, images.contradictions())


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

    Every image is a test image in exactly one of the folds (2 or more); a group is whole in every fold. `val_share` is
    of all images of a class, but taken from those that a fold does not test. Otherwise as `split`.

    Raises:
        SplitError: as for `split`, or links are not possible.
        DataError: SRC has no class folders, or an empty one.
    """
    _refuse_nesting(source, dest)
    require = partial(require_folds, folds=folds, val_share=val_share)
    images = read_source(source, group_by or GroupBy(), require=require, progress=progress)
    part_of = partition_folds(images.groups, images.labels, folds=folds, val_share=val_share, seed=seed)
    made = tuple(Fold(dest / f"fold-{number}", _rows_of(images, one)) for number, one in enumerate(part_of))
    tested = {row.source: number for number, fold in enumerate(made) for row in fold.rows if row.part == "test"}
    lines = ((row.source, row.label, row.group, tested[row.source], row.sha256) for row in made[0].rows)
    tables = {FOLDS_NAME: _csv_bytes(_FOLDS_COLUMNS, lines)}
    tables |= {f"{fold.path.name}/{SPLIT_NAME}": _split_table(fold.rows) for fold in made}
    copies = [_FileCopy(f"{fold.path.name}/{row.file}", row.source, row.sha256) for fold in made for row in fold.rows]
    placed = _copy_into(source, dest, copies, tables, mode=mode, progress=progress)
    wanted_val = val_sizes(images.labels, val_share=val_share)
    return FoldsResult(dest, made, placed, wanted_val, images.grouping, images.notes, images.contradictions())


def _rows_of(images: SourceImages, part_of: Mapping[str, str]) -> tuple[SplitRow, ...]:
    return tuple(
        SplitRow(f"{part_of[group]}/{name}", label, part_of[group], group, name, sha256)
        for name, label, group, sha256 in zip(images.names, images.labels, images.groups, images.hashes, strict=True)
    )


def _split_table(rows: Iterable[SplitRow]) -> bytes:
    lines = ((row.file, row.label, row.part, row.group, row.source, row.sha256) for row in rows)
    return _csv_bytes(_SPLIT_COLUMNS, lines)


def _csv_bytes(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """A CSV file in UTF-8 with a byte order mark, by which spreadsheet programs recognise it."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([columns, *lines])
    return text.getvalue().encode("utf-8-sig")


@dataclass(frozen=True)
class _FileCopy:
    file: str
    """Relative to DEST, forward slashes."""
    source: str
    """Relative to SRC, forward slashes."""
    sha256: str


def _refuse_nesting(source: Path, dest: Path) -> None:
    inner, outer = dest.resolve(), source.resolve()
    if inner == outer or inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise SplitError(
            f"{dest}: lies in {source}, or the other way round, so copies would become sources; "
            "choose a DEST beside SRC"
        )


def _copy_into(
    source: Path,
    dest: Path,
    copies: Sequence[_FileCopy],
    tables: Mapping[str, bytes],
    *,
    mode: CopyMode,
    progress: bool,
) -> Placed:
    """Make these files and tables (name -> content) in DEST, which appears when it is complete.

    The first table is written last and marks DEST as a complete split. A DEST that has these tables already gets only
    the files that are missing, or that are links instead of copies or copies instead of links.
    """
    if any((dest / name).is_file() for name in tables):
        _refuse_another(dest, tables)
        return _fill(source, dest, copies, mode=mode, progress=progress)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise SplitError(f"{dest}: is there already and holds something else; choose a new or empty DEST")
    # Filled under another name: an interrupted run must not leave a partial split that looks complete.
    dest = dest.resolve()
    unfinished = dest.with_name(f".{dest.name}.partial")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        placed = _fill(source, unfinished, copies, mode=mode, progress=progress)
        for name in reversed(list(tables)):
            write_bytes_atomically(unfinished / name, tables[name])
        if dest.exists():
            dest.rmdir()
        unfinished.rename(dest)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return placed


def _refuse_another(dest: Path, tables: Mapping[str, bytes]) -> None:
    for name, content in tables.items():
        is_there = (dest / name).is_file()
        if not is_there or (dest / name).read_bytes() != content:
            raise SplitError(
                f"{dest}: holds another split (its {name} {'differs' if is_there else 'is not there'}: other images, "
                "shares, groups, folds or seed); choose a new DEST"
            )


def _fill(source: Path, dest: Path, copies: Sequence[_FileCopy], *, mode: CopyMode, progress: bool) -> Placed:
    copied = linked = 0
    checked: set[str] = set()
    first_of: dict[str, Path] = {}
    files: dict[str, set[tuple[int, int]]] = {}
    for copy in tqdm(copies, desc="link" if mode == "link" else "copy", unit="image", disable=not progress):
        origin, target = source / copy.source, dest / copy.file
        if mode == "link":
            linked_to: Path | None = origin
        else:
            linked_to = first_of.setdefault(copy.source, target) if mode == "share" else None
        if linked_to is not None and linked_to != target:
            if not (target.is_file() and target.samefile(linked_to)):
                if linked_to is origin and copy.source not in checked:
                    _read_unchanged(origin, copy.sha256)
                    checked.add(copy.source)
                _link(linked_to, target, mode)
                linked += 1
            continue
        # Files that a copy must not be hard-linked with: that of SRC and those made before it.
        taken = files.setdefault(copy.source, {_identity(origin)})
        if not target.is_file() or _identity(target) in taken:
            write_bytes_atomically(target, _read_unchanged(origin, copy.sha256))
            copied += 1
        elif sha256_of(target) != copy.sha256:
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


def _link(linked_to: Path, target: Path, mode: CopyMode) -> None:
    try:
        with atomic_path(target) as temporary:
            os.link(linked_to.resolve(), temporary)
    except OSError as error:
        if mode == "share":
            expected = "a drive that has hard links for DEST; add --copy to give every fold copies of its own"
        else:
            expected = "SRC and DEST on one drive that has hard links; leave out --link to copy"
        raise SplitError(
            f"{target}: cannot be a hard link to {linked_to}: {error.strerror or error}; expected {expected}"
        ) from error
