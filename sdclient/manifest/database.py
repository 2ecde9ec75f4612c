"""`manifest.sqlite`: what is known about each image of an output folder.

Tables (schema version 3, in `PRAGMA user_version`; files of another version are refused):

`run`     one row for each key: parameters of the run as JSON, fixed when the output was made.
`images`  one row for each planned image. `status` is "planned", "running", "done" or "failed" (with its reason).
          A file is renamed into place *before* its row says done, so no row speaks of a file that is not whole.
`scores`, `filter_verdicts`, `reviews`, `review_log`
          results of curation; read and written by `sdclient.manifest.curation`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import ManifestError

MANIFEST_NAME = "manifest.sqlite"
SCHEMA_VERSION = 3

_PAGE_BYTES = 16384
"""Page size of a new file. SQLite splits rows above a quarter of it; with its default of 4096, 2 KB take up 5 KB."""

_BUSY_TIMEOUT_S = 30.0
"""How long to wait while another process writes."""

GENUINE_ENGINE = "Stable Diffusion WebUI"
ENGINE = "classical, not Stable Diffusion"
"""Engine of the embedded server without a model; in every reply's `extra_generation_params` and every infotext."""
NOT_STABLE_DIFFUSION = "not-stable-diffusion"
"""Ending of the names of all models of the embedded server's classical engine; clients recognise it by this."""

PLANNED, RUNNING, DONE, FAILED = "planned", "running", "done", "failed"

_IMAGES_COLUMNS = """
    file TEXT PRIMARY KEY,
    class_name TEXT NOT NULL,
    source TEXT NOT NULL,
    source_sha256 TEXT NOT NULL,
    k INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    key TEXT NOT NULL,
    sha256 TEXT,
    width INTEGER,
    height INTEGER,
    server TEXT,
    model TEXT,
    engine TEXT,
    asked TEXT,
    used TEXT,
    infotext TEXT,
    created_at TEXT,
    status TEXT NOT NULL CHECK (status IN ('planned', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    mask TEXT NOT NULL DEFAULT '',
    other_parents TEXT NOT NULL DEFAULT '[]'
"""
_CREATE_IMAGES = f"""
CREATE TABLE images ({_IMAGES_COLUMNS}) WITHOUT ROWID;
CREATE INDEX images_by_source ON images (source_sha256);
CREATE INDEX images_unfinished ON images (status) WHERE status != 'done';
"""
_CREATE_RUN = "CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
_CREATE_CURATION = """
CREATE TABLE scores (file TEXT PRIMARY KEY, sha256 TEXT NOT NULL, scores TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE filter_verdicts (
    file TEXT PRIMARY KEY, sha256 TEXT NOT NULL, verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'rejected')),
    reasons TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE reviews (
    file TEXT PRIMARY KEY, sha256 TEXT NOT NULL, verdict TEXT NOT NULL CHECK (verdict IN ('', 'accepted', 'rejected')),
    revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE review_log (
    revision INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT NOT NULL, sha256 TEXT NOT NULL, former TEXT NOT NULL,
    verdict TEXT NOT NULL, tab TEXT NOT NULL, reviewed_at TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class PlannedRow:
    """A planned image, made or not."""

    file: str
    """Path relative to the output folder, forward slashes: `<class>/<source number>_<k>.png`."""
    class_name: str
    source: str
    """Path of the source image relative to the sources folder, forward slashes."""
    source_sha256: str
    k: int
    """Number of the image among those of its source, from 1."""
    seed: int
    key: str
    """Identity: sha256 over source bytes, every parameter that changes pixels, and the seed."""


@dataclass(frozen=True)
class Parent:
    """An image that another image was made from."""

    source: str
    """Its path, forward slashes."""
    sha256: str
    """Of the file's bytes."""


