"""What the review page reads from a manifest, and the decisions that it writes.

Every answer is one SQL query for exactly what is needed, so that the page is fast for large outputs. Paths are returned
as they are recorded; no file is opened here.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from ..errors import ReviewConflict
from .curation import ACCEPTED, REJECTED, take_back_review, write_review
from .database import Manifest, Parent

State = Literal["all", "undecided", "accepted", "rejected", "unreviewed", "reviewed"]
"""Selects images by verdict; `unreviewed` and `reviewed` by whether a person decided."""

Order = Literal["name", "lowest", "highest"]
"""Order within a class: by number of the source, or by the filter's score."""

_VERDICT = "coalesce(nullif(reviews.verdict, ''), filter_verdicts.verdict, '')"
_PERSON = "coalesce(reviews.verdict, '')"
_JUDGED = """FROM images
LEFT JOIN filter_verdicts ON filter_verdicts.file = images.file AND filter_verdicts.sha256 = images.sha256
LEFT JOIN reviews ON reviews.file = images.file AND reviews.sha256 = images.sha256
"""
_SCORED = "LEFT JOIN scores ON scores.file = images.file AND scores.sha256 = images.sha256\n"
_STATES: dict[str, str] = {
    "all": "",
    "undecided": f" AND {_VERDICT} = ''",
    "accepted": f" AND {_VERDICT} = '{ACCEPTED}'",
    "rejected": f" AND {_VERDICT} = '{REJECTED}'",
    "unreviewed": f" AND {_PERSON} = ''",
    "reviewed": f" AND {_PERSON} != ''",
}
# The shorter path first, so that 10 follows 9.
_BY_NAME = "length(images.source), images.source, images.k, images.file"
_ORDERS: dict[str, str] = {
    "name": _BY_NAME,
    "lowest": f"score IS NULL, score, {_BY_NAME}",
    "highest": f"score IS NULL, score DESC, {_BY_NAME}",
}
_FILES_PER_QUERY = 500


@dataclass(frozen=True)
class ReviewFilter:
    """Which images are listed, and in which order."""

    class_name: str | None = None
    state: State = "all"
    reason: str | None = None
    """Key of a reason that the image must have; "" selects images with any reason."""
    score: str | None = None
    """Name of the score for `low`, `high` and `order`."""
    low: float | None = None
    high: float | None = None
    """Both included. Images without the score are left out."""
    order: Order = "name"


@dataclass(frozen=True)
class ReviewList:
    """The files of a filter in order."""

    files: tuple[str, ...]
    starts: tuple[tuple[str, int], ...]
    """(class, index of its first file), class after class."""
    first_unreviewed: int | None
    """Index of the first file without a person's decision; None if there is none."""


@dataclass(frozen=True)
class ReviewRow:
    """What the page shows of one image."""

    file: str
    class_name: str
    source: str
    source_sha256: str
    sha256: str
    width: int
    height: int
    seed: int
    engine: str
    model: str
    asked: dict[str, Any]
    created_at: str
    mask: str
    other_parents: tuple[Parent, ...]
    verdict: str
    """A person's decision, else the filters' verdict."""
    filter_verdict: str
    reasons: tuple[str, ...]
    person: str
    """A person's decision; "" without one."""
    revision: int
    scores: dict[str, float | None]


_ROW_FIELDS = tuple(field.name for field in fields(ReviewRow))
_EXPRESSIONS = {
    "verdict": _VERDICT,
    "filter_verdict": "coalesce(filter_verdicts.verdict, '')",
    "reasons": "coalesce(filter_verdicts.reasons, '[]')",
    "person": _PERSON,
    "revision": "coalesce(reviews.revision, 0)",
    "scores": "coalesce(scores.scores, '{}')",
    "asked": "coalesce(asked, '{}')",
}
_ROW_COLUMNS = ", ".join(_EXPRESSIONS.get(name, f"images.{name}") for name in _ROW_FIELDS)


@dataclass(frozen=True)
class ClassCounts:
    """Numbers of images of one class by verdict."""

    class_name: str
    accepted: int
    rejected: int
    undecided: int
    reviewed: int
    """Images with a person's decision."""


@dataclass(frozen=True)
class SeenRevision:
    """What a person saw of an image when deciding."""

    file: str
    sha256: str
    revision: int


@dataclass(frozen=True)
class DecisionResult:
    """The result of one step of decisions."""

    written: tuple[str, ...]
    conflicts: tuple[tuple[str, str], ...]
    """(file, reason why its decision was not written)."""


