"""Boxes of photographs and of crops become masks of numbered sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdclient.errors import MaskError
from sdclient.masks.from_labels import BoxMasks
from sdclient.masks.make import MaskingResult, make_masks
from sdclient.masks.mask import box_of, read_mask
from sdclient.sources import discover
from sdclient.sources.crop import crop_boxes
from sdclient.sources.numbering import number_images
from sdcore.errors import AnnotationError


def yolo(folder: Path, name: str, *lines: str) -> None:
    """A box file, and the classes pad and 漏铜 beside them."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    (folder / "classes.txt").write_text("pad\n漏铜\n", encoding="utf-8")


def make(project: Path, boxes: Path, *, any_class: bool = False, **options: Any) -> MaskingResult:
    sources = discover(project / "sources")
    origin = BoxMasks(boxes, project / "sources", sources, any_class=any_class)
    options = {"grow_px": 0, "feather_px": 0, **options}
    return make_masks(project / "sources", sources, project / "masks", origin, **options)


def box(project: Path, name: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    return box_of(read_mask(project / "masks" / name, size))


def test_boxes_named_like_the_photographs_reach_the_numbered_sources(project: Path) -> None:
    """The photograph 1.png of 漏铜 became 2.png: its boxes must not go to the source 1.png."""
    yolo(project / "labels", "pad/IMG_20.txt", "0 0.5 0.5 0.5 0.2")
    yolo(project / "labels", "漏铜/1.txt", "1 0.25 0.25 0.5 0.5")
    result = make(project, project / "labels")
    assert result.made == ("pad/2.png", "漏铜/2.png")
    assert box(project, "pad/2.png", (40, 30)) == (10, 12, 30, 18)
    assert box(project, "漏铜/2.png", (32, 24)) == (0, 0, 16, 12)
    assert {(item.file, item.reason) for item in result.left_out} == {
        ("pad/1.png", "no box file"),
        ("漏铜/1.png", "no box file"),
    }
    assert result.notes == ("boxes were found by the photographs' names",)


def test_boxes_named_like_the_sources_are_found_too(project: Path) -> None:
    yolo(project / "labels", "pad/2.txt", "0 0.5 0.5 0.5 0.2")
    result = make(project, project / "labels")
    assert result.made == ("pad/2.png",)
    assert result.notes == ("boxes were found by the sources' numbers",)
    (project / "sources" / "mapping.csv").unlink()
    assert make(project, project / "labels").unchanged == ("pad/2.png",)


def test_voc_boxes_at_the_top_of_the_folder(project: Path) -> None:
    labels = project / "labels"
    labels.mkdir()
    (labels / "IMG_20.xml").write_text(
        "<annotation><object><name>pad</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>9</xmax><ymax>11</ymax></bndbox>"
        "</object></annotation>",
        encoding="utf-8",
    )
    make(project, labels)
    assert box(project, "pad/2.png", (40, 30)) == (3, 4, 9, 11)


def test_boxes_of_another_class_are_passed_over_and_said(project: Path) -> None:
    yolo(project / "labels", "pad/IMG_20.txt", "0 0.5 0.5 0.5 0.2", "1 0.1 0.1 0.2 0.2")
    yolo(project / "labels", "pad/1.txt", "1 0.1 0.1 0.2 0.2")
    result = make(project, project / "labels")
    assert box(project, "pad/2.png", (40, 30)) == (10, 12, 30, 18)
    assert "漏铜 (1)" in result.notes[1]
    reasons = {item.file: item.reason for item in result.left_out}
    assert reasons["pad/1.png"] == "its boxes are of class 漏铜, not of its folder's; --any-class takes them"
    every = make(project, project / "labels", any_class=True, overwrite=True)
    assert every.made == ("pad/1.png", "pad/2.png")
    assert box(project, "pad/2.png", (40, 30)) == (0, 0, 30, 18)


def test_an_empty_box_file_means_no_defect(project: Path) -> None:
    yolo(project / "labels", "pad/IMG_20.txt", "")
    reasons = {item.file: item.reason for item in make(project, project / "labels").left_out}
    assert reasons["pad/2.png"] == "its box file says that there is no defect"
    assert not (project / "masks" / "pad").exists()


def test_a_box_file_that_cannot_be_used_is_named(project: Path) -> None:
    yolo(project / "labels", "pad/IMG_20.txt", "0 0.5 0.5 0.5")
    with pytest.raises(AnnotationError, match=r"IMG_20\.txt: line 1: 4 fields"):
        make(project, project / "labels")
    with pytest.raises(AnnotationError, match="not there; expected the folder with the box files"):
        make(project, project / "nowhere")


def crops(folder: Path) -> None:
    """One photograph with two defects, cut out and numbered; crops are 40 px and more."""
    Image.effect_noise((200, 120), 30).save(folder / "board.png")
    (folder / "big").mkdir()
    (folder / "board.png").rename(folder / "big" / "board.png")
    yolo(folder / "boxes", "board.txt", "0 0.25 0.5 0.05 0.1", "1 0.75 0.5 0.1 0.1")
    crop_boxes(folder / "big", folder / "crops", folder / "boxes", size_px=40)
    number_images(folder / "crops", folder / "sources")


@pytest.mark.parametrize("given", ["crops", "crops/crops.csv"])
def test_boxes_of_crops_are_measured_from_the_crops_corner(tmp_path: Path, given: str) -> None:
    crops(tmp_path)
    result = make(tmp_path, tmp_path / given)
    assert result.made == ("pad/1.png", "漏铜/1.png")
    assert result.left_out == ()
    assert box(tmp_path, "pad/1.png", (40, 40)) == (15, 14, 25, 26)
    assert box(tmp_path, "漏铜/1.png", (40, 40)) == (10, 14, 30, 26)


def test_crops_of_another_size_than_the_table_says_are_refused(tmp_path: Path) -> None:
    crops(tmp_path)
    with Image.open(tmp_path / "sources" / "pad" / "1.png") as image:
        small = image.resize((20, 20))
    small.save(tmp_path / "sources" / "pad" / "1.png")
    with pytest.raises(MaskError, match=r"crops\.csv: pad/board_1\.png has 40 x 40 px there, but .*1\.png has 20 x 20"):
        make(tmp_path, tmp_path / "crops")


def test_a_source_that_is_in_no_table_is_left_out(tmp_path: Path) -> None:
    crops(tmp_path)
    Image.new("L", (40, 40)).save(tmp_path / "sources" / "pad" / "7.png")
    (left_out,) = make(tmp_path, tmp_path / "crops").left_out
    assert (left_out.file, left_out.reason) == ("pad/7.png", "not in crops.csv")
