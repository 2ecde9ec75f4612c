"""Images to tensors: decoding, normalisation, variation."""

from __future__ import annotations

import math
from colorsys import rgb_to_hsv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdcore.errors import DataError
from trainer.config import AugmentConfig
from trainer.data.transforms import MEAN, STD, augment, colour_matrix, decode, normalise


def test_an_image_becomes_channels_rows_columns(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "图.png")
    assert np.array_equal(decode(tmp_path / "图.png", 32), pixels.transpose(2, 0, 1))


def test_grey_deep_clear_and_turned_images_are_read_as_they_look(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    Image.fromarray(np.full((8, 8), 77 * 257, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("1", (8, 8), 1).save(tmp_path / "bits.png")
    assert set(decode(tmp_path / "grey.png", 32).ravel()) == {77}
    assert set(decode(tmp_path / "deep.png", 32).ravel()) == {77}
    assert set(decode(tmp_path / "clear.png", 32).ravel()) == {255}
    assert set(decode(tmp_path / "bits.png", 32).ravel()) == {255}
    halves = Image.new("RGB", (32, 32), "white")
    halves.paste("black", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    halves.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    turned = decode(tmp_path / "turned.jpg", 32)
    assert turned[:, :14].min() > 240
    assert turned[:, 18:].max() < 15


def test_a_wide_image_is_squeezed_and_loses_no_edge(tmp_path: Path) -> None:
    wide = Image.new("L", (200, 50), 0)
    wide.paste(255, (0, 0, 20, 50))
    wide.save(tmp_path / "wide.png")
    square = decode(tmp_path / "wide.png", 32)
    assert square.shape == (3, 32, 32)
    assert square[0, :, 0].min() > 250
    assert square[0, :, -1].max() == 0


def test_an_image_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image .*trainer check"):
        decode(tmp_path / "a.png", 32)


def test_normalising_is_the_formula() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    expected = (images.numpy() / 255 - np.array(MEAN).reshape(3, 1, 1)) / np.array(STD).reshape(3, 1, 1)
    assert np.allclose(normalise(images).numpy(), expected, atol=1e-6)


STILL = AugmentConfig(flips=False, quarter_turns=False, warp_rate=0, brightness=0, contrast=0)


def test_without_changes_an_image_stays_as_it_is() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    same = augment(images, STILL, torch.Generator().manual_seed(0))
    assert torch.allclose(same, images.float(), atol=1e-2)


def test_flips_and_quarter_turns_are_the_eight_of_a_square_and_nothing_else() -> None:
    image = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    config = STILL.model_copy(update={"flips": True, "quarter_turns": True})
    varied = augment(image.expand(200, -1, -1, -1), config, torch.Generator().manual_seed(0))
    eight = [turned for k in range(4) for base in (image, image.flip(3)) for turned in [base.rot90(k, (2, 3))]]
    found = [
        [place for place, one in enumerate(eight) if torch.allclose(one[0].float(), result, atol=1e-2)]
        for result in varied
    ]
    assert all(len(matches) == 1 for matches in found)
    assert {matches[0] for matches in found} == set(range(8))


def test_hue_never_changes() -> None:
    grey = torch.randint(60, 200, (16, 1, 16, 16), dtype=torch.uint8).expand(-1, 3, -1, -1)
    varied = augment(grey, AugmentConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(varied[:, 0], varied[:, 1])
    assert torch.equal(varied[:, 1], varied[:, 2])


def test_a_defect_in_the_middle_stays_in_the_image() -> None:
    images = torch.zeros((300, 3, 64, 64), dtype=torch.uint8)
    images[:, :, 28:36, 28:36] = 200
    config = AugmentConfig(brightness=0, contrast=0)
    varied = augment(images, config, torch.Generator().manual_seed(0))
    area = varied.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert area.min() > 0.75
    assert area.max() < 1.3
    assert (varied[:, 0, 0] < 1).all()


def test_the_generator_alone_decides() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    one = augment(images, AugmentConfig(), torch.Generator().manual_seed(5))
    torch.manual_seed(99)
    assert torch.equal(one, augment(images, AugmentConfig(), torch.Generator().manual_seed(5)))
    assert not torch.equal(one, augment(images, AugmentConfig(), torch.Generator().manual_seed(6)))
    assert one.min() >= 0
    assert one.max() <= 255


def test_a_defect_at_the_very_margin_mostly_stays_visible() -> None:
    images = torch.zeros((2000, 3, 64, 64), dtype=torch.uint8)
    images[:, :, 0:4, 0:4] = 200  # in the corner, the worst place
    varied = augment(images, AugmentConfig(brightness=0, contrast=0), torch.Generator().manual_seed(0))
    area = varied.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert (area > 0.5).float().mean() >= 0.7
    images[:, :, 0:4, 0:4] = 0
    images[:, :, 8:12, 8:12] = 200  # an eighth of the side away from it
    varied = augment(images, AugmentConfig(brightness=0, contrast=0), torch.Generator().manual_seed(0))
    area = varied.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert (area > 0.5).float().mean() >= 0.99


def test_the_default_warp_never_shows_less_than_four_fifths_of_the_area() -> None:
    assert 1 / (1 + AugmentConfig().scale) ** 2 >= 0.8


def hues(pixels: torch.Tensor) -> list[float]:
    return [rgb_to_hsv(*(pixels[:, 4, 4] / 255).tolist())[0] for pixels in pixels]


def test_hue_turns_on_request_by_as_much_as_asked_and_keeps_grey() -> None:
    red = torch.tensor([160, 60, 60], dtype=torch.uint8).view(1, 3, 1, 1).expand(200, 3, 8, 8)
    config = STILL.model_copy(update={"hue": 0.1})
    turned = hues(augment(red, config, torch.Generator().manual_seed(0)))
    off_red = [min(hue, 1 - hue) for hue in turned]
    assert 0.08 < max(off_red) < 0.12
    assert any(hue < 0.5 for hue in turned)
    assert any(hue > 0.5 for hue in turned)
    grey = torch.full((4, 3, 8, 8), 90, dtype=torch.uint8)
    assert torch.allclose(augment(grey, config, torch.Generator().manual_seed(0)), grey.float(), atol=1e-2)


def test_a_turn_by_a_third_of_the_circle_swaps_the_channels() -> None:
    matrix = colour_matrix(torch.tensor([2 * math.pi / 3]), torch.ones(1))[0]
    assert torch.allclose(matrix @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)


def test_no_saturation_is_grey_and_full_is_the_image() -> None:
    colours = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    greyed = colour_matrix(torch.zeros(1), torch.zeros(1))[0] @ colours
    assert torch.allclose(greyed, colours.mean(dim=0).expand(3, -1), atol=1e-6)
    assert torch.allclose(colour_matrix(torch.zeros(1), torch.ones(1))[0] @ colours, colours, atol=1e-6)
    red = torch.tensor([160, 60, 60], dtype=torch.uint8).view(1, 3, 1, 1).expand(100, 3, 8, 8)
    varied = augment(red, STILL.model_copy(update={"saturation": 0.5}), torch.Generator().manual_seed(0))
    spread = (varied[:, 0] - varied[:, 1]).amax(dim=(1, 2))
    assert 45 < spread.min() < 60 < 140 < spread.max() < 155


def test_colour_is_drawn_last_so_that_an_image_lies_the_same_without_it() -> None:
    grey = torch.randint(60, 200, (8, 1, 16, 16), dtype=torch.uint8).expand(-1, 3, -1, -1)
    plain = augment(grey, AugmentConfig(), torch.Generator().manual_seed(0))
    coloured = augment(grey, AugmentConfig(hue=0.2), torch.Generator().manual_seed(0))
    assert torch.allclose(plain, coloured, atol=1e-2)
