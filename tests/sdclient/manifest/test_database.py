"""The manifest: what is written is read back, and nothing half-written stays."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from sdclient.errors import ManifestError
from sdclient.manifest import Manifest
from tests.support.manifest import RECORD


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with Manifest(tmp_path, create=True) as manifest:
        manifest.set_run({"parameters": {"prompt": "漏铜"}})
        manifest.add([RECORD])
    with Manifest(tmp_path) as manifest:
        assert list(manifest.images()) == [RECORD]
        assert manifest.files() == {RECORD.file}
        assert manifest.run() == {"parameters": {"prompt": "漏铜"}}


def test_a_batch_is_recorded_whole_or_not_at_all(tmp_path: Path) -> None:
    other = dataclasses.replace(RECORD, file="焊盘/3_2.png")
    with Manifest(tmp_path, create=True) as manifest:
        manifest.add([RECORD])
        with pytest.raises(ManifestError, match="already"):
            manifest.add([other, RECORD])
        assert manifest.files() == {RECORD.file}


def test_forgotten_files_have_no_row(tmp_path: Path) -> None:
    with Manifest(tmp_path, create=True) as manifest:
        manifest.add([RECORD])
        manifest.forget([RECORD.file, "never/was.png"])
        assert list(manifest.images()) == []


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Manifest(tmp_path, create=True).close()
    with Manifest(tmp_path) as manifest, pytest.raises(ManifestError, match="readonly"):
        manifest.add([RECORD])


def test_a_missing_manifest_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="sdclient generate"):
        Manifest(tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(ManifestError, match=r"manifest\.sqlite"):
        Manifest(tmp_path)


@pytest.mark.parametrize("version", [1, 2, 99])
def test_a_manifest_of_another_version_is_refused_with_its_version(tmp_path: Path, version: int) -> None:
    Manifest(tmp_path, create=True).close()
    database = sqlite3.connect(tmp_path / "manifest.sqlite")
    database.execute(f"PRAGMA user_version={version}")
    database.close()
    for create in (False, True):
        with pytest.raises(ManifestError, match=f"schema version {version}, .* version 3 alone"):
            Manifest(tmp_path, create=create)


def test_a_damaged_row_is_reported_as_damaged(tmp_path: Path) -> None:
    with Manifest(tmp_path, create=True) as manifest:
        manifest.add([RECORD])
    database = sqlite3.connect(tmp_path / "manifest.sqlite")
    database.execute("UPDATE images SET used = '{'")
    database.commit()
    database.close()
    with Manifest(tmp_path) as manifest, pytest.raises(ManifestError, match="damaged"):
        list(manifest.images())
