"""A manifest as a review page asks it: lists by filter and order, rows by name, counts, and decisions of a step.

Every answer is one question in SQL over what it needs, so that a page of a large output costs little. Standard library
only, as the manifest itself; paths are given as they are recorded and opened by nobody here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from ..errors import ReviewConflict
from .curation import ACCEPTED, REJECTED, take_back_review, write_review
from .database import Manifest, Parent

State = Literal["all", "undecided", "accepted", "rejected", "unreviewed", "reviewed"]
"""Which images by what holds for them; `unreviewed` and `reviewed` speak of a person alone."""

Order = Literal["name", "lowest", "highest"]
"""By number of the source, or by the score of the filter; always class after class."""

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
# "10" after "9" without a function of ours in SQL: the shorter path first.
_BY_NAME = "length(images.source), images.source, images.k, images.file"
_ORDERS: dict[str, str] = {
    "name": _BY_NAME,
    "lowest": f"score IS NULL, score, {_BY_NAME}",
    "highest": f"score IS NULL, score DESC, {_BY_NAME}",
}
_NAMES_A_QUESTION = 500


@dataclass(frozen=True)
class ReviewFilter:
    """Which images a list holds, and in which order."""

    class_name: str | None = None
    state: State = "all"
    reason: str | None = None
    """A filter's word that must be among the reasons; "" takes those that have any."""
    score: str | None = None
    """Name of the score that `low`, `high` and `order` speak of."""
    low: float | None = None
    high: float | None = None
    """Both included. An image without that score is in no range."""
    order: Order = "name"


@dataclass(frozen=True)
class ReviewList:
    """Files of a filter in their order."""

    files: tuple[str, ...]
    starts: tuple[tuple[str, int], ...]
    """(class, index of its first file), class after class."""
    first_unreviewed: int | None
    """Index of the first file that no person decided; None where all are."""


@dataclass(frozen=True)
class ReviewRow:
    """What a page shows of one image."""

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
    """What holds: a person's word, else the filters'."""
    filter_verdict: str
    reasons: tuple[str, ...]
    person: str
    """What a person decided; "" where nobody did."""
    revision: int
    scores: dict[str, float | None]


_ROW_FIELDS = tuple(field.name for field in fields(ReviewRow))
_SPOKEN = {
    "verdict": _VERDICT,
    "filter_verdict": "coalesce(filter_verdicts.verdict, '')",
    "reasons": "coalesce(filter_verdicts.reasons, '[]')",
    "person": _PERSON,
    "revision": "coalesce(reviews.revision, 0)",
    "scores": "coalesce(scores.scores, '{}')",
    "asked": "coalesce(asked, '{}')",
}
_ROW_COLUMNS = ", ".join(_SPOKEN.get(name, f"images.{name}") for name in _ROW_FIELDS)


@dataclass(frozen=True)
class ClassCounts:
    """Images of one class by what holds for them."""

    class_name: str
    accepted: int
    rejected: int
    undecided: int
    reviewed: int
    """How many of them a person decided."""


@dataclass(frozen=True)
class SeenRevision:
    """An image as a person saw it when deciding."""

    file: str
    sha256: str
    revision: int


@dataclass(frozen=True)
class DecisionResult:
    """What became of the decisions of one step."""

    written: tuple[str, ...]
    conflicts: tuple[tuple[str, str], ...]
    """(file, why it was not written)."""


class ReviewQueries:
    """What a review page asks of an open manifest and writes into it.

    Args:
        manifest: of the present schema; open for writing where decisions are to be written.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def counts(self) -> list[ClassCounts]:
        """Images by class and verdict, classes by name."""
        question = (
            f"SELECT class_name, sum({_VERDICT} = '{ACCEPTED}'), sum({_VERDICT} = '{REJECTED}'), "
            f"sum({_VERDICT} = ''), sum({_PERSON} != '') {_JUDGED} WHERE images.status = 'done' "
            "GROUP BY class_name ORDER BY class_name"
        )
        return [ClassCounts(*row) for row in self._manifest.query(question)]

    def reasons(self) -> dict[str, int]:
        """How many images each of the filters' reasons holds for, by word."""
        question = (
            "SELECT reason.value, count(*) FROM images JOIN filter_verdicts USING (file, sha256), "
            "json_each(filter_verdicts.reasons) AS reason WHERE images.status = 'done' GROUP BY 1 ORDER BY 1"
        )
        return {str(word): int(count) for word, count in self._manifest.query(question)}

    def score_ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each score, by name; scores that no image has are left out."""
        ranges: dict[str, tuple[float, float]] = {}
        for (text,) in self._manifest.query(
            "SELECT scores FROM scores JOIN images USING (file, sha256) WHERE status = 'done'"
        ):
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
            score, values = "json_extract(scores.scores, ?)", [_json_path(wanted.score), *values]
        question = (
            f"SELECT images.file, class_name, {_PERSON} = '', {score} AS score "
            f"{_JUDGED}{_SCORED if wanted.score is not None else ''}"
            f"WHERE images.status = 'done'{where} ORDER BY class_name, {_ORDERS[wanted.order]}"
        )
        files: list[str] = []
        starts: list[tuple[str, int]] = []
        first = None
        for file, class_name, is_open, _ in self._manifest.query(question, values):
            if not starts or starts[-1][0] != class_name:
                starts.append((class_name, len(files)))
            if is_open and first is None:
                first = len(files)
            files.append(file)
        return ReviewList(tuple(files), tuple(starts), first)

    def rows(self, files: Sequence[str]) -> list[ReviewRow]:
        """What is known of these files, in their order; those that are not there (any more) are left out."""
        found: dict[str, ReviewRow] = {}
        for start in range(0, len(files), _NAMES_A_QUESTION):
            some = files[start : start + _NAMES_A_QUESTION]
            question = (
                f"SELECT {_ROW_COLUMNS} {_JUDGED}{_SCORED}WHERE images.status = 'done' "
                f"AND images.file IN ({', '.join('?' * len(some))})"
            )
            for row in self._manifest.query(question, some):
                found[row[0]] = _to_row(row)
        return [found[file] for file in files if file in found]

    def decide(self, seen: Iterable[SeenRevision], verdict: str, *, tab: str) -> DecisionResult:
        """Write one decision about some images as a step that `undo` takes back as a whole.

        What was decided elsewhere or made again since it was seen stays as it is and is told.

        Args:
            seen: the images, each as the person saw it.
            verdict: ACCEPTED, REJECTED or UNDECIDED.
            tab: which of the open pages decided; without "/".
        """
        written: list[str] = []
        conflicts: list[tuple[str, str]] = []
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
        """Take back the last step of a page, but for what was decided elsewhere since; gives the files."""
        with self._manifest.transaction() as db:
            row = db.execute(
                "SELECT review_log.tab FROM review_log JOIN reviews ON reviews.file = review_log.file "
                "AND reviews.revision = review_log.revision WHERE review_log.tab GLOB ? "
                "ORDER BY review_log.revision DESC LIMIT 1",
                (f"{tab}/*",),
            ).fetchone()
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


def _json_path(name: str) -> str:
    return '$."' + name.replace('"', "") + '"'


def _to_row(row: tuple[Any, ...]) -> ReviewRow:
    values = dict(zip(_ROW_FIELDS, row, strict=True))
    for name in ("asked", "other_parents", "reasons", "scores"):
        values[name] = json.loads(values[name])
    values["other_parents"] = tuple(Parent(**parent) for parent in values["other_parents"])
    values["reasons"] = tuple(values["reasons"])
    return ReviewRow(**values)
