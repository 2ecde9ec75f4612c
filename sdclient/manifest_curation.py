"""What curation knows of the images of a manifest: scores, what the filters say, what a person decided.

A person's decision goes before the filters'. Everything is bound to the bytes it was said of: an image that was made
again has neither scores nor verdict until it is looked at again. Standard library only, as the manifest itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from .errors import ReviewConflict
from .manifest import Manifest

ACCEPTED: Literal["accepted"] = "accepted"
REJECTED: Literal["rejected"] = "rejected"
UNDECIDED: Literal[""] = ""

Scores = Mapping[str, float | None]
"""Score by name; None where it does not apply to the image."""

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
    """What the filters say of one image."""

    file: str
    sha256: str
    """Of the image's bytes that were judged."""
    reasons: tuple[str, ...]
    """Why it is rejected, a word of the filter's each; none accepts it."""


@dataclass(frozen=True)
class Verdict:
    """What holds for one image that is done."""

    file: str
    class_name: str
    verdict: str
    """ACCEPTED, REJECTED, or UNDECIDED."""
    reasons: tuple[str, ...]
    """The filters' reasons, also where a person decided otherwise."""
    is_by_person: bool
    revision: int
    """Grows with each decision of a person; 0 where there was none."""


class Curation:
    """The curation part of an open manifest.

    Args:
        manifest: open for writing where anything is to be written; an older one that is open for reading holds none.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def set_scores(self, rows: Iterable[tuple[str, str, Scores]]) -> None:
        """Write (file, sha256 of the bytes that were scored, scores), each replacing its former ones."""
        with self._manifest.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?)",
                [(file, sha256, json.dumps(dict(scores), sort_keys=True)) for file, sha256, scores in rows],
            )

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Scores by file, of images whose bytes are still the ones that were scored."""
        rows = self._manifest.query(
            "SELECT file, scores FROM scores JOIN images USING (file, sha256) WHERE status = 'done' ORDER BY file"
        )
        return {file: json.loads(text) for file, text in rows}

    def set_filter_verdicts(self, verdicts: Iterable[FilterVerdict]) -> None:
        """Write what the filters say, each replacing what they said before; a person's decisions stay."""
        with self._manifest.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO filter_verdicts VALUES (?, ?, ?, ?)",
                [
                    (one.file, one.sha256, REJECTED if one.reasons else ACCEPTED, json.dumps(one.reasons))
                    for one in verdicts
                ],
            )

    def verdicts(self) -> Iterator[Verdict]:
        """What holds for every image that is done, ordered by file name."""
        for file, class_name, verdict, reasons, is_by_person, revision in self._manifest.query(_EFFECTIVE):
            yield Verdict(file, class_name, verdict, tuple(json.loads(reasons)), bool(is_by_person), revision)

    def is_curated(self) -> bool:
        """Whether the filters or a person have judged any image."""
        return any(one.verdict for one in self.verdicts())

    def accepted_files(self) -> set[str]:
        """Files that are accepted; those nobody judged are not."""
        return {one.file for one in self.verdicts() if one.verdict == ACCEPTED}

    def review(self, file: str, verdict: str, *, tab: str, seen_revision: int, seen_sha256: str | None = None) -> int:
        """Write a person's decision; gives its revision.

        Args:
            file: which image.
            verdict: ACCEPTED, REJECTED, or UNDECIDED to leave it to the filters again.
            tab: which of the open pages decided, for `undo`.
            seen_revision: of the decision that the person saw.
            seen_sha256: of the image's bytes that the person saw; None does not ask.

        Raises:
            ReviewConflict: it was decided on another page or made again meanwhile, or there is no such image.
        """
        with self._manifest.transaction() as db:
            return write_review(db, file, verdict, tab=tab, seen_revision=seen_revision, seen_sha256=seen_sha256)

    def undo(self, tab: str) -> str | None:
        """Take back the last decision of a page that nobody changed since; gives the file, None where there is none."""
        with self._manifest.transaction() as db:
            return take_back_review(db, tab)


def write_review(
    db: sqlite3.Connection, file: str, verdict: str, *, tab: str, seen_revision: int, seen_sha256: str | None = None
) -> int:
    """`Curation.review` within a transaction that is open already.

    Raises:
        ReviewConflict: as there; nothing was written then.
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
    """`Curation.undo` within a transaction that is open already."""
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
        "SELECT max(revision) FROM review_log WHERE file = ? AND sha256 = ? AND revision < ?",
        (file, sha256, revision),
    ).fetchone()[0]
    db.execute("DELETE FROM review_log WHERE revision = ?", (revision,))
    db.execute("INSERT OR REPLACE INTO reviews VALUES (?, ?, ?, ?)", (file, sha256, former, before or 0))
    return str(file)
