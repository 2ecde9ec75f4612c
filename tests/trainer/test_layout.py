from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from trainer.layout import parts_of, place_of


def test_a_data_folder_is_told_by_folders_in_train(tmp_path: Path) -> None:
    assert parts_of(tmp_path) == ("all",)
    (tmp_path / "train").mkdir()
    assert parts_of(tmp_path) == ("all",), "a class may be called train"
    (tmp_path / "train" / "open").mkdir()
    assert parts_of(tmp_path) == ("train",)
    (tmp_path / "test").mkdir()
    assert parts_of(tmp_path) == ("train", "test")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("train/划痕/a.png", ("train", "划痕")),
        ("train/划痕/deep/a.png", ("train", "划痕")),
        ("train/a.png", ("train", "")),
        ("other/划痕/a.png", ("", "")),
        ("a.png", ("", "")),
    ],
)
def test_part_and_class_stand_in_the_path(file: str, expected: tuple[str, str]) -> None:
    assert place_of(PurePosixPath(file), ("train", "val")) == expected


def test_without_parts_the_first_folder_is_the_class() -> None:
    assert place_of(PurePosixPath("open/deep/a.png"), ("all",)) == ("all", "open")
    assert place_of(PurePosixPath("a.png"), ("all",)) == ("all", "")
