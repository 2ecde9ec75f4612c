from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdcore.errors import DataError
from trainer.data.dataset import read_dataset


def test_classes_are_sorted_and_images_in_natural_order(data: Path) -> None:
    dataset = read_dataset(data)
    assert dataset.classes == ("Normal", "dirt", "划痕")
    assert [image.path.name for image in dataset.test if image.label == "dirt"] == ["12.png", "13.png", "14.png"]
    assert [image.path.name for image in dataset.train if image.label == "Normal"] == [f"{k}.png" for k in range(1, 9)]
    assert [image.path.name for image in dataset.val if image.label == "划痕"] == ["9.png", "10.png", "11.png"]


def test_the_test_part_may_know_only_normal_and_abnormal(data: Path) -> None:
    shutil.rmtree(data / "test" / "划痕")
    (data / "test" / "dirt").rename(data / "test" / "Abnormal")
    assert {image.label for image in read_dataset(data).test} == {"Normal", "Abnormal"}


def test_a_test_part_may_be_absent(data: Path) -> None:
    shutil.rmtree(data / "test")
    assert read_dataset(data).test == ()


def test_junk_and_hidden_files_are_passed_over(data: Path) -> None:
    before = read_dataset(data)
    (data / "train" / ".DS_Store").touch()
    (data / "train" / "dirt" / "Thumbs.db").touch()
    (data / "train" / "dirt" / "._1.png").touch()
    (data / "train" / "__MACOSX").mkdir()
    (data / "train" / ".git").mkdir()
    assert read_dataset(data) == before


def test_deeper_folders_belong_to_their_class(data: Path) -> None:
    (data / "train" / "dirt" / "line 2").mkdir()
    shutil.copy(data / "train" / "dirt" / "1.png", data / "train" / "dirt" / "line 2" / "1.PNG")
    assert sum(image.label == "dirt" for image in read_dataset(data).train) == 9


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_missing_part_is_refused(data: Path, part: str) -> None:
    shutil.rmtree(data / part)
    with pytest.raises(DataError, match=rf"no folder {part}/ in it.*trainer split"):
        read_dataset(data)


def test_a_validation_class_that_training_lacks_is_refused(data: Path) -> None:
    shutil.rmtree(data / "train" / "dirt")
    with pytest.raises(DataError, match="class 'dirt' is not in train/"):
        read_dataset(data)


def test_a_class_without_validation_images_is_refused(data: Path) -> None:
    shutil.rmtree(data / "val" / "dirt")
    with pytest.raises(DataError, match="no images of class 'dirt'"):
        read_dataset(data)


def test_test_labels_that_are_no_classes_are_refused(data: Path) -> None:
    (data / "test" / "dirt").rename(data / "test" / "dust")
    with pytest.raises(DataError, match="class 'dust' is not in train/"):
        read_dataset(data)


def test_an_empty_class_folder_is_refused(data: Path) -> None:
    (data / "train" / "空").mkdir()
    with pytest.raises(DataError, match="空: no images in this class folder"):
        read_dataset(data)


def test_a_single_class_is_refused(data: Path) -> None:
    for part in ("train", "val", "test"):
        for label in ("dirt", "划痕"):
            shutil.rmtree(data / part / label)
    with pytest.raises(DataError, match=r"one class only \('Normal'\)"):
        read_dataset(data)
