"""What differs between a defect image and its good image, wherever that lies by a few pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sdclient import masks
from sdclient.errors import MaskError
from sdclient.masks import DifferenceMasks, MaskingResult, difference_mask, make_masks
from sdclient.masks.from_difference import align
from sdclient.masks.mask import box_of, read_mask
from sdclient.sources import discover
from sdclient.sources.numbering import number_images
from sdcore.errors import DataError, MissingExtra

DEFECT = (50, 40, 70, 52)


def surface(seed: int = 0, side: int = 128) -> np.ndarray:
    """(side, side) levels: a smooth structure, some edges."""
    chance = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(chance.normal(0, 1, (side, side)), 5, mode="wrap")
    levels = 120 + 40 * smooth / smooth.std()
    levels[:, 20:24] += 60
    levels[90:96] -= 40
    return levels


def photographed(levels: np.ndarray, seed: int, *, noise: float = 3.0, gain: float = 1.0) -> Image.Image:
    chance = np.random.default_rng(100 + seed)
    return Image.fromarray(np.clip(gain * levels + chance.normal(0, noise, levels.shape), 0, 255).astype(np.uint8))


def with_defect(levels: np.ndarray, by: float = 60.0) -> np.ndarray:
    changed = levels.copy()
    changed[DEFECT[1] : DEFECT[3], DEFECT[0] : DEFECT[2]] += by
    return changed


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (0.5, 0.5), (-4.6, 6.2)])
@pytest.mark.parametrize("gain", [1.0, 0.85])
def test_the_defect_is_found_though_the_good_image_lies_elsewhere(shift: tuple[float, float], gain: float) -> None:
    good = ndimage.shift(surface(), shift, order=3, mode="nearest")
    mask = difference_mask(photographed(with_defect(surface()), 1), photographed(good, 2, gain=gain))
    found = np.asarray(mask) > 0
    expected = with_defect(np.zeros((128, 128))) > 0
    assert (found & expected).sum() / (found | expected).sum() > 0.7
    assert np.abs(np.subtract(box_of(mask), DEFECT)).max() <= 3


def test_alignment_is_to_a_tenth_of_a_pixel() -> None:
    found = align(surface(), ndimage.shift(surface(), (2.3, -1.7), order=3, mode="nearest"))
    assert found.down_px == pytest.approx(-2.3, abs=0.15)
    assert found.right_px == pytest.approx(1.7, abs=0.15)
    assert found.correlation > 0.95
    assert found.is_sure


def test_a_defect_of_another_colour_alone_is_found() -> None:
    board = np.repeat(surface()[..., None], 3, axis=2)
    stained = board.copy()
    stained[40:52, 50:70] += (60, -30, -30)  # as bright as before
    pictures = [Image.fromarray(np.clip(one, 0, 255).astype(np.uint8)) for one in (stained, board)]
    assert difference_mask(*pictures).getbbox() == DEFECT


@pytest.mark.parametrize(
    ("defect", "good", "words"),
    [
        (photographed(surface(0), 1), photographed(surface(5), 2), "do not show the same place"),
        (photographed(surface(), 1), photographed(surface(), 2), "nothing differs by more than the noise"),
        (Image.new("L", (64, 64), 90), Image.new("L", (64, 64), 90), "nothing differs"),
    ],
    ids=["another board", "no defect", "flat"],
)
def test_what_cannot_be_told_is_said(defect: Image.Image, good: Image.Image, words: str) -> None:
    with pytest.raises(MaskError, match=words):
        difference_mask(defect, good)


def test_a_good_image_that_lies_too_far_off_is_refused() -> None:
    good = photographed(ndimage.shift(surface(), (8, 0), order=1, mode="nearest"), 2)
    with pytest.raises(MaskError, match=r"is (7.9|8.0|8.1) px off, at most 5 px"):
        difference_mask(photographed(with_defect(surface()), 1), good, max_shift_px=5)


def test_on_a_surface_without_structure_the_defect_is_found_in_place() -> None:
    flat = np.full((96, 96), 120.0)
    spot = flat.copy()
    spot[30:40, 50:60] = 200
    mask = difference_mask(photographed(spot, 1), photographed(flat, 2))
    assert np.abs(np.subtract(box_of(mask), (50, 30, 60, 40))).max() <= 2


def test_crumbs_are_no_defect() -> None:
    speckled = surface()
    speckled[60, 60] += 90
    with pytest.raises(MaskError, match="nothing differs"):
        difference_mask(photographed(speckled, 1), photographed(surface(), 2))


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    """A defect photograph IMG_7 (numbered 1) and its good image."""
    for folder, levels, seed in (("photos/pad", with_defect(surface()), 1), ("good/pad", surface(), 2)):
        (tmp_path / folder).mkdir(parents=True)
        photographed(levels, seed).save(tmp_path / folder / "IMG_7.png")
    number_images(tmp_path / "photos", tmp_path / "sources")
    return tmp_path


def make(project: Path, good: Path) -> MaskingResult:
    sources = discover(project / "sources")
    origin = DifferenceMasks(good, project / "sources", sources)
    return make_masks(project / "sources", sources, project / "masks", origin, grow_px=0, feather_px=0)


@pytest.mark.parametrize("good", ["good", "good/pad/IMG_7.png"])
def test_good_images_come_as_a_folder_or_as_one_file(boards: Path, good: str) -> None:
    result = make(boards, boards / good)
    assert result.made == ("pad/1.png",)
    mask = read_mask(boards / "masks" / "pad" / "1.png", (128, 128))
    assert np.abs(np.subtract(box_of(mask), DEFECT)).max() <= 3


def test_sources_that_have_no_good_image_are_left_out_with_the_reason(boards: Path) -> None:
    photographed(surface(7), 3).save(boards / "sources" / "pad" / "2.png")
    photographed(surface(7, side=64), 3).save(boards / "sources" / "pad" / "3.png")
    reasons = {item.file: item.reason for item in make(boards, boards / "good" / "pad" / "IMG_7.png").left_out}
    assert "do not show the same place" in reasons["pad/2.png"]
    assert "64 x 64 px, but" in reasons["pad/3.png"]
    reasons = {item.file: item.reason for item in make(boards, boards / "good").left_out}
    assert reasons["pad/2.png"] == "no good image of its name"


def test_a_folder_that_is_not_there_is_named(boards: Path) -> None:
    with pytest.raises(DataError, match="expected a folder, found nothing"):
        make(boards, boards / "nowhere")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.delitem(sys.modules, "skimage.filters", raising=False)
    monkeypatch.delitem(sys.modules, "sdclient.masks.from_difference")
    with pytest.raises(MissingExtra, match=r'pip install "sd-defects\[curate\]"'):
        _ = masks.DifferenceMasks
