"""The record of every generated image, in `OUTPUT/manifest.sqlite`.

This is the one file format of `sdclient` that others may read; `trainer` does, to learn from which source
an image descends. Standard library only, so that reading it costs nothing.

Tables (schema version in `PRAGMA user_version`):

`run`     one row a key: the parameters of the run as JSON, fixed when the output was made.
`images`  one row an image that is complete and in place on disk. A file is renamed into place *before*
          its row is written, so a row never speaks of a file that is not whole.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import ManifestError as ManifestError  # readers outside the package catch it

MANIFEST_NAME = "manifest.sqlite"
SCHEMA_VERSION = 1

_CREATE = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    file TEXT PRIMARY KEY,
    class_name TEXT NOT NULL,
    source TEXT NOT NULL,
    source_sha256 TEXT NOT NULL,
    k INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    key TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    server TEXT NOT NULL,
    model TEXT NOT NULL,
    engine TEXT NOT NULL,
    asked TEXT NOT NULL,
    used TEXT NOT NULL,
    infotext TEXT NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX images_by_source ON images (source_sha256);
"""


@dataclass(frozen=True)
class ImageRecord:
    """One generated image and where it came from."""

    file: str
    """Path relative to the output folder, forward slashes: `<class>/<source number>_<k>.png`."""
    class_name: str
    source: str
    """Path of the source image relative to the sources folder, forward slashes."""
    source_sha256: str
    k: int
    """Which image of its source this is, from 1."""
    seed: int
    key: str
    """Identity: sha256 over source bytes, every parameter that changes pixels, and the seed."""
    sha256: str
    """Of the PNG file's bytes."""
    width: int
    height: int
    server: str
    """Address of the server, without credentials."""
    model: str
    """The checkpoint's name and hash as the server reports them."""
    engine: str
    """What made the pixels: "Stable Diffusion WebUI", or the stand-in's own words that it is not."""
    asked: Mapping[str, Any]
    """The request's parameters, without image data."""
    used: Mapping[str, Any]
    """What the server reports to have used."""
    infotext: str
    created_at: str
    """UTC, ISO 8601."""


_COLUMNS = tuple(field.name for field in fields(ImageRecord))
_JSON_COLUMNS = ("asked", "used")


class Manifest:
    """An open manifest; use as a context manager.

    Args:
        output: the output folder that holds (or will hold) the manifest.
        create: make the manifest when it is not there. Without it the file is opened read-only.

    Raises:
        ManifestError: missing, not a manifest, or written by a newer version.
    """

    def __init__(self, output: Path, *, create: bool = False) -> None:
        self.path = output / MANIFEST_NAME
        if not create and not self.path.is_file():
            raise ManifestError(f"{output}: no {MANIFEST_NAME} here; expected an output folder of 'sdclient generate'")
        mode = "rwc" if create else "ro"
        try:
            self._db = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode={mode}", uri=True, timeout=30.0, isolation_level=None
            )
            try:
                version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
                if create and version == 0:
                    self._create()
                    version = SCHEMA_VERSION
            except BaseException:
                self._db.close()
                raise
        except sqlite3.DatabaseError as error:
            raise ManifestError(f"{self.path}: cannot be opened as a manifest: {error}") from error
        if version != SCHEMA_VERSION:
            self._db.close()
            raise ManifestError(
                f"{self.path}: schema version {version}, this program reads {SCHEMA_VERSION}; "
                "use the version of sd-defects that wrote it"
            )

    def _create(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(f"BEGIN;{_CREATE}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the manifest cannot be used afterwards."""
        self._db.close()

    def run(self) -> dict[str, Any]:
        """The run's parameters; empty for a manifest that was just made."""
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM run")}

    def set_run(self, parameters: Mapping[str, Any]) -> None:
        """Write the run's parameters, each key replacing its former value."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO run VALUES (?, ?)",
                [(key, json.dumps(value, ensure_ascii=False)) for key, value in parameters.items()],
            )

    def add(self, records: list[ImageRecord]) -> None:
        """Record images whose files are complete and in place; all of them or none.

        Raises:
            ManifestError: an image of that name is recorded already.
        """
        insert = f"INSERT INTO images ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - our own names
        try:
            with self._transaction():
                self._db.executemany(insert, [_to_row(record) for record in records])
        except sqlite3.IntegrityError as error:
            raise ManifestError(f"{self.path}: an image is recorded already: {error}") from error

    def forget(self, files: Iterable[str]) -> None:
        """Remove the rows of these files."""
        with self._transaction():
            self._db.executemany("DELETE FROM images WHERE file = ?", [(file,) for file in files])

    def images(self) -> Iterator[ImageRecord]:
        """Every recorded image, ordered by file name."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM images ORDER BY file"  # noqa: S608 - our own column names
        try:
            for row in self._db.execute(query):
                yield _from_row(row)
        except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
            raise ManifestError(f"{self.path}: damaged: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that happens inside, or nothing of it.

        Raises:
            ManifestError: the file cannot be written: disk full, read-only, or in use for too long.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise ManifestError(
                    f"{self.path}: {error}; make room or change the rights, then run the same command again"
                ) from error
            raise

    def files(self) -> set[str]:
        """Names of all recorded files."""
        return {file for (file,) in self._db.execute("SELECT file FROM images")}


def _to_row(record: ImageRecord) -> tuple[Any, ...]:
    values = asdict(record)
    for name in _JSON_COLUMNS:
        values[name] = json.dumps(values[name], ensure_ascii=False, sort_keys=True)
    return tuple(values[name] for name in _COLUMNS)


def _from_row(row: tuple[Any, ...]) -> ImageRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _JSON_COLUMNS:
        values[name] = json.loads(values[name])
    return ImageRecord(**values)
