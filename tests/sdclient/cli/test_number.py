"""`sdclient number` from the command line."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "照片" / "脏污"
    folder.mkdir(parents=True)
    for name in ("IMG 10.png", "IMG 9.png"):
        Image.new("L", (8, 8)).save(folder / name)
    return folder.parent


def number(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["number", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_it_copies_and_says_how_many(photos: Path, tmp_path: Path) -> None:
    code, out, _ = number(photos, tmp_path / "源")
    assert code == 0
    assert out.startswith("2 copied, 0 unchanged, 0 left out; old names are in ")
    assert (tmp_path / "源/脏污/1.png").read_bytes() == (photos / "脏污/IMG 9.png").read_bytes()
    assert number(photos, tmp_path / "源")[1].startswith("0 copied, 2 unchanged")


def test_what_is_left_out_is_listed_on_stderr_and_is_no_failure(photos: Path, tmp_path: Path) -> None:
    (photos / "脏污/bad.png").write_bytes(b"")
    code, out, err = number(photos, tmp_path / "out")
    assert code == 0
    assert "1 left out" in out
    assert "left out: 脏污/bad.png: an empty file" in err


def test_nothing_usable_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "photos/dirt").mkdir(parents=True)
    (tmp_path / "photos/dirt/bad.png").write_bytes(b"x")
    code, _, err = number(tmp_path / "photos", tmp_path / "out")
    assert code == 1
    assert "left out: dirt/bad.png: not an image" in err
    assert err.splitlines()[-1].startswith("Error: ")
    assert "no usable photograph" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("number_of_error", "words"),
    [(errno.EROFS, "choose another folder"), (errno.ENOSPC, "the disk is full"), (errno.EACCES, "choose another")],
)
def test_a_destination_that_cannot_be_written_is_said_in_one_line(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number_of_error: int, words: str
) -> None:
    write = Path.write_bytes

    def refuse(path: Path, content: bytes) -> int:
        if "out" in path.parts:
            raise OSError(number_of_error, "refused by the system", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    code, _, err = number(photos, tmp_path / "out")
    assert code == 1
    last = err.splitlines()[-1]
    assert words in last
    assert "mapping.csv" in last
    assert ".part" not in last
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["file", "inside", "missing source"])
def test_impossible_folders_end_in_one_line(photos: Path, tmp_path: Path, kind: str) -> None:
    source, destination = photos, tmp_path / "out"
    if kind == "file":
        destination.write_bytes(b"")
    elif kind == "inside":
        destination = photos / "out"
    else:
        source = tmp_path / "nowhere"
    code, out, err = number(source, destination)
    assert code == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1


def test_a_missing_argument_is_a_usage_error() -> None:
    assert number("photos")[0] == 2
