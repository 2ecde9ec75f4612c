"""The layout of a DATA folder and the counts of its images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner

from sdcore.errors import DataError
from trainer.cli import cli
from trainer.data.dataset import (
    balance_notes,
    count_images,
    count_labels,
    counts_as_json,
    data_parts,
    locate,
    read_dataset,
)


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


def places(**images: int) -> list[tuple[str, str]]:
    """`train__open=3` -> three pairs ("train", "open")."""
    return [tuple(name.split("__")) for name, number in images.items() for _ in range(number)]  # type: ignore[misc]


def test_a_data_folder_is_counted_by_part(data: Path) -> None:
    counts = count_images(data)
    assert counts.parts == ("train", "val", "test")
    assert counts.images["划痕"] == {"train": 8, "val": 3, "test": 3}
    assert (counts.total, counts.of_class("划痕"), counts.of_part("val")) == (42, 14, 9)
    assert counts.share("划痕", "train") == pytest.approx(1 / 3)
    assert counts.ratio("train") == 1


def test_class_folders_are_one_part(photos: Path) -> None:
    counts = count_images(photos)
    assert counts.parts == ("all",)
    assert {label: dict(row) for label, row in counts.images.items()} == {
        "Normal": {"all": 12},
        "dirt": {"all": 12},
        "划痕": {"all": 12},
    }


def test_an_empty_class_folder_is_a_class_without_images(photos: Path) -> None:
    (photos / "short").mkdir()
    counts = count_images(photos)
    assert counts.images["short"] == {"all": 0}
    assert counts.ratio("all") == 1, "the smallest class that has any"
    assert "short: 0 images; fewer than 10 teach little" in balance_notes(counts)


def test_images_outside_of_classes_are_reported(photos: Path, draw) -> None:  # type: ignore[no-untyped-def]
    draw(photos / "loose.png", "dirt", 1)
    counts = count_images(photos)
    assert (counts.unplaced, counts.total) == (1, 36)
    assert balance_notes(counts)[-1] == "1 image in no class folder"


def test_shares_and_ratio_of_nothing_are_undefined() -> None:
    counts = count_labels([], ("train", "val"), classes=["open"])
    assert counts.share("open", "train") is None
    assert counts.ratio("val") is None
    assert counts.total == 0


def test_imbalance_is_reported_beyond_ten_times() -> None:
    assert balance_notes(count_labels(places(all__a=200, all__b=20), ("all",))) == []
    assert balance_notes(count_labels(places(all__a=201, all__b=20), ("all",))) == [
        "b: 20 images where a has 201, 10 times as many"
    ]


def test_a_class_missing_from_a_part_is_reported_but_not_when_the_part_is_empty() -> None:
    counts = count_labels(places(train__a=20, train__b=20, val__a=3), ("train", "val", "test"))
    assert balance_notes(counts) == ["b: no image in val"]


def test_a_test_set_that_names_no_defects_is_no_class_to_learn() -> None:
    counts = count_labels(places(train__Normal=20, train__a=20, test__Normal=5, test__Abnormal=5), ("train", "test"))
    assert balance_notes(counts) == ["a: no image in test"]


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_classes_or_none_at_all_is_refused(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nowhere"
    if make:
        folder.mkdir()
    with pytest.raises(DataError, match="no class folders" if make else "no such folder"):
        count_images(folder)


def test_the_command_prints_a_row_a_class(data: Path) -> None:
    done = CliRunner().invoke(cli, ["counts", str(data)])
    assert done.exit_code == 0
    row = next(line for line in done.stdout.splitlines() if "划痕" in line)
    assert row.replace("│", " ").split() == ["划痕", "8", "33.3", "%", "3", "33.3", "%", "3", "33.3", "%", "14"]


def test_the_command_prints_one_json_document_and_draws(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "counts.svg"
    done = CliRunner().invoke(cli, ["counts", str(data), "--json", "-o", str(out)])
    assert json.loads(done.stdout) == counts_as_json(count_images(data))
    assert json.loads(done.stdout)["classes"]["划痕"]["val"] == {"images": 3, "share": 3 / 9}
    assert "划痕" in out.read_text(encoding="utf-8")


def test_a_drawing_among_the_images_is_refused(data: Path) -> None:
    done = CliRunner().invoke(cli, ["counts", str(data), "-o", str(data / "counts.png")])
    assert done.exit_code == 1
    assert "would count as an image" in done.stderr
    assert not (data / "counts.png").exists()
