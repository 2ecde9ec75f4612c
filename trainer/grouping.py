"""Which images belong together: by their names, by a table, or as crops of one photograph; and twins always."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import SplitError
from .photo_tables import PhotoTables


@dataclass(frozen=True)
class Grouping:
    """The group of every image, and how it was found."""

    groups: tuple[str, ...]
    """In the order of the images."""
    basis: str
    """What names the groups, in words."""
    notes: tuple[str, ...] = ()
    """What else a user should know, one sentence each."""


def name_groups(
    names: Sequence[str],
    *,
    pattern: str | None = None,
    table: Path | None = None,
    column: str = "group",
    photos: PhotoTables | None = None,
) -> Grouping:
    """Name the group of each image. A pattern or a table wins over what is known of photographs.

    Args:
        names: `<class>/<path>`, forward slashes.
        pattern: regular expression searched in an image's path below its class folder, in the name it had before
            numbering where that is known; its first parentheses name the group.
        table: CSV with the columns `file`, which has every image of `names`, and `column`.
        column: the column of `table` that names the groups.
        photos: which images are crops of one photograph.

    Raises:
        SplitError: both a pattern and a table, one that cannot be used, or an image without a group.
    """
    photos = photos or PhotoTables()
    if pattern is not None and table is not None:
        raise SplitError("both a group pattern and a groups file are given; expected one of them")
    notes: tuple[str, ...] = ()
    if photos.crops_path is not None and (table or pattern is not None):
        notes = (f"{photos.crops_path} is not used: the groups are named by {'a table' if table else 'a pattern'}",)
    if table is not None:
        return Grouping(tuple(_by_table(names, table, column)), f"column {column!r} of {table}", notes)
    if pattern is not None:
        found = tuple(_by_pattern(names, pattern, photos))
        renamed = sum(photos.former_name(name) != name for name in names)
        if renamed:
            notes += (f"the pattern was searched in the names that {renamed} image(s) had before numbering",)
        return Grouping(found, f"pattern {pattern!r}", notes)
    if photos.crops_path is not None:
        return _by_photo(names, photos)
    return Grouping(tuple(names), "each image by itself", photos.notes)


def join_equal(groups: Sequence[str], keys: Sequence[str | None], *, names: Sequence[str]) -> list[str]:
    """Merge the groups of images with the same key; a merged group has the first in order of its names.

    Args:
        groups: (N,) group of each image.
        keys: (N,) None joins nothing.
        names: (N,) order in which images are gone through, so that the outcome does not depend on theirs.
    """
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while leader.setdefault(group, group) != group:
            leader[group] = leader[leader[group]]
            group = leader[group]
        return group

    first_with: dict[str, str] = {}
    for _, key, group in sorted(zip(names, keys, groups, strict=True), key=lambda row: row[0]):
        if key is not None:
            other, own = find(first_with.setdefault(key, group)), find(group)
            leader[max(other, own)] = min(other, own)
    return [find(group) for group in groups]


def _by_photo(names: Sequence[str], photos: PhotoTables) -> Grouping:
    found = [photos.photo_of(name) for name in names]
    crops = sum(photo is not None for photo in found)
    groups = [name if photo is None else photo.name for name, photo in zip(names, found, strict=True)]
    # One photograph may lie under two names.
    groups = join_equal(groups, [photo.sha256 if photo else None for photo in found], names=names)
    number = len({group for group, photo in zip(groups, found, strict=True) if photo})
    notes = photos.notes
    if crops < len(names):
        notes += (f"{len(names) - crops} of {len(names)} images are not in {photos.crops_path}: each stands by itself",)
    return Grouping(tuple(groups), f"photograph, by {photos.crops_path}: {crops} crops of {number}", notes)


def _by_pattern(names: Sequence[str], pattern: str, photos: PhotoTables) -> list[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SplitError(f"group pattern {pattern!r}: not a regular expression: {error}") from error
    if expression.groups < 1:
        raise SplitError(f"group pattern {pattern!r}: has no group; put the part that names it in parentheses")
    found = []
    for name in names:
        former = photos.former_name(name)
        match = expression.search(former.partition("/")[2])
        if match is None or not match.group(1):
            renamed = "" if former == name else f" (numbered from {former})"
            raise SplitError(
                f"{name}{renamed}: the group pattern {pattern!r} does not match its name; widen the pattern"
            )
        found.append(match.group(1))
    return found


def _by_table(names: Sequence[str], table: Path, column: str) -> list[str]:
    group_of = _read_groups(table, column)
    for name in names:
        if name not in group_of:
            raise SplitError(f"{table}: no line for {name!r}; expected every image of SRC in its column 'file'")
    return [group_of[name] for name in names]


def _read_groups(table: Path, column: str) -> Mapping[str, str]:
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
