"""CheckResult -> the sections of its sheet of thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..check import CheckResult, files_by_kind
from ..findings import KINDS, Finding
from .sheet import Group, Section, Tile, write_sheet

MOST_GROUPS = 20
"""Groups shown of each kind; the count is always of all."""
MOST_TILES = 12
"""Files shown of each group."""
MOST_SINGLES = 48
"""Files shown of a kind whose findings are of one file each."""
_FAULTS = frozenset({"copy_across", "contradiction"})


def write_check_sheet(path: Path, result: CheckResult) -> None:
    """Write what a check found as one HTML page.

    Raises:
        OSError: the file cannot be written.
    """
    found = len(result.findings)
    words = f"{result.good} good pictures, {len(result.bad)} bad files, {found} finding{'' if found == 1 else 's'}"
    write_sheet(path, f"Check of {result.root.resolve().name}", sections_of(result), words=words)


def sections_of(result: CheckResult) -> list[Section]:
    """Bad files first, then each kind of finding in the order of `KINDS`; kinds without any are left out."""
    sections = []
    if result.bad:
        tiles = tuple(Tile(entry.file, words=entry.reason) for entry in result.bad[:MOST_SINGLES])
        sections.append(
            Section(
                "Bad files",
                "坏文件",
                "They cannot be trained on: repair, rename or remove them. All stand in check_error.txt.",
                len(result.bad),
                (Group(tiles, more=len(result.bad) - len(tiles)),),
                is_fault=True,
            )
        )
    totals = files_by_kind(result.findings)
    for kind, head in KINDS.items():
        found = result.of_kind(kind)
        if not found:
            continue
        singles = all(len(one.files) == 1 for one in found)
        if kind == "class":
            groups: tuple[Group, ...] = tuple(Group((), one.words) for one in found)
        elif singles:
            tiles = tuple(_tile(result.root, one.files[0], one.words) for one in found[:MOST_SINGLES])
            groups = (Group(tiles, more=len(found) - len(tiles)),)
        else:
            groups = tuple(_group(result.root, one) for one in found[:MOST_GROUPS])
        more = 0 if singles or kind == "class" else len(found) - len(groups)
        sections.append(
            Section(head.title, head.chinese, head.words, totals[kind], groups, more=more, is_fault=kind in _FAULTS)
        )
    return sections


def _group(root: Path, found: Finding) -> Group:
    notes: Sequence[str] = found.notes or ("",) * len(found.files)
    shown = list(zip(found.files, notes, strict=True))[:MOST_TILES]
    return Group(
        tuple(_tile(root, file, note) for file, note in shown), found.words, more=len(found.files) - len(shown)
    )


def _tile(root: Path, file: str, words: str) -> Tile:
    return Tile(file, root / file, words)
