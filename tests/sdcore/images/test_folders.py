"""Which files count, and in which order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sdcore.errors import DataError
from sdcore.images.folders import list_entries, list_images, list_labelled_images, natural_key


def test_ten_comes_after_nine_and_case_does_not_matter() -> None:
    ordered = ["1.png", "2.png", "9.png", "10.png", "a 2.png", "A 10.png", "b.png", "焊盘2", "焊盘10"]
    shuffled = random.Random(0).sample(ordered, len(ordered))
    assert sorted(shuffled, key=natural_key) == ordered


def test_names_that_differ_only_in_zeros_or_case_keep_one_order() -> None:
    for names in (["A.png", "a.png", "01.png", "1.png"], ["1.png", "a.png", "01.png", "A.png"]):
        assert sorted(names, key=natural_key) == ["01.png", "1.png", "A.png", "a.png"]


def test_what_file_managers_leave_behind_is_not_seen(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "._1.png", ".hidden.png", "1.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [entry.name for entry in list_entries(tmp_path)] == ["1.png"]


@pytest.mark.parametrize(("kind", "found"), [("missing", "nothing"), ("file", "a file")])
def test_a_folder_that_is_none_is_named(tmp_path: Path, kind: str, found: str) -> None:
    path = tmp_path / "photos"
    if kind == "file":
        path.write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=rf"photos: expected a folder, found {found}"):
        list_entries(path)


def test_natural_order_counts_and_is_total() -> None:
    names = ["10.png", "9.png", "a2b", "a10b", "", "a", "1", "01"]
    ordered = sorted(names, key=natural_key)
    assert ordered == ["", "01", "1", "9.png", "10.png", "a", "a2b", "a10b"]
    assert sorted(sorted(names), key=natural_key) == ordered


def test_listing_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list_images(tmp_path / "nowhere")


def test_images_below_a_folder_come_in_the_order_of_its_entries(tmp_path: Path) -> None:
    for name in ("b.png", "A10.png", "a2.png", "sub/1.PNG", "notes.txt", ".hidden/1.png", "__MACOSX/1.png", "._1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a2.png", "A10.png", "b.png", "sub/1.PNG"]


def test_a_folder_divided_into_train_and_val_is_refused_where_asked(tmp_path: Path) -> None:
    for name in ("train/1.png", "val/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert [image.label for image in list_labelled_images(tmp_path)] == ["train", "val"]
    with pytest.raises(DataError, match="give the one to learn from"):
        list_labelled_images(tmp_path, refuse_divided=True)
