"""Images learned from and held out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generator.diffusion.dataset import TrainingSet, read_training_set
from generator.errors import GeneratedImages, TooFewImages
from sdcore.errors import DataError
from tests.support.generator_data import draw_classes, drawn


def read(folder: Path, **options: Any) -> TrainingSet:
    usual: dict[str, Any] = {"size_px": 16, "val_folder": None, "val_share": 0.2, "seed": 0, "progress": False}
    return read_training_set(folder, **{**usual, **options})


def test_a_share_of_each_class_is_held_out_by_the_seed(photos: Path) -> None:
    found = read(photos)
    assert found.classes == ("Normal", "open", "裂纹")
    assert found.counts == {"Normal": 8, "open": 5, "裂纹": 5}
    assert len(found.val) == 4
    assert not {image.file for image in found.train} & {image.file for image in found.val}
    assert [image.file for image in read(photos).val] == [image.file for image in found.val]
    assert {p.file for p in read(photos, seed=5).val} != {p.file for p in found.val}


def test_files_of_the_same_bytes_stay_on_one_side(photos: Path) -> None:
    for number in range(1, 7):
        shutil.copy(photos / "open" / f"{number}.png", photos / "open" / f"copy of {number}.png")
    found = read(photos, val_share=0.5)
    assert not {image.sha256 for image in found.train} & {image.sha256 for image in found.val}
    assert len(found.val) == 5 + 2 * 3 + 3


def test_a_folder_val_beside_train_is_taken_and_copies_in_it_are_said(photos: Path) -> None:
    draw_classes(photos.parent / "val", {"open": 3})
    drawn("Normal", 77).save(photos.parent / "val" / "open" / "other.png")
    found = read(photos)
    assert (len(found.train), len(found.val), found.val_from) == (22, 4, str(photos.parent / "val"))
    assert "3 held-out image(s)" in found.notes[0]


def test_val_has_no_class_of_its_own(photos: Path, tmp_path: Path) -> None:
    draw_classes(tmp_path / "held", {"open": 1})
    (tmp_path / "held" / "open").rename(tmp_path / "held" / "dirt")
    with pytest.raises(DataError, match=r"'dirt' is not in .*Normal, open"):
        read(photos, val_folder=tmp_path / "held")


def test_grey_images_have_one_channel_until_one_has_colour(photos: Path) -> None:
    assert read(photos).channels == 1
    drawn("open", 9, colour=True).save(photos / "open" / "colour.png")
    assert read(photos).channels == 3


def test_generated_images_are_counted_and_refused(photos: Path) -> None:
    chunks = PngInfo()
    chunks.add_text("sdclient", '{"source_sha256": "00"}')
    for number in (20, 21):
        drawn("open", number).save(photos / "open" / f"{number}.png", pnginfo=chunks)
    with pytest.raises(GeneratedImages, match=r"2 of 24 images were generated.*20\.png.*real photographs only"):
        read(photos)


def test_too_few_of_a_class_or_of_all_are_refused(tmp_path: Path) -> None:
    one = draw_classes(tmp_path / "one", {"Normal": 9, "open": 1})
    with pytest.raises(TooFewImages, match=r"open: 1 image; expected 2 or more"):
        read(one)
    few = draw_classes(tmp_path / "few", {"Normal": 4, "open": 3})
    with pytest.raises(TooFewImages, match=r"few: 7 images in all; expected 8"):
        read(few)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no such folder"),
        (lambda root: root.mkdir(), "no class folders"),
        (lambda root: (root / "open").mkdir(parents=True), "no images in this class folder"),
        (lambda root: draw_classes(root / "train", {"open": 9}) and draw_classes(root / "val", {"open": 9}), "train"),
        (lambda root: root.mkdir() or Image.new("L", (8, 8)).save(root / "a.png"), "beside the class folders"),
    ],
)
def test_another_layout_is_named(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataError, match=words):
        read(tmp_path / "data")


def test_what_systems_leave_is_passed_over(photos: Path) -> None:
    (photos / ".DS_Store").write_bytes(b"x")
    (photos / "__MACOSX").mkdir()
    (photos / "open" / "._1.png").write_bytes(b"x")
    assert len(read(photos, val_share=0).train) == 22


def test_the_fingerprint_follows_content_class_and_part_but_no_names(photos: Path) -> None:
    before = read(photos).fingerprint
    (photos / "open" / "1.png").rename(photos / "open" / "first.png")
    assert read(photos).fingerprint == before
    shutil.move(photos / "open" / "first.png", photos / "Normal" / "first.png")
    assert read(photos).fingerprint != before