@dataclass(frozen=True)
class ImageRecord(PlannedRow):
    """One generated image and where it came from."""

    sha256: str
    """Of the PNG file's bytes."""
    width: int
    height: int
    server: str
    """Address of the server, without credentials."""
    model: str
    """The checkpoint's name and hash as the server reports them."""
    engine: str
    """What made the pixels: `GENUINE_ENGINE`, or another engine's own words."""
    asked: Mapping[str, Any]
    """The request's parameters, without image data."""
    used: Mapping[str, Any]
    """The settings that the server reports to have used."""
    infotext: str
    created_at: str
    """UTC, ISO 8601."""
    mask: str = ""
    """Path of the mask whose white area was changed, relative to the output folder; "" without a mask."""
    other_parents: tuple[Parent, ...] = ()
    """Further images whose pixels it contains, such as the good image that a defect was put into."""

    @property
    def parents_sha256(self) -> tuple[str, ...]:
        """SHA-256 of every image it was made from, its source first."""
        return (self.source_sha256, *(parent.sha256 for parent in self.other_parents))


@dataclass(frozen=True)
class RowState:
    """The state of one planned image."""

    file: str
    class_name: str
    key: str
    status: str
    attempts: int
    """Number of failed tries."""
    reason: str
    """Why the last try failed; "" if none did."""


_PLANNED_COLUMNS = tuple(field.name for field in fields(PlannedRow))
_COLUMNS = tuple(field.name for field in fields(ImageRecord))
_STATE_COLUMNS = tuple(field.name for field in fields(RowState))
_JSON_COLUMNS = ("asked", "used", "other_parents")


