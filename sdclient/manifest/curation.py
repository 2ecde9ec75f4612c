"""Results of curation in the manifest: scores, fingerprints, the filters' verdicts and people's decisions.

A person's decision takes precedence over the filters'. Everything is bound to the sha256 of the image it belongs to: an
image that was made again has no scores and no verdict until it is judged again.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from ..errors import ReviewConflict
from .database import DONE, Manifest

ACCEPTED: Literal["accepted"] = "accepted"
REJECTED: Literal["rejected"] = "rejected"
UNDECIDED: Literal[""] = ""

Scores = Mapping[str, float | None]
"""Name -> score; None if it does not apply to the image."""
ScoreTable = dict[str, dict[str, float | None]]
"""File -> name -> score."""

_CREATE_FINGERPRINTS = (
    "CREATE TABLE IF NOT EXISTS fingerprints "
    "(file TEXT PRIMARY KEY, sha256 TEXT NOT NULL, basis TEXT NOT NULL, hash TEXT NOT NULL, twins TEXT) WITHOUT ROWID"
)

_EFFECTIVE = """
SELECT images.file, images.class_name,
       coalesce(nullif(reviews.verdict, ''), filter_verdicts.verdict, ''),
       coalesce(filter_verdicts.reasons, '[]'), coalesce(nullif(reviews.verdict, ''), '') != '',
       coalesce(reviews.revision, 0)
FROM images
LEFT JOIN filter_verdicts ON filter_verdicts.file = images.file AND filter_verdicts.sha256 = images.sha256
LEFT JOIN reviews ON reviews.file = images.file AND reviews.sha256 = images.sha256
WHERE images.status = 'done' ORDER BY images.file
"""


@dataclass(frozen=True)
class FilterVerdict:
    """The filters' verdict on one image."""

    file: str
    sha256: str
    """Of the bytes that were judged."""
    reasons: tuple[str, ...]
    """Keys of the reasons for rejecting it; empty: accepted."""


@dataclass(frozen=True)
class Verdict:
    """The verdict that counts for one image: a person's decision, else the filters'."""

    file: str
    class_name: str
    verdict: str
    """ACCEPTED, REJECTED, or UNDECIDED."""
    reasons: tuple[str, ...]
    """The filters' reasons, even if a person decided otherwise."""
    is_by_person: bool
    revision: int
    """Number that grows with each decision of a person; 0 without a decision."""


class Curation:
    """Scores, verdicts and decisions in an open manifest, which must be open for writing to change them."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def set_scores(self, rows: Iterable[tuple[str, str, Scores]]) -> None:
        """Write rows of (file, sha256 of the bytes that were scored, scores); they replace former ones."""
        values = [(file, sha256, json.dumps(dict(scores), sort_keys=True)) for file, sha256, scores in rows]
        with self._manifest.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", values)

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Scores by file, of images whose bytes have not changed since."""
        query = "SELECT file, scores FROM scores JOIN images USING (file, sha256) WHERE status = 'done' ORDER BY file"
        return {file: json.loads(text) for file, text in self._manifest.query(query)}

    def set_filter_verdicts(self, verdicts: Iterable[FilterVerdict]) -> None:
        """Write the filters' verdicts; they replace former ones, but not people's decisions."""
        rows = [
            (one.file, one.sha256, REJECTED if one.reasons else ACCEPTED, json.dumps(one.reasons)) for one in verdicts
        ]
        with self._manifest.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO filter_verdicts VALUES (?, ?, ?, ?)", rows)

    def verdicts(self) -> Iterator[Verdict]:
        """The verdict on every image that is done, ordered by file name."""
        for file, class_name, verdict, reasons, is_by_person, revision in self._manifest.query(_EFFECTIVE):
            yield Verdict(file, class_name, verdict, tuple(json.loads(reasons)), bool(is_by_person), revision)

    def is_curated(self) -> bool:
        """Whether the filters or a person judged any image."""
        return any(one.verdict for one in self.verdicts())

    def accepted_files(self) -> set[str]:
        """Files that are accepted; images without a verdict are not."""
        return {one.file for one in self.verdicts() if one.verdict == ACCEPTED}

    def review(self, file: str, verdict: str, *, tab: str, seen_revision: int, seen_sha256: str | None = None) -> int:
        """Write a person's decision; returns its revision.

        Args:
            verdict: ACCEPTED, REJECTED, or UNDECIDED to leave it to the filters again.
            seen_revision: revision of the decision that the person saw.
            seen_sha256: sha256 of the image that the person saw; None skips this check.

        Raises:
            ReviewConflict: it was decided on another page or made again meanwhile, or there is no such image.
        """
        with self._manifest.transaction() as db:
            return write_review(db, file, verdict, tab=tab, seen_revision=seen_revision, seen_sha256=seen_sha256)

    def undo(self, tab: str) -> str | None:
        """Undo a page's last decision that nobody changed since; returns the file, None if there is none."""
        with self._manifest.transaction() as db:
            return take_back_review(db, tab)


