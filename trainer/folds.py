"""Divide class folders of images several times, so that every image is a test image exactly once.

Each fold is a DATA folder of its own, `DEST/fold-0` and so on; `DEST/folds.csv` says which fold tests which image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .layout import FOLDS_NAME
from .partition import partition_folds, require_fold_groups, val_sizes
from .placing import Manner, Placed, Placement, put_in_place, refuse_nesting
from .source_images import GroupBy, read_source
from .split import SPLIT_NAME, SplitRow, count_parts, csv_bytes, rows_of, split_table

_COLUMNS = ("source", "class", "group", "fold", "sha256")


@dataclass(frozen=True)
class Fold:
    """One division of all images; a DATA folder."""

    path: Path
    rows: tuple[SplitRow, ...]
    """Files relative to `path`."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Class -> part -> images."""
        return count_parts(self.rows)


@dataclass(frozen=True)
class FoldsResult:
    """Folds that are in place."""

    dest: Path
    folds: tuple[Fold, ...]
    placed: Placed
    """What was copied or linked now; nothing when everything was there already."""
    asked_val: Mapping[str, int]
    """Class -> images that each fold's val aimed at; the folds' `counts` tell what whole groups allowed."""
    grouping: str
    """In one line: how many groups, and by what."""
    notes: tuple[str, ...]
    """What else a user should know, one sentence each."""
    contradictions: tuple[tuple[str, str], ...]
    """Pairs of source files with the same bytes in different classes: one of the two labels is wrong."""


def split_folds(
    source: Path,
    dest: Path,
    *,
    folds: int = 5,
    val_share: float = 0.15,
    seed: int = 0,
    group_by: GroupBy | None = None,
    manner: Manner = "share",
    progress: bool = False,
) -> FoldsResult:
    """Make `dest/fold-0` to `dest/fold-<folds - 1>`, each with train, val and test, and `dest/folds.csv`.

    Every image is a test image in exactly one fold; a group is whole in every fold. The outcome depends on names,
    bytes, groups, number of folds, val share and seed alone. DEST appears when all folds are complete; a repeat
    with the same outcome makes only what is missing.

    Args:
        source: one folder per class, as for `trainer.split.split`.
        dest: a folder that is not there yet, is empty, or holds these very folds.
        folds: how many, 2 or more.
        val_share: of each class (of all its images, not of the rest), taken from what a fold does not test: a share
            in [0, 1), or, as an `int` of 1 or more, images of each class.
        seed: which folds of the many possible.
        group_by: what names the groups; wins over the tables in SRC.
        manner: "share" keeps each image once in DEST, hard-linked into all folds; "link" shares SRC's files;
            "copy" gives every fold copies of its own.
        progress: show bars on stderr.

    Raises:
        SplitError: amounts out of range, an unreadable image, a generated one, an image without a group, a class
            with fewer groups than the folds take, links that are not possible, or a DEST that holds something else.
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
        Placement(f"{fold.path.name}/{row.file}", row.source, row.sha256) for fold in made for row in fold.rows
    ]
    placed = put_in_place(source, dest, placements, tables, manner=manner, progress=progress)
    asked_val = val_sizes(images.labels, val_share=val_share)
    return FoldsResult(dest, made, placed, asked_val, images.grouping, images.notes, images.contradictions())


def _folds_table(folds: Sequence[Fold]) -> bytes:
    tested = {row.source: number for number, fold in enumerate(folds) for row in fold.rows if row.part == "test"}
    lines = ((row.source, row.label, row.group, tested[row.source], row.sha256) for row in folds[0].rows)
    return csv_bytes(_COLUMNS, lines)