class Manifest:
    """An open manifest; use as a context manager.

    With `create` it is opened for writing, and created if it does not exist; else it is opened read-only. With
    `durable` every transaction survives a power failure, if the file system keeps its promises.

    Raises:
        ManifestError: missing, not a manifest, or of another schema version.
    """

    def __init__(self, output: Path, *, create: bool = False, durable: bool = False) -> None:
        self.path = output / MANIFEST_NAME
        if not create and not self.path.is_file():
            raise ManifestError(f"{output}: no {MANIFEST_NAME} here; expected an output folder of 'sdclient generate'")
        uri = f"{self.path.resolve().as_uri()}?mode={'rwc' if create else 'ro'}"
        try:
            self._db = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            try:
                self._prepare(create=create, durable=durable)
            except BaseException:
                self._db.close()
                raise
        except sqlite3.DatabaseError as error:
            raise ManifestError(f"{self.path}: cannot be opened as a manifest: {error}") from error

    def _prepare(self, *, create: bool, durable: bool) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version != SCHEMA_VERSION and not (version == 0 and create):
            advice = "use a new output folder, or" if version < SCHEMA_VERSION else "use"
            raise ManifestError(
                f"{self.path}: schema version {version}, this program reads version {SCHEMA_VERSION} alone; {advice} "
                "the version of sd-defects that wrote it"
            )
        if not create:
            return
        self._db.execute(f"PRAGMA page_size={_PAGE_BYTES}")  # must come first; has an effect only on a new file
        # WAL: readers (status, review page, trainer) and the one writer do not block each other. After a crash, SQLite
        # replays committed transactions from the log and drops the rest.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        if version == 0:
            # One transaction: a crash leaves an empty file of version 0, which the next start fills.
            tables = _CREATE_RUN + _CREATE_IMAGES + _CREATE_CURATION
            self._db.executescript(f"BEGIN IMMEDIATE;{tables}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the manifest cannot be used afterwards."""
        self._db.close()

    def truncate_wal(self) -> None:
        """Move the write-ahead log into the database file and empty it, so that the next start need not read it."""
        self._db.execute("PRAGMA busy_timeout = 0")  # do not wait for readers; the log then stays
        # The log also stays on a full disk; the next image reports that.
        with suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000:.0f}")

    def query(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of an SQL query, for the other modules of the manifest.

        Raises:
            ManifestError: the file is damaged.
        """
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise ManifestError(f"{self.path}: damaged: {error}") from error

    def run(self) -> dict[str, Any]:
        """The run's parameters; empty in a new manifest."""
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM run")}

    def set_run(self, parameters: Mapping[str, Any]) -> None:
        """Write the run's parameters, each key replacing its former value."""
        rows = [(key, json.dumps(value, ensure_ascii=False)) for key, value in parameters.items()]
        with self.transaction():
            self._db.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", rows)

    def start(self, rows: Iterable[PlannedRow]) -> None:
        """Mark images as running; those without a row get one."""
        columns, places = ", ".join(_PLANNED_COLUMNS), ", ".join("?" * len(_PLANNED_COLUMNS))
        insert = f"INSERT INTO images ({columns}, status) VALUES ({places}, '{RUNNING}')"  # noqa: S608 - our own names
        values = [[getattr(row, name) for name in _PLANNED_COLUMNS] for row in rows]
        with self.transaction():
            self._db.executemany(f"{insert} ON CONFLICT (file) DO UPDATE SET status = excluded.status", values)

    def mark(self, files: Iterable[str], status: str, *, reason: str | None = None, failures: int = 0) -> None:
        """Change the state of images that are not done to PLANNED, RUNNING or FAILED.

        `reason` says why the last try failed; None keeps the former one. `failures` is added to the failed tries.
        """
        update = "UPDATE images SET status = ?, attempts = attempts + ?, reason = coalesce(?, reason) WHERE file = ?"
        with self.transaction():
            self._db.executemany(update, [(status, failures, reason, file) for file in files])

    def add(self, records: Iterable[ImageRecord]) -> None:
        """Record images whose files are complete and in place; all or none.

        Raises:
            ManifestError: an image of that name is done already.
        """
        rows = list(records)
        places = ", ".join("?" * len(_COLUMNS))
        insert = f"INSERT OR REPLACE INTO images ({', '.join(_COLUMNS)}, status) VALUES ({places}, '{DONE}')"  # noqa: S608 - our own names
        with self.transaction():
            for row in rows:
                known = self._db.execute("SELECT status FROM images WHERE file = ?", (row.file,)).fetchone()
                if known == (DONE,):
                    raise ManifestError(f"{self.path}: {row.file} is recorded already")
            self._db.executemany(insert, [_to_row(row) for row in rows])

    def forget(self, files: Iterable[str]) -> None:
        """Remove the rows of these files."""
        with self.transaction():
            self._db.executemany("DELETE FROM images WHERE file = ?", ((file,) for file in files))

    def images(self) -> Iterator[ImageRecord]:
        """Every image that is done, ordered by file name."""
        columns = ", ".join(_COLUMNS)
        query = f"SELECT {columns} FROM images WHERE status = '{DONE}' ORDER BY file"  # noqa: S608 - our own column names
        try:
            for row in self.query(query):
                yield _from_row(row)
        except json.JSONDecodeError as error:
            raise ManifestError(f"{self.path}: damaged: {error}") from error

    def states(self, *unfinished: str) -> Iterator[RowState]:
        """The state of every planned image, ordered by file name.

        With `unfinished` (PLANNED, RUNNING, FAILED) only of these images; an index finds them without reading all rows.
        """
        where = f"WHERE status != '{DONE}' AND status IN ({', '.join('?' * len(unfinished))})" if unfinished else ""
        columns = ", ".join(_STATE_COLUMNS)
        for row in self.query(f"SELECT {columns} FROM images {where} ORDER BY file", unfinished):  # noqa: S608 - our own names
            yield RowState(*row)

    def files(self) -> set[str]:
        """Names of all files that are done."""
        every = {str(file) for (file,) in self.query("SELECT file FROM images")}
        return every.difference(state.file for state in self.states(PLANNED, RUNNING, FAILED))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all changes inside, or none of them; a transaction within another one is part of it.

        Raises:
            ManifestError: the file cannot be written: disk full, read-only, or in use for too long.
        """
        if self._db.in_transaction:
            yield self._db
            return
        try:
            # IMMEDIATE takes the writers' lock at once: a transaction that reads first and writes later would fail if
            # another process wrote in between. After a crash, SQLite drops what was not committed.
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise ManifestError(
                    f"{self.path}: {error}; make room or change the rights, then run the same command again"
                ) from error
            raise


def _to_row(record: ImageRecord) -> tuple[Any, ...]:
    values = {name: getattr(record, name) for name in _COLUMNS}
    values["other_parents"] = [asdict(parent) for parent in record.other_parents]
    for name in _JSON_COLUMNS:
        values[name] = json.dumps(values[name], ensure_ascii=False, sort_keys=True)
    return tuple(values[name] for name in _COLUMNS)


def _from_row(row: tuple[Any, ...]) -> ImageRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _JSON_COLUMNS:
        values[name] = json.loads(values[name])
    values["other_parents"] = tuple(Parent(**parent) for parent in values["other_parents"])
    return ImageRecord(**values)