def write_review(
    db: sqlite3.Connection, file: str, verdict: str, *, tab: str, seen_revision: int, seen_sha256: str | None = None
) -> int:
    """`Curation.review` within an open transaction.

    Reading the revision and writing the decision share the transaction, so two pages cannot both decide on what they
    saw: the second one gets a `ReviewConflict`, and nothing is written.
    """
    row = db.execute("SELECT sha256 FROM images WHERE file = ? AND status = 'done'", (file,)).fetchone()
    if row is None:
        raise ReviewConflict(f"{file}: no such image is done; load the page again")
    if seen_sha256 is not None and row[0] != seen_sha256:
        raise ReviewConflict(f"{file}: was made again meanwhile; look again")
    former, revision = db.execute(
        "SELECT verdict, revision FROM reviews WHERE file = ? AND sha256 = ?", (file, row[0])
    ).fetchone() or (UNDECIDED, 0)
    if revision != seen_revision:
        raise ReviewConflict(f"{file}: was decided elsewhere meanwhile ({former or 'undecided'}); look again")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    cursor = db.execute(
        "INSERT INTO review_log (file, sha256, former, verdict, tab, reviewed_at) VALUES (?, ?, ?, ?, ?, ?)",
        (file, row[0], former, verdict, tab, now),
    )
    new = int(cursor.lastrowid or 0)
    db.execute("INSERT OR REPLACE INTO reviews VALUES (?, ?, ?, ?)", (file, row[0], verdict, new))
    return new


def take_back_review(db: sqlite3.Connection, tab: str) -> str | None:
    """`Curation.undo` within an open transaction."""
    row = db.execute(
        "SELECT review_log.file, review_log.sha256, former, review_log.revision FROM review_log "
        "JOIN reviews ON reviews.file = review_log.file AND reviews.revision = review_log.revision "
        "WHERE tab = ? ORDER BY review_log.revision DESC LIMIT 1",
        (tab,),
    ).fetchone()
    if row is None:
        return None
    file, sha256, former, revision = row
    before = db.execute(
        "SELECT max(revision) FROM review_log WHERE file = ? AND sha256 = ? AND revision < ?", (file, sha256, revision)
    ).fetchone()[0]
    db.execute("DELETE FROM review_log WHERE revision = ?", (revision,))
    db.execute("INSERT OR REPLACE INTO reviews VALUES (?, ?, ?, ?)", (file, sha256, former, before or 0))
    return str(file)


@dataclass(frozen=True)
class NearDuplicate:
    """Another image of the class that looks alike, and was there before."""

    file: str
    sha256: str
    """Of its bytes at the time of the comparison."""
    likeness: float
    """Structural similarity, up to 1."""


