"""Read a folder of pictures to its end: files that cannot be trained on, and what about the others deserves a look."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sdcore.files import write_bytes_atomically
from sdcore.images.folders import natural_key

from .counts import notes_on, tally
from .duplicates import find_copies, find_look_alikes
from .errors import DataError
from .findings import KINDS, Finding, Seen
from .fingerprints import fingerprint_files
from .layout import parts_of, place_of
from .outliers import find_blank, find_look_outliers, find_size_outliers
from .unusable import ODDITIES
from .unusable import reason_unusable as reason_unusable
from .workers import sensible_workers

REPORT_NAME = "check_error.txt"
SHEET_NAME = "check.html"
NEAR_BITS = 4
"""Bits by which the perceptual hashes of look-alikes may differ."""

_OWN_RECORDS = frozenset(
    {
        REPORT_NAME,
        SHEET_NAME,
        "split.csv",
        "folds.csv",
        "crops.csv",
        "exported.csv",
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
    findings: tuple[Finding, ...] = ()
    """By kind in the order of `KINDS`, then in natural order of the files."""

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)


def check_folder(
    root: Path, *, near_bits: int | None = NEAR_BITS, workers: int | None = 0, progress: bool = False
) -> CheckResult:
    """Read every file below `root` to its end and tell what is wrong with it; nothing is changed.

    Links to folders are not followed. The result does not depend on the number of workers.

    Args:
        root: a DATA folder, one of class folders, or any other.
        near_bits: bits in [0, 64] by which the perceptual hashes of look-alikes may differ; None looks for none.
        workers: processes that share the reading; 0 reads in this one, None takes as many as are sensible.
        progress: show a bar on stderr.

    Raises:
        DataError: no such folder, or one that holds folds.
        ValueError: `near_bits` or `workers` out of range.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a folder of images")
    if near_bits is not None and not 0 <= near_bits <= 64:
        raise ValueError(f"near_bits: found {near_bits}; expected 0 to 64")
    files, bad = _list_files(root)
    parts = parts_of(root)
    seen = []
    if workers is None:
        workers = sensible_workers(len(files))
    for one in fingerprint_files(files, workers=workers, progress=progress, label="check"):
        name = _relative(one.path, root)
        if one.error is None:
            seen.append(Seen(name, *place_of(PurePosixPath(name), parts), one))
        else:
            bad.append(BadFile(name, one.error))
    findings = [
        *find_copies(seen),
        *(find_look_alikes(seen, max_distance=near_bits) if near_bits is not None else ()),
        *find_blank(seen),
        *find_size_outliers(seen),
        *find_look_outliers(seen),
        *(Finding(kind, _odd_words(kind, one), (one.file,)) for one in seen for kind in one.print.oddities),
    ]
    if any(one.label for one in seen):
        findings += [Finding("class", note) for note in notes_on(tally(((one.part, one.label) for one in seen), parts))]
    order = {kind: place for place, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: (order[finding.kind], [natural_key(file) for file in finding.files[:1]]))
    return CheckResult(root, len(seen), tuple(bad), tuple(findings))


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


def files_by_kind(findings: Sequence[Finding]) -> dict[str, int]:
    """Files in the findings of each kind that there is; for classes, the findings."""
    counted: Counter[str] = Counter()
    for finding in findings:
        counted[finding.kind] += len(finding.files) or 1
    return dict(counted)


def check_as_json(result: CheckResult) -> dict[str, Any]:
    """Plain data for a JSON document, with every file and every finding."""
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
    unlisted: list[OSError] = []
    files = [
        Path(place, name)
        for place, _, names in os.walk(root, onerror=unlisted.append)
        for name in names
        if name not in _OWN_RECORDS
    ]
    files.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    return files, [
        BadFile(_relative(Path(error.filename), root), f"folder cannot be listed: {error.strerror}")
        for error in unlisted
    ]


def _lines(bad: Iterable[BadFile]) -> Iterable[str]:
    for entry in bad:
        # A line break in a name must not make two lines of it.
        yield " ".join(entry.file.splitlines()) + "\t" + " ".join(entry.reason.splitlines()) + "\n"


def _odd_words(kind: str, one: Seen) -> str:
    if kind == "disguised":
        return f"{one.print.format} content; rename it or save it anew"
    if kind == "huge":
        return f"{one.print.size[0]} x {one.print.size[1]} pixels"
    return f"mode {one.print.mode}" if kind in ("deep", "palette", "alpha") else ODDITIES[kind].split(";")[0]


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
