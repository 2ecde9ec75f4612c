"""A file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdclient._atomic import TEMPORARY_PATTERN, is_temporary, open_atomically


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