@dataclass(frozen=True)
class Fingerprint:
    """Perceptual hash of an image, and its near duplicates."""

    file: str
    sha256: str
    """Of the image's bytes."""
    basis: str
    """Version of the scores and the real images that they were computed with."""
    hash: str
    """Hexadecimal."""
    twins: tuple[NearDuplicate, ...] | None
    """None: not compared yet."""


class Fingerprints:
    """The fingerprints in an open manifest; their table is created when the first one is written."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def save(self, rows: Iterable[Fingerprint]) -> None:
        """Write fingerprints; they replace former ones."""
        values = [(row.file, row.sha256, row.basis, row.hash, _as_text(row.twins)) for row in rows]
        with self._manifest.transaction() as db:
            db.execute(_CREATE_FINGERPRINTS)
            db.executemany("INSERT OR REPLACE INTO fingerprints VALUES (?, ?, ?, ?, ?)", values)

    def all(self) -> dict[str, Fingerprint]:
        """Fingerprints by file, of images whose bytes have not changed; twins whose bytes changed are left out."""
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
    twins = (NearDuplicate(*row) for row in json.loads(text))
    return tuple(twin for twin in twins if current.get(twin.file) == twin.sha256)


@dataclass(frozen=True)
class ImageRow:
    """What curation needs to know of an image that is done."""

    file: str
    class_name: str
    source: str
    sha256: str
    created_at: str


class CurationStore:
    """Scores, fingerprints and verdicts of one output; one thread uses it.

    In a dry run the manifest may be open for reading alone: new scores are kept in memory, and nothing is written.
    """

    def __init__(self, manifest: Manifest, *, is_dry_run: bool) -> None:
        self._manifest = manifest
        self._curation = Curation(manifest)
        self._fingerprints = Fingerprints(manifest)
        self._is_dry_run = is_dry_run
        self._unwritten_scores: ScoreTable = {}
        self._unwritten_prints: dict[str, Fingerprint] = {}
        self._saved: dict[str, FilterVerdict] = {}

    def done(self) -> list[ImageRow]:
        """Every image that is done, ordered by file name."""
        query = "SELECT file, class_name, source, sha256, created_at FROM images WHERE status = ? ORDER BY file"
        return [ImageRow(*row) for row in self._manifest.query(query, (DONE,))]

    def prints(self) -> dict[str, Fingerprint]:
        """Fingerprints by file, of images whose bytes have not changed."""
        stored = self._fingerprints.all()
        if not self._unwritten_prints:
            return stored
        current = {one.file: one.sha256 for one in self.done()}
        return {**stored, **{f: one for f, one in self._unwritten_prints.items() if current.get(f) == one.sha256}}

    def scores(self, prints: Mapping[str, Fingerprint], basis: str) -> ScoreTable:
        """Scores by file, of images with one of these fingerprints and this basis."""
        known = {**self._curation.scores(), **self._unwritten_scores}
        return {file: row for file, row in known.items() if file in prints and prints[file].basis == basis}

    def human_verdicts(self) -> dict[str, str]:
        """People's decisions by file."""
        return {one.file: one.verdict for one in self._curation.verdicts() if one.is_by_person}

    def save_scores(self, scores: ScoreTable, prints: Mapping[str, Fingerprint]) -> None:
        """Save the scores and the fingerprints of the same images."""
        if self._is_dry_run:
            self._unwritten_scores.update(scores)
            self._unwritten_prints.update(prints)
            return
        # Scores first: a fingerprint means that its image was scored. After a crash in between, it is scored again.
        self._curation.set_scores((file, prints[file].sha256, row) for file, row in scores.items())
        self._fingerprints.save(prints.values())

    def save_verdicts(self, verdicts: Iterable[FilterVerdict]) -> None:
        """Write the verdicts that changed since the last call."""
        if self._is_dry_run:
            return
        by_file = {one.file: one for one in verdicts}
        new = [verdict for file, verdict in by_file.items() if self._saved.get(file) != verdict]
        if new:
            self._curation.set_filter_verdicts(new)
        self._saved = by_file
