"""`trainer check`: read every file of a folder to its end, list what is wrong, write the report and the pages."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from sdcore.files import write_bytes_atomically
from sdcore.images.folders import natural_key
from sdcore.pages import ImageTile, PageSection, TileGroup, write_image_page

from ..errors import DataError
from ..processes import default_workers
from .dataset import balance_notes, count_labels, data_parts, locate
from .findings import KINDS, CheckedImage, Finding, find_all
from .fingerprints import fingerprint_files

REPORT_NAME = "check_error.txt"
SHEET_NAME = "check.html"
NEAR_BITS = 4
"""Bits by which the perceptual hashes of look-alikes may differ."""

_OWN_RECORDS = {REPORT_NAME, SHEET_NAME, "manifest.sqlite", "manifest.sqlite-wal", "manifest.sqlite-shm"} | {
    f"{table}.csv" for table in ("split", "folds", "crops", "exported", "mapping", "plan", "predictions")
}
"""Files that this software writes beside images; they are not reported as bad images."""


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be trained on."""

    file: str
    """Path relative to the folder that was checked, forward slashes."""
    reason: str


@dataclass(frozen=True)
class CheckResult:
    """What a check found in a folder."""

    root: Path
    good: int
    """Number of images that can be read to their end."""
    bad: tuple[BadFile, ...]
    """In natural order."""
    findings: tuple[Finding, ...] = ()
    """By kind in the order of `KINDS`, then in natural order of the files."""

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)