class ReviewQueries:
    """Queries and decisions of the review page; the manifest must be open for writing to decide."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def counts(self) -> list[ClassCounts]:
        """Numbers of images by class and verdict, ordered by class name."""
        query = (
            f"SELECT class_name, sum({_VERDICT} = '{ACCEPTED}'), sum({_VERDICT} = '{REJECTED}'), "
            f"sum({_VERDICT} = ''), sum({_PERSON} != '') {_JUDGED} WHERE images.status = 'done' "
            "GROUP BY class_name ORDER BY class_name"
        )
        return [ClassCounts(*row) for row in self._manifest.query(query)]

    def reasons(self) -> dict[str, int]:
        """Number of images by reason of the filters."""
        query = (
            "SELECT reason.value, count(*) FROM images JOIN filter_verdicts USING (file, sha256), "
            "json_each(filter_verdicts.reasons) AS reason WHERE images.status = 'done' GROUP BY 1 ORDER BY 1"
        )
        return {str(word): int(count) for word, count in self._manifest.query(query)}

    def score_ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each score, by name; scores that no image has are left out."""
        ranges: dict[str, tuple[float, float]] = {}
        query = "SELECT scores FROM scores JOIN images USING (file, sha256) WHERE status = 'done'"
        for (text,) in self._manifest.query(query):
            for name, value in json.loads(text).items():
                if value is not None:
                    low, high = ranges.get(name, (value, value))
                    ranges[name] = (min(low, value), max(high, value))
        return dict(sorted(ranges.items()))

    def find(self, wanted: ReviewFilter) -> ReviewList:
        """Files of a filter; the whole list, names alone."""
        where, values = _where(wanted)
        score = "NULL"
        if wanted.score is not None:
            path = '$."' + wanted.score.replace('"', "") + '"'
            score, values = "json_extract(scores.scores, ?)", [path, *values]
        query = (
            f"SELECT images.file, class_name, {_PERSON} = '', {score} AS score "
            f"{_JUDGED}{_SCORED if wanted.score is not None else ''}"
            f"WHERE images.status = 'done'{where} ORDER BY class_name, {_ORDERS[wanted.order]}"
        )
        files: list[str] = []
        starts: list[tuple[str, int]] = []
        first = None
        for file, class_name, is_open, _ in self._manifest.query(query, values):
            if not starts or starts[-1][0] != class_name:
                starts.append((class_name, len(files)))
            if is_open and first is None:
                first = len(files)
            files.append(file)
        return ReviewList(tuple(files), tuple(starts), first)

    def rows(self, files: Sequence[str]) -> list[ReviewRow]:
        """What is known of these files, in their order; those that are not there (any more) are left out."""
        found: dict[str, ReviewRow] = {}
        for start in range(0, len(files), _FILES_PER_QUERY):
            some = files[start : start + _FILES_PER_QUERY]
            query = (
                f"SELECT {_ROW_COLUMNS} {_JUDGED}{_SCORED}WHERE images.status = 'done' "
                f"AND images.file IN ({', '.join('?' * len(some))})"
            )
            found |= {row[0]: _to_row(row) for row in self._manifest.query(query, some)}
        return [found[file] for file in files if file in found]

    def decide(self, seen: Iterable[SeenRevision], verdict: str, *, tab: str) -> DecisionResult:
        """Write one decision about some images, as one step for `undo`.

        Images that were decided on another page or made again since the person saw them stay as they are.
        """
        written: list[str] = []
        conflicts: list[tuple[str, str]] = []
        # One transaction for the whole step: no other page can decide between checking and writing.
        with self._manifest.transaction() as db:
            last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'review_log'").fetchone()
            step = f"{tab}/{last[0] if last else 0}"
            for one in seen:
                try:
                    write_review(db, one.file, verdict, tab=step, seen_revision=one.revision, seen_sha256=one.sha256)
                    written.append(one.file)
                except ReviewConflict as conflict:
                    conflicts.append((one.file, str(conflict)))
        return DecisionResult(tuple(written), tuple(conflicts))

    def undo(self, tab: str) -> tuple[str, ...]:
        """Undo a page's last step, except for images decided elsewhere since; returns the files."""
        last_step = (
            "SELECT review_log.tab FROM review_log JOIN reviews ON reviews.file = review_log.file "
            "AND reviews.revision = review_log.revision WHERE review_log.tab GLOB ? "
            "ORDER BY review_log.revision DESC LIMIT 1"
        )
        with self._manifest.transaction() as db:
            row = db.execute(last_step, (f"{tab}/*",)).fetchone()
            files: list[str] = []
            while row is not None and (file := take_back_review(db, row[0])) is not None:
                files.append(file)
        return tuple(reversed(files))


def _where(wanted: ReviewFilter) -> tuple[str, list[Any]]:
    text = _STATES[wanted.state]
    values: list[Any] = []
    if wanted.class_name is not None:
        text += " AND class_name = ?"
        values.append(wanted.class_name)
    if wanted.reason == "":
        text += " AND coalesce(filter_verdicts.reasons, '[]') != '[]'"
    elif wanted.reason is not None:
        text += " AND EXISTS (SELECT 1 FROM json_each(filter_verdicts.reasons) WHERE value = ?)"
        values.append(wanted.reason)
    for sign, limit in ((">=", wanted.low), ("<=", wanted.high)):
        if wanted.score is not None and limit is not None:
            text += f" AND score {sign} ?"
            values.append(limit)
    return text, values


def _to_row(row: tuple[Any, ...]) -> ReviewRow:
    values = dict(zip(_ROW_FIELDS, row, strict=True))
    for name in ("asked", "other_parents", "reasons", "scores"):
        values[name] = json.loads(values[name])
    values["other_parents"] = tuple(Parent(**parent) for parent in values["other_parents"])
    values["reasons"] = tuple(values["reasons"])
    return ReviewRow(**values)
