"""Boxes of photographs and of crops become masks of numbered sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdclient.errors import MaskError
from sdclient.masks import BoxMasks, ExternalMasks, MaskingResult, defect_area, make_masks
from sdclient.masks.mask import box_of, read_mask
from sdclient.sources import discover
from sdclient.sources.crop import crop_boxes
from sdclient.sources.numbering import number_images
from sdcore.errors import AnnotationError, DataError, SettingsError


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


BOX = (4, 6, 12, 9)
EXPECTED = np.zeros((24, 32), bool)
EXPECTED[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True


def drawn(mode: str, mark: Any, ground: Any = 0) -> Image.Image:
    image = Image.new(mode, (32, 24), ground)
    image.paste(mark, BOX)
    return image


def palette_labels() -> Image.Image:
    """Index 2 is the defect; index 0, the ground, is shown as white."""
    image = Image.new("P", (32, 24))
    image.putpalette([255, 255, 255, 9, 9, 9, 0, 0, 0])
    image.paste(2, BOX)
    return image


def deep() -> Image.Image:
    levels = np.zeros((24, 32), np.uint16)
    levels[EXPECTED] = 1
    return Image.fromarray(levels)


@pytest.mark.parametrize(
    "image",
    [
        drawn("1", 1),
        drawn("L", 255),
        drawn("L", 1),
        drawn("RGB", (0, 0, 128)),
        palette_labels(),
        deep(),
        drawn("F", 0.5),
        drawn("I", 70000),
        drawn("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        drawn("RGBA", (200, 0, 0, 255), (0, 0, 0, 255)),
        drawn("LA", (255, 255), (0, 255)),
    ],
    ids=lambda image: image.mode,
)
def test_what_is_marked_is_the_defect(image: Image.Image) -> None:
    area = defect_area(image)
    assert area.mode == "L"
    assert (np.asarray(area) == 255 * EXPECTED).all()
    assert (np.asarray(defect_area(image, inverted=True)) == 255 * ~EXPECTED).all()


def test_a_smeared_file_counts_from_half_on(tmp_path: Path) -> None:
    drawn("L", 255).save(tmp_path / "1.jpg", quality=40)
    with Image.open(tmp_path / "1.jpg") as image:
        assert defect_area(image).getbbox() != BOX  # rings around the edge
        assert defect_area(image, smeared=True).getbbox() == BOX


@pytest.mark.parametrize(
    ("image", "label"),
    [
        (drawn("RGB", (255, 0, 0), (0, 255, 0)), (255, 0, 0)),
        (drawn("L", 3, 7), 3),
        (palette_labels(), 2),
        (drawn("I", 300, 301), 300),
    ],
)
def test_one_label_alone_can_be_the_defect(image: Image.Image, label: Any) -> None:
    assert (np.asarray(defect_area(image, label=label)) == 255 * EXPECTED).all()


def test_a_number_means_nothing_in_colours() -> None:
    with pytest.raises(MaskError, match="mode RGB has colours, not numbers"):
        defect_area(drawn("RGB", (1, 1, 1)), label=1)


def from_masks_make(project: Path, **options: Any) -> MaskingResult:
    sources = discover(project / "sources")
    origin = ExternalMasks(project / "annotations", project / "sources", sources, **options)
    return make_masks(project / "sources", sources, project / "masks", origin, grow_px=0, feather_px=0)


def put(project: Path, name: str, image: Image.Image) -> None:
    path = project / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def test_masks_are_found_by_the_photographs_names(project: Path) -> None:
    put(project, "漏铜/1_mask.png", drawn("L", 255))
    result = from_masks_make(project)
    assert result.made == ("漏铜/2.png",)
    assert box_of(read_mask(project / "masks" / "漏铜" / "2.png", (32, 24))) == BOX
    assert result.notes == ("masks were found by the photographs' names",)


def test_a_label_can_be_given_in_words(project: Path) -> None:
    put(project, "漏铜/1.png", drawn("RGB", (255, 0, 0), (0, 0, 255)))
    assert from_masks_make(project, label="red").made == ("漏铜/2.png",)
    with pytest.raises(SettingsError, match="--label rot: expected a colour as '#ff0000' or a whole number"):
        from_masks_make(project, label="rot")


def test_an_empty_mask_is_no_mask(project: Path) -> None:
    put(project, "漏铜/1.png", drawn("L", 0))
    put(project, "pad/1.png", Image.new("L", (50, 50), 255))
    reasons = {item.file: item.reason for item in from_masks_make(project).left_out}
    assert reasons == {
        "漏铜/2.png": "its mask would cover nothing",
        "pad/2.png": "no mask file",
        "漏铜/1.png": "no mask file",
    }


def test_masks_that_cannot_be_used_are_named(project: Path) -> None:
    put(project, "漏铜/1.png", drawn("L", 255).resize((24, 32)))
    with pytest.raises(MaskError, match=r"1\.png: 24 x 32 px; expected 32 x 24 px"):
        from_masks_make(project)
    put(project, "漏铜/1_mask.png", drawn("L", 255))
    with pytest.raises(MaskError, match="is beside it; keep one of them for"):
        from_masks_make(project)
    with pytest.raises(DataError, match="expected a folder, found nothing"):
        ExternalMasks(project / "nowhere", project / "sources", [])


def test_a_mask_at_the_top_cannot_belong_to_two_classes(project: Path) -> None:
    put(project, "1.png", drawn("L", 255).resize((50, 50)))
    with pytest.raises(MaskError, match=r"would belong to pad/1\.png and 漏铜/2\.png"):
        from_masks_make(project)
