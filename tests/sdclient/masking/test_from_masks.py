"""Masks of other tools, whatever they call white."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdclient.errors import MaskError
from sdclient.masks.from_labels import ExternalMasks, defect_area
from sdclient.masks.make import MaskingResult, make_masks
from sdclient.masks.mask import box_of, read_mask
from sdclient.sources import discover
from sdcore.errors import DataError, SettingsError

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


def make(project: Path, **options: Any) -> MaskingResult:
    sources = discover(project / "sources")
    origin = ExternalMasks(project / "annotations", project / "sources", sources, **options)
    return make_masks(project / "sources", sources, project / "masks", origin, grow_px=0, feather_px=0)


def put(project: Path, name: str, image: Image.Image) -> None:
    path = project / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def test_masks_are_found_by_the_photographs_names(project: Path) -> None:
    put(project, "漏铜/1_mask.png", drawn("L", 255))
    result = make(project)
    assert result.made == ("漏铜/2.png",)
    assert box_of(read_mask(project / "masks" / "漏铜" / "2.png", (32, 24))) == BOX
    assert result.notes == ("masks were found by the photographs' names",)


def test_a_label_can_be_given_in_words(project: Path) -> None:
    put(project, "漏铜/1.png", drawn("RGB", (255, 0, 0), (0, 0, 255)))
    assert make(project, label="red").made == ("漏铜/2.png",)
    with pytest.raises(SettingsError, match="--label rot: expected a colour as '#ff0000' or a whole number"):
        make(project, label="rot")


def test_an_empty_mask_is_no_mask(project: Path) -> None:
    put(project, "漏铜/1.png", drawn("L", 0))
    put(project, "pad/1.png", Image.new("L", (50, 50), 255))
    reasons = {item.file: item.reason for item in make(project).left_out}
    assert reasons == {
        "漏铜/2.png": "its mask would cover nothing",
        "pad/2.png": "no mask file",
        "漏铜/1.png": "no mask file",
    }


def test_masks_that_cannot_be_used_are_named(project: Path) -> None:
    put(project, "漏铜/1.png", drawn("L", 255).resize((24, 32)))
    with pytest.raises(MaskError, match=r"1\.png: 24 x 32 px; expected 32 x 24 px"):
        make(project)
    put(project, "漏铜/1_mask.png", drawn("L", 255))
    with pytest.raises(MaskError, match="stands beside 1_mask"):
        make(project)
    with pytest.raises(DataError, match="expected a folder, found nothing"):
        ExternalMasks(project / "nowhere", project / "sources", [])


def test_a_mask_at_the_top_cannot_belong_to_two_classes(project: Path) -> None:
    put(project, "1.png", drawn("L", 255).resize((50, 50)))
    with pytest.raises(MaskError, match=r"would belong to pad/1\.png and 漏铜/2\.png"):
        make(project)
