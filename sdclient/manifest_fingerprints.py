"""Perceptual hashes of the images of a manifest, and which of them look alike; bound to the bytes they were taken of.

The table `fingerprints` is made when something is first written. Standard library only, as the manifest itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from .manifest import Manifest

_CREATE = (
    "CREATE TABLE IF NOT EXISTS fingerprints "
    "(file TEXT PRIMARY KEY, sha256 TEXT NOT NULL, basis TEXT NOT NULL, hash TEXT NOT NULL, twins TEXT) WITHOUT ROWID"
)


@dataclass(frozen=True)
class NearDuplicate:
    """Another image of the class that looks alike."""

    file: str
    sha256: str
    """Of its bytes when the two were compared."""
    likeness: float
    """Structural similarity of the two, up to 1."""


@dataclass(frozen=True)
class Fingerprint:
    """What an image is recognised by."""

    file: str
    sha256: str
    """Of the image's bytes."""
    basis: str
    """What its scores were computed with: a version and the real images."""
    hash: str
    """Perceptual hash, hexadecimal."""
    twins: tuple[NearDuplicate, ...] | None
    """Images that were there before it and look alike; None while it was not compared yet."""


class Fingerprints:
    """The fingerprints in an open manifest.

    Args:
        manifest: open for writing where anything is to be written.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def keep(self, rows: Iterable[Fingerprint]) -> None:
        """Write fingerprints, each replacing its former one."""
        with self._manifest.transaction() as db:
            db.execute(_CREATE)
            db.executemany(
                "INSERT OR REPLACE INTO fingerprints VALUES (?, ?, ?, ?, ?)",
                [(row.file, row.sha256, row.basis, row.hash, _as_text(row.twins)) for row in rows],
            )

    def all(self) -> dict[str, Fingerprint]:
        """Fingerprints by file, of images whose bytes are still the same; twins that were made again are left out."""
        if not list(self._manifest.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'fingerprints'")):
            return {}
        current = dict(self._manifest.query("SELECT file, sha256 FROM images WHERE status = 'done'"))
        rows = self._manifest.query("SELECT file, sha256, basis, hash, twins FROM fingerprints ORDER BY file")
        return {
            file: Fingerprint(file, sha256, basis, digits, _still_there(twins, current))
            for file, sha256, basis, digits, twins in rows
            if current.get(file) == sha256
        }


def _as_text(twins: tuple[NearDuplicate, ...] | None) -> str | None:
    return None if twins is None else json.dumps([[twin.file, twin.sha256, twin.likeness] for twin in twins])


def _still_there(text: str | None, current: dict[str, str]) -> tuple[NearDuplicate, ...] | None:
    if text is None:
        return None
    return tuple(
        twin for twin in (NearDuplicate(*row) for row in json.loads(text)) if current.get(twin.file) == twin.sha256
    )
