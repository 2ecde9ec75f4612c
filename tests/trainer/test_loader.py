from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.config import AugmentConfig
from trainer.errors import DataError
from trainer.loader import MEAN, STD, EpochOrder, augment, decode, decode_all, normalise

STILL = AugmentConfig(flips=False, quarter_turns=False, warp_rate=0, brightness=0, contrast=0)


def order_of(labels: list[int], **settings: object) -> EpochOrder:
    defaults = {"batch_size": 4, "images_per_epoch": None, "balance": False}
    return EpochOrder(labels, generator=torch.Generator().manual_seed(0), **{**defaults, **settings})  # type: ignore[arg-type]


def shown(order: EpochOrder) -> list[int]:
    return torch.cat(order.next_epoch()).tolist()


def test_a_picture_becomes_channels_rows_columns(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "图.png")
    assert np.array_equal(decode(tmp_path / "图.png", 32), pixels.transpose(2, 0, 1))


def test_grey_deep_clear_and_turned_pictures_are_read_as_they_look(tmp_path: Path) -> None:
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


def test_a_wide_picture_is_squeezed_and_loses_no_edge(tmp_path: Path) -> None:
    wide = Image.new("L", (200, 50), 0)
    wide.paste(255, (0, 0, 20, 50))
    wide.save(tmp_path / "wide.png")
    square = decode(tmp_path / "wide.png", 32)
    assert square.shape == (3, 32, 32)
    assert square[0, :, 0].min() > 250
    assert square[0, :, -1].max() == 0


def test_a_picture_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture .*trainer check"):
        decode_all([tmp_path / "a.png"], 32, progress=False)


def test_normalising_is_the_formula() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    expected = (images.numpy() / 255 - np.array(MEAN).reshape(3, 1, 1)) / np.array(STD).reshape(3, 1, 1)
    assert np.allclose(normalise(images).numpy(), expected, atol=1e-6)


def test_every_image_is_shown_once_an_epoch() -> None:
    order = order_of([0] * 7 + [1] * 4)
    first, second = shown(order), shown(order)
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second


def test_a_smaller_budget_runs_on_over_the_epochs() -> None:
    order = order_of([0] * 10, images_per_epoch=4)
    counts = Counter(place for _ in range(5) for place in shown(order))
    assert counts == dict.fromkeys(range(10), 2)


def test_a_balanced_order_shows_every_class_and_every_image_of_a_class_equally() -> None:
    labels = [0] * 20 + [1] * 5 + [2] * 1
    counts = Counter(place for _ in range(5) for place in shown(order_of(labels, balance=True, images_per_epoch=60)))
    by_class = Counter({k: sum(counts[place] for place, label in enumerate(labels) if label == k) for k in (0, 1, 2)})
    assert by_class == {0: 100, 1: 100, 2: 100}
    assert set(counts.values()) == {5, 20, 100}


@pytest.mark.parametrize(("images", "batch_size"), [(2, 32), (3, 2), (33, 32), (63, 32), (683, 32), (5, 4)])
def test_no_step_sees_a_single_image(images: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in order_of([0] * images, batch_size=batch_size).next_epoch()]
    assert sum(sizes) == images
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1


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
        [place for place, one in enumerate(eight) if torch.allclose(one[0].float(), picture, atol=1e-2)]
        for picture in varied
    ]
    assert all(len(matches) == 1 for matches in found)
    assert {matches[0] for matches in found} == set(range(8))


def test_hue_never_changes() -> None:
    grey = torch.randint(60, 200, (16, 1, 16, 16), dtype=torch.uint8).expand(-1, 3, -1, -1)
    varied = augment(grey, AugmentConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(varied[:, 0], varied[:, 1])
    assert torch.equal(varied[:, 1], varied[:, 2])


def test_a_defect_in_the_middle_stays_in_the_picture() -> None:
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