def check_folder(
    root: Path, *, near_bits: int | None = NEAR_BITS, workers: int | None = 0, progress: bool = False
) -> CheckResult:
    """Read every file below `root`, any folder, to its end and report what is wrong; nothing is changed.

    Links to folders are not followed. The perceptual hashes of look-alikes may differ in `near_bits`, in [0, 64]; None
    does not search for them. `workers` processes share the reading: 0 reads in this process, None takes
    `default_workers`. The result does not depend on their number.

    Raises:
        DataError: `root` is not a folder, or it holds folds.
        ValueError: `near_bits` or `workers` out of range.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a folder of images")
    if near_bits is not None and not 0 <= near_bits <= 64:
        raise ValueError(f"near_bits: found {near_bits}; expected 0 to 64")
    files, bad = _list_files(root)
    parts = data_parts(root)
    seen = []
    workers = default_workers(len(files)) if workers is None else workers
    for one in fingerprint_files(files, workers=workers, progress=progress, label="check"):
        name = one.path.relative_to(root).as_posix()
        if one.error is None:
            seen.append(CheckedImage(name, *locate(PurePosixPath(name), parts), one))
        else:
            bad.append(BadFile(name, one.error))
    findings = find_all(seen, near_bits=near_bits)
    if any(one.label for one in seen):
        counts = count_labels(((one.part, one.label) for one in seen), parts)
        findings += [Finding("class", note) for note in balance_notes(counts)]
    order = list(KINDS)
    findings.sort(key=lambda one: (order.index(one.kind), [natural_key(file) for file in one.files[:1]]))
    return CheckResult(root, len(seen), tuple(bad), tuple(findings))


def write_report(result: CheckResult) -> Path | None:
    """Write `check_error.txt` into the checked folder, one bad file per line: path, tab, reason.

    Without bad files the report of an earlier check is removed, and None is returned.

    Raises:
        OSError: the folder cannot be written.
    """
    path = result.root / REPORT_NAME
    if not result.bad:
        path.unlink(missing_ok=True)
        return None
    # A line break in a name must not split the entry.
    lines = [" ".join(bad.file.splitlines()) + "\t" + " ".join(bad.reason.splitlines()) + "\n" for bad in result.bad]
    write_bytes_atomically(path, "".join(lines).encode("utf-8", "surrogateescape"))
    return path


def files_by_kind(findings: Sequence[Finding]) -> dict[str, int]:
    """Kind -> number of files in its findings; of kind "class" the findings are counted."""
    counted: Counter[str] = Counter()
    for finding in findings:
        counted[finding.kind] += len(finding.files) or 1
    return dict(counted)


def check_as_json(result: CheckResult) -> dict[str, Any]:
    """The result as plain data for JSON, with every file and every finding."""
    return {
        "good": result.good,
        "bad": [{"file": entry.file, "reason": entry.reason} for entry in result.bad],
        "totals": files_by_kind(result.findings),
        "findings": [
            {"kind": one.kind, "words": one.words, "files": list(one.files), "notes": list(one.notes)}
            for one in result.findings
        ],
    }


def _list_files(root: Path) -> tuple[list[Path], list[BadFile]]:
    errors: list[OSError] = []
    folders = [(Path(folder), names) for folder, _, names in os.walk(root, onerror=errors.append)]
    files = [folder / name for folder, names in folders for name in names if name not in _OWN_RECORDS]
    files.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    return files, [
        BadFile(Path(error.filename).relative_to(root).as_posix(), f"folder cannot be listed: {error.strerror}")
        for error in errors
    ]


MOST_GROUPS = 20
"""Groups shown of each kind; the printed count includes all."""
MOST_TILES = 12
"""Files shown per group."""
MOST_SINGLES = 48
"""Files shown of a kind whose findings hold one file each."""
_FAULTS = frozenset({"copy_across", "contradiction"})


def write_check_sheet(path: Path, result: CheckResult) -> None:
    """Write what a check found as one HTML page.

    Raises:
        OSError: the file cannot be written.
    """
    found = len(result.findings)
    words = f"{result.good} good images, {len(result.bad)} bad files, {found} finding{'' if found == 1 else 's'}"
    write_image_page(path, f"Check of {result.root.resolve().name}", sections_of(result), words=words)


def sections_of(result: CheckResult) -> list[PageSection]:
    """Bad files first, then each kind of finding in the order of `KINDS`; empty kinds are left out."""
    sections = []
    if result.bad:
        words = "They cannot be trained on: repair, rename or remove them. check_error.txt lists them all."
        tiles = tuple(ImageTile(entry.file, words=entry.reason) for entry in result.bad[:MOST_SINGLES])
        bad = (TileGroup(tiles, more=len(result.bad) - len(tiles)),)
        sections.append(PageSection("Bad files", "坏文件", words, len(result.bad), bad, is_fault=True))
    totals = files_by_kind(result.findings)
    for kind, head in KINDS.items():
        found = result.of_kind(kind)
        if not found:
            continue
        singles = all(len(one.files) == 1 for one in found)
        if kind == "class":
            groups: tuple[TileGroup, ...] = tuple(TileGroup((), one.words) for one in found)
        elif singles:
            tiles = tuple(
                ImageTile(one.files[0], result.root / one.files[0], one.words) for one in found[:MOST_SINGLES]
            )
            groups = (TileGroup(tiles, more=len(found) - len(tiles)),)
        else:
            groups = tuple(_group(result.root, one) for one in found[:MOST_GROUPS])
        more = 0 if singles or kind == "class" else len(found) - len(groups)
        sections.append(
            PageSection(head.title, head.chinese, head.words, totals[kind], groups, more=more, is_fault=kind in _FAULTS)
        )
    return sections


def _group(root: Path, found: Finding) -> TileGroup:
    notes = found.notes or ("",) * len(found.files)
    shown = list(zip(found.files, notes, strict=True))[:MOST_TILES]
    tiles = tuple(ImageTile(file, root / file, note) for file, note in shown)
    return TileGroup(tiles, found.words, more=len(found.files) - len(shown))


def write_look_alike_page(path: Path, root: Path, found: Sequence[Finding], *, images: int) -> None:
    """Write the page of look-alikes across the splits of DATA, each held-out image beside the training image.

    `found` has one or more findings of `find_look_alikes_across`; `images` is the number of all held-out images.

    Raises:
        OSError: the file cannot be written.
    """
    words = f"{len(found)} of {images} validation and test images look like one that is trained on"
    (section,) = sections_of(CheckResult(root, images, (), tuple(found)))
    section = replace(section, total=len(found))  # counts held-out images, not files
    write_image_page(path, f"Look-alikes across the splits of {root.resolve().name}", [section], words=words)
