"""Divide class folders of images into train, val and test without tearing a group apart.

Images of one board, or of one photograph, are not independent: a group never lies in two parts. Files with
identical decoded pixels are one group always.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ._atomic import write_bytes_atomically
from .check import reason_unusable
from .dataset import PARTS, LabelledImage, list_labelled_images
from .errors import SplitError
from .fingerprints import pixel_sha256
from .partition import partition

SPLIT_NAME = "split.csv"
_COLUMNS = ("file", "class", "split", "group", "source", "sha256")


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
class SplitResult:
    """A split that is in place."""

    dest: Path
    rows: tuple[SplitRow, ...]
    copied: int
    """Files copied or linked now; 0 when everything was there already."""
    contradictions: tuple[tuple[str, str], ...]
    """Pairs of source files with the same bytes in different classes: one of the two labels is wrong."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Class -> part -> images."""
        counted = Counter((row.label, row.part) for row in self.rows)
        return {
            label: {part: counted[label, part] for part in PARTS} for label in sorted({row.label for row in self.rows})
        }


def split(
    source: Path,
    dest: Path,
    *,
    val_share: float = 0.15,
    test_share: float = 0.25,
    seed: int = 0,
    group_pattern: str | None = None,
    groups_csv: Path | None = None,
    group_column: str = "group",
    link: bool = False,
    progress: bool = False,
) -> SplitResult:
    """Copy class folders into `dest/train`, `dest/val` and `dest/test`, stratified by class and whole by group.

    The outcome depends on names, bytes, shares and seed alone. DEST appears when it is complete; a repeat with
    the same outcome copies only what is missing.

    Args:
        source: one folder per class.
        dest: a folder that is not there yet, is empty, or holds this very split.
        val_share: share of each class for validation, in [0, 1).
        test_share: share of each class for testing, in [0, 1); the two add up to less than 1.
        seed: which split of the many possible.
        group_pattern: regular expression searched in an image's path below its class folder; its first group
            is the name of the image's group.
        groups_csv: CSV with the columns `file` (path relative to SRC) and `group_column`.
        group_column: the column of `groups_csv` that names the groups.
        link: make hard links, which need no space, instead of copies; SRC and DEST then share each file.
        progress: show bars on stderr.

    Raises:
        SplitError: shares out of range, an unreadable image, an image without a group, a class with too few
            groups, or a DEST that holds something else.
        DataError: SRC has no class folders, or an empty one.
    """
    _check_shares(val_share, test_share)
    _refuse_nesting(source, dest)
    images = list_labelled_images(source)
    hashes, pixels = _read_all(source, images, progress=progress)
    names = [image.path.relative_to(source).as_posix() for image in images]
    groups = _join_identical(names, pixels, _name_groups(images, names, group_pattern, groups_csv, group_column))
    labels = [image.label for image in images]
    part_of = partition(groups, labels, val_share=val_share, test_share=test_share, seed=seed)
    rows = tuple(
        SplitRow(f"{part_of[group]}/{name}", label, part_of[group], group, name, sha256)
        for name, label, group, sha256 in zip(names, labels, groups, hashes, strict=True)
    )
    copied = _put_in_place(source, dest, rows, link=link, progress=progress)
    return SplitResult(dest, rows, copied, _contradictions(rows))


def _check_shares(val_share: float, test_share: float) -> None:
    for name, share in (("val", val_share), ("test", test_share)):
        if not 0 <= share < 1:
            raise SplitError(f"{name}: found {share}; expected a share from 0 to less than 1")
    if val_share + test_share >= 1:
        raise SplitError(
            f"val {val_share} and test {test_share} leave nothing to train on; expected less than 1 together"
        )


def _refuse_nesting(source: Path, dest: Path) -> None:
    inner, outer = dest.resolve(), source.resolve()
    if inner == outer or inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise SplitError(
            f"{dest}: lies in {source}, or the other way round, so copies would become sources; "
            "choose a DEST beside SRC"
        )


def _read_all(source: Path, images: Sequence[LabelledImage], *, progress: bool) -> tuple[list[str], list[str]]:
    hashes, pixels, unusable = [], [], []
    for image in tqdm(images, desc="read", unit="image", disable=not progress):
        reason = reason_unusable(image.path)
        if reason is None:
            hashes.append(hashlib.sha256(image.path.read_bytes()).hexdigest())
            pixels.append(pixel_sha256(image.path))
        else:
            unusable.append((image.path, reason))
    if unusable:
        path, reason = unusable[0]
        raise SplitError(
            f"{path}: {reason} ({len(unusable)} such file(s)); 'trainer check {source}' lists them all: "
            "repair or remove them first"
        )
    return hashes, pixels


