from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdcore.errors import DataError
from trainer.data.transforms import MEAN, STD, decode, normalise


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
        decode(tmp_path / "a.png", 32)


def test_normalising_is_the_formula() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    expected = (images.numpy() / 255 - np.array(MEAN).reshape(3, 1, 1)) / np.array(STD).reshape(3, 1, 1)
    assert np.allclose(normalise(images).numpy(), expected, atol=1e-6)
