"""The state of many images at once, read from the manifest's indexes, and the images of earlier runs.

`Manifest.states` gives the same image by image. All queries raise `ManifestError` if the manifest is damaged.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import Final

from .database import DONE, FAILED, PLANNED, RUNNING, Manifest

STATUSES = (DONE, RUNNING, PLANNED, FAILED)

NEW: Final = 0
"""The byte of an image without a row."""
STATE_BYTES: Final = {status: number for number, status in enumerate(STATUSES, 1)}
"""status -> its byte in the result of `states_of_source`."""

_AFTER_UNDERSCORE = "`"  # the next character in Unicode, and so in SQLite's order
_NUMBER = "CAST(substr(file, ?) AS INTEGER)"
_OF_SOURCE = "FROM images INDEXED BY images_by_source WHERE source_sha256 = ? AND file > ? AND file < ?"
_COUNT = f"SELECT count(*) {_OF_SOURCE} AND {_NUMBER} BETWEEN 1 AND ?"
_NUMBERS = f"SELECT {_NUMBER} {_OF_SOURCE}"
_UNFINISHED = f"""
SELECT {_NUMBER}, status FROM images INDEXED BY images_unfinished
WHERE status != 'done' AND status IN ('planned', 'running', 'failed') AND file > ? AND file < ?
"""  # noqa: S608 - our own words only
_CLASS = "substr(file, 1, instr(file, '/') - 1)"  # the folder; `file` is in every index, `class_name` in none
_ALL_BY_CLASS = f"SELECT {_CLASS}, '{DONE}', count(*) FROM images GROUP BY 1"  # noqa: S608 - our own words only
_UNFINISHED_BY_CLASS = f"SELECT {_CLASS}, status, count(*) FROM images WHERE status != 'done' GROUP BY 1, 2"  # noqa: S608 - our own words only
_ENTER = "INSERT OR IGNORE INTO images (file, class_name, source, source_sha256, k, seed, key, status) VALUES "
_ENTERED_TOGETHER = 50
"""Rows in one statement: takes two thirds of the time. Older SQLite versions accept at most 999 values in one."""


def states_of_source(manifest: Manifest, stem: str, source_sha256: str, count: int) -> bytearray:
    """The states of images 1 to `count` of a source, one byte each; a row with another source hash counts as `NEW`.

    `stem` is the common beginning of the source's files, "<class>/<number>_".
    """
    within = (stem, stem[:-1] + _AFTER_UNDERSCORE)
    after_stem = len(stem) + 1
    ((entered,),) = manifest.query(_COUNT, (source_sha256, *within, after_stem, count))
    if entered == count:
        states = bytearray([STATE_BYTES[DONE]]) * count
    else:
        states = bytearray(count)
        for (k,) in manifest.query(_NUMBERS, (after_stem, source_sha256, *within)):
            if 1 <= k <= count:
                states[k - 1] = STATE_BYTES[DONE]
    if entered:
        for k, status in manifest.query(_UNFINISHED, (after_stem, *within)):
            if 1 <= k <= count and states[k - 1] != NEW:
                states[k - 1] = STATE_BYTES[status]
    return states


def key_of(manifest: Manifest, file: str) -> str | None:
    """The key of an image; None without a row."""
    return next((str(key) for (key,) in manifest.query("SELECT key FROM images WHERE file = ?", (file,))), None)


def mask_of(manifest: Manifest, file: str) -> str | None:
    """The mask of an image, "" if it has none; None if there is no such image with the status done."""
    rows = manifest.query("SELECT mask FROM images WHERE file = ? AND status = ?", (file, DONE))
    return next((str(found) for (found,) in rows), None)


def file_of_other_bytes(manifest: Manifest, stem: str, source_sha256: str) -> str | None:
    """A file with this stem whose row has another source hash; None if there is none."""
    query = "SELECT file FROM images WHERE file > ? AND file < ? AND source_sha256 != ? ORDER BY k LIMIT 1"
    rows = manifest.query(query, (stem, stem[:-1] + _AFTER_UNDERSCORE, source_sha256))
    return next((str(file) for (file,) in rows), None)


def enter(database: sqlite3.Connection, rows: Iterable[tuple[str, str, str, str, int, int, str]]) -> int:
    """Enter planned images that have no row yet, within `Manifest.transaction`; returns their number.

    Each of `rows` has the values of a `PlannedRow`, in the order of its fields.
    """
    entered, left = 0, iter(rows)
    while together := tuple(islice(left, _ENTERED_TOGETHER)):
        places = ", ".join([f"(?, ?, ?, ?, ?, ?, ?, '{PLANNED}')"] * len(together))
        entered += database.execute(_ENTER + places, tuple(chain.from_iterable(together))).rowcount
    return entered


def count_by_class(manifest: Manifest) -> dict[str, Counter[str]]:
    """Numbers of images by class and status, ordered by class name."""
    counts: dict[str, Counter[str]] = {}
    # One query, so that all numbers are of one moment even while a run works.
    for name, status, rows in manifest.query(f"{_ALL_BY_CLASS} UNION ALL {_UNFINISHED_BY_CLASS}"):
        counts.setdefault(name, Counter())[status] += rows
        if status != DONE:
            counts[name][DONE] -= rows
    return counts


def count_failures(manifest: Manifest) -> Counter[tuple[str, str]]:
    """Numbers of images that were given up, by class and reason."""
    return Counter((state.class_name, state.reason) for state in manifest.states(FAILED))


SourceKey = tuple[str, str]
"""(class, source file name)."""


@dataclass(frozen=True)
class EarlierImages:
    """The images that earlier runs made or gave up."""

    last_k: Mapping[SourceKey, int]
    """The highest image number of a source."""
    failed: Mapping[SourceKey, int]
    """Number of images of a source that were given up."""
    strengths: Mapping[str, float]
    """Denoising strength by file, of images that are done."""

    @classmethod
    def of(cls, manifest: Manifest) -> EarlierImages:
        """Read them from a manifest."""
        last_k: dict[SourceKey, int] = {}
        failed: dict[SourceKey, int] = {}
        query = "SELECT class_name, source, max(k), sum(status = ?) FROM images GROUP BY class_name, source"
        for class_name, source, k, failures in manifest.query(query, (FAILED,)):
            key = (class_name, PurePosixPath(source).name)
            last_k[key], failed[key] = k, failures
        strengths = {record.file: float(record.asked["denoising_strength"]) for record in manifest.images()}
        return cls(last_k, failed, strengths)