def _name_groups(
    images: Sequence[LabelledImage], names: Sequence[str], pattern: str | None, table: Path | None, column: str
) -> list[str]:
    if pattern is not None and table is not None:
        raise SplitError("both a group pattern and a groups file are given; expected one of them")
    if table is not None:
        group_of = _read_groups(table, column)
        for name in names:
            if name not in group_of:
                raise SplitError(f"{table}: no line for {name!r}; expected every image of SRC in its column 'file'")
        return [group_of[name] for name in names]
    if pattern is None:
        return list(names)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SplitError(f"group pattern {pattern!r}: not a regular expression: {error}") from error
    if expression.groups < 1:
        raise SplitError(f"group pattern {pattern!r}: has no group; put the part that names it in parentheses")
    found = []
    for image, name in zip(images, names, strict=True):
        match = expression.search(name.removeprefix(f"{image.label}/"))
        if match is None or not match.group(1):
            raise SplitError(f"{image.path}: the group pattern {pattern!r} does not match its name; widen the pattern")
        found.append(match.group(1))
    return found


def _read_groups(table: Path, column: str) -> dict[str, str]:
    try:
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline="")))
    except FileNotFoundError as error:
        raise SplitError(f"{table}: no such file; expected a CSV with the columns file and {column}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"{table}: not readable as CSV in UTF-8: {error}") from error
    if not rows or not {"file", column} <= rows[0].keys():
        raise SplitError(f"{table}: expected the columns file and {column}, and one line an image")
    groups: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        file, group = (row["file"] or "").replace("\\", "/"), row[column] or ""
        if not file or not group:
            raise SplitError(f"{table}, line {line}: 'file' or {column!r} is empty; expected both")
        if groups.setdefault(file, group) != group:
            raise SplitError(f"{table}, line {line}: {file!r} is in group {groups[file]!r} already; expected one group")
    return groups


def _join_identical(names: Sequence[str], hashes: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Group names such that files of the same pixels share theirs: the first in order of the groups they join."""
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while leader.setdefault(group, group) != group:
            group = leader[group]
        return group

    first_with: dict[str, str] = {}
    for _, sha256, group in sorted(zip(names, hashes, groups, strict=True)):
        other, own = find(first_with.setdefault(sha256, group)), find(group)
        leader[max(other, own)] = min(other, own)
    return [find(group) for group in groups]


def _put_in_place(source: Path, dest: Path, rows: Sequence[SplitRow], *, link: bool, progress: bool) -> int:
    table = _to_csv(rows)
    if (dest / SPLIT_NAME).is_file():
        if (dest / SPLIT_NAME).read_bytes() != table:
            raise SplitError(
                f"{dest}: holds another split (its {SPLIT_NAME} differs: other images, shares, groups or seed); "
                "choose a new DEST"
            )
        missing = [row for row in rows if not (dest / row.file).is_file()]
        _copy(source, dest, missing, link=link, progress=progress)
        return len(missing)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise SplitError(f"{dest}: is there already and is no split of ours; choose a new or empty DEST")
    # Filled under another name, so that a split cut short is never taken for a whole one.
    dest = dest.resolve()
    partial = dest.with_name(f".{dest.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        _copy(source, partial, rows, link=link, progress=progress)
        write_bytes_atomically(partial / SPLIT_NAME, table)
        if dest.exists():
            dest.rmdir()
        partial.rename(dest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return len(rows)


def _copy(source: Path, dest: Path, rows: Sequence[SplitRow], *, link: bool, progress: bool) -> None:
    for row in tqdm(rows, desc="copy", unit="image", disable=not progress):
        content = (source / row.source).read_bytes()
        if hashlib.sha256(content).hexdigest() != row.sha256:
            raise SplitError(f"{source / row.source}: changed while being copied; run the same command again")
        if link:
            _link(source / row.source, dest / row.file)
        else:
            write_bytes_atomically(dest / row.file, content)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        raise SplitError(
            f"{target}: cannot be a hard link to {source}: {error.strerror}; expected SRC and DEST on one drive "
            "that has hard links; leave out --link to copy"
        ) from error


def _to_csv(rows: Sequence[SplitRow]) -> bytes:
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(_COLUMNS)
    lines.writerows((row.file, row.label, row.part, row.group, row.source, row.sha256) for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _contradictions(rows: Sequence[SplitRow]) -> tuple[tuple[str, str], ...]:
    first: Mapping[str, SplitRow] = {row.sha256: row for row in reversed(rows)}
    return tuple((first[row.sha256].source, row.source) for row in rows if first[row.sha256].label != row.label)
