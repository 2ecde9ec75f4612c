"""Divide class folders of images into train, val and test without tearing a group apart.

Images of one board, or of one photograph, are not independent: a group never lies in two parts. Files with
identical decoded pixels are one group always, but for pictures of a single colour, which tell nothing of their origin.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .dataset import PARTS
from .partition import check_amounts, part_sizes, partition, require_groups
from .placing import Manner, Placed, Placement, put_in_place, refuse_nesting
from .source_images import GroupBy, SourceImages, read_source

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
    placed: Placed
    """What was copied or linked now; nothing when everything was there already."""
    asked: Mapping[str, Mapping[str, int]]
    """Class -> part -> images that were aimed at; `counts` tells what whole groups allowed."""
    grouping: str
    """In one line: how many groups, and by what."""
    notes: tuple[str, ...]
    """What else a user should know, one sentence each."""
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
    manner: Manner = "copy",
    progress: bool = False,
) -> SplitResult:
    """Copy class folders into `dest/train`, `dest/val` and `dest/test`, stratified by class and whole by group.

    The outcome depends on names, bytes, amounts, groups and seed alone. DEST appears when it is complete; a
    repeat with the same outcome makes only what is missing.

    Args:
        source: one folder per class; a `crops.csv` of `sdclient crop` and a `mapping.csv` of `sdclient number` in
            it tell which images are crops of one photograph, so of one group.
        dest: a folder that is not there yet, is empty, or holds this very split.
        val_share: for validation: a share of each class in [0, 1), or, as an `int` of 1 or more, images of each.
        test_share: for testing, likewise; the two leave something to train on.
        seed: which split of the many possible.
        group_by: what names the groups; wins over the tables in SRC.
        manner: copies, or hard links by which DEST and SRC share each file's content.
        progress: show bars on stderr.

    Raises:
        SplitError: amounts out of range, an unreadable image, a generated one, an image without a group, a class
            with too few groups, or a DEST that holds something else.
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
    placements = [Placement(row.file, row.source, row.sha256) for row in rows]
    placed = put_in_place(source, dest, placements, {SPLIT_NAME: split_table(rows)}, manner=manner, progress=progress)
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
    return csv_bytes(_COLUMNS, lines)


def csv_bytes(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """A CSV file in UTF-8 that spreadsheet programs read as such."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return text.getvalue().encode("utf-8-sig")
