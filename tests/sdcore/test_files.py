"""A file is whole or not there, a folder has one writer, names can be printed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdcore.errors import FolderInUse
from sdcore.files import (
    TEMPORARY_PATTERN,
    atomic_path,
    is_temporary,
    lock_folder,
    open_atomically,
    printable,
    read_json,
    read_json_or_none,
    sha256_of,
    sha256_or_none,
    write_bytes_atomically,
    write_json,
)


def test_a_text_that_is_written_to_its_end_is_in_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "表.csv"
    with open_atomically(path, encoding="utf-8-sig") as stream:
        stream.write("焊盘\r\n")
        assert not path.exists()
    assert path.read_bytes() == b"\xef\xbb\xbf" + "焊盘\r\n".encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_one_that_is_not_leaves_the_former_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "table.csv"
    path.write_text("former", encoding="utf-8")

    def write_half() -> None:
        with open_atomically(path, encoding="utf-8") as stream:
            stream.write("half")
            raise error

    with pytest.raises(type(error)) as raised:
        write_half()
    if isinstance(raised.value, OSError):
        assert raised.value.filename == str(path)
    assert path.read_text(encoding="utf-8") == "former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", [".1-2.part", ".part", "1.part", ".1-2.png", ".1-2.part.png"])
def test_temporary_names_are_those_of_the_pattern(name: str) -> None:
    assert is_temporary(name) == Path(name).match(TEMPORARY_PATTERN)


def test_blocks_within_one_another_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as one, atomic_path(tmp_path / "b") as other:
        assert is_temporary(one.name)
        assert is_temporary(other.name)
        one.write_bytes(b"a")
        other.write_bytes(b"b")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"a", "b": b"b"}


def test_threads_that_write_one_file_leave_a_whole_one(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_bytes_atomically(tmp_path / "a", content, durable=True), contents))
    assert (tmp_path / "a").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_names_the_file_that_it_is_about(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, atomic_path(tmp_path / "a"):
        pass  # nothing was written
    assert raised.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError) as raised, atomic_path(tmp_path / "a"):
        (tmp_path / "source").read_bytes()
    assert raised.value.filename == str(tmp_path / "source")
    assert not list(tmp_path.iterdir())


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    words = rf"another run is at work there \(pid {os.getpid()} on .*, since 2"
    with lock_folder(tmp_path), pytest.raises(FolderInUse, match=words), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        pass


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"焊盘": 1})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "焊盘": 1\n}\n'.encode()
    assert read_json(tmp_path / "a.json") == {"焊盘": 1}


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"found list|Expecting|decode"):
        read_json(tmp_path / "a.json")
    assert read_json_or_none(tmp_path / "a.json") is None
    assert read_json_or_none(tmp_path / "b.json") is None


def test_a_sha256_is_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_or_none(tmp_path / "b") is None
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_name_in_another_encoding_can_still_be_printed() -> None:
    assert printable("\udcba\udcb8.png") == "\\udcba\\udcb8.png"
    assert printable("焊盘.png") == "焊盘.png"
