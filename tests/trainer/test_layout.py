from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from sdcore.errors import DataError
from trainer.data.dataset import data_parts, locate


def test_a_data_folder_is_told_by_folders_in_train(tmp_path: Path) -> None:
    assert data_parts(tmp_path) == ("all",)
    (tmp_path / "train").mkdir()
    assert data_parts(tmp_path) == ("all",), "a class may be called train"
    (tmp_path / "train" / "open").mkdir()
    assert data_parts(tmp_path) == ("train",)
    (tmp_path / "test").mkdir()
    assert data_parts(tmp_path) == ("train", "test")


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
    assert locate(PurePosixPath(file), ("train", "val")) == expected


def test_without_parts_the_first_folder_is_the_class() -> None:
    assert locate(PurePosixPath("open/deep/a.png"), ("all",)) == ("all", "open")
    assert locate(PurePosixPath("a.png"), ("all",)) == ("all", "")


def test_a_folder_of_folds_is_no_data_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "fold-0" / "train" / "Normal").mkdir(parents=True)
    (tmp_path / "folds.csv").write_text("source,class,group,fold,sha256\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds folds, which share their images; give one of them, as .*fold-0"):
        data_parts(tmp_path)
    assert data_parts(tmp_path / "fold-0") == ("train",)
