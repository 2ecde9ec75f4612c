from __future__ import annotations

import numpy as np
import pytest
import torch

from sdcore.diffusion_model import PixelCodec, fit_pixel_codec


def images(channels: int = 3) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    shapes = [(16, 16), (16, 24), (32, 16)]
    return [torch.randint(20, 200, (channels, *shape), generator=rng, dtype=torch.uint8) for shape in shapes]


def test_mean_and_deviation_are_those_of_all_pixels() -> None:
    code = fit_pixel_codec(images(), 4)
    every = np.concatenate([image.numpy().reshape(3, -1) for image in images()], axis=1) / 255
    assert code.mean == pytest.approx(every.mean(axis=1), abs=1e-9)
    assert code.std == pytest.approx(every.std(axis=1), abs=1e-9)


@pytest.mark.parametrize("packing", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_come_back_exactly(packing: int, channels: int) -> None:
    levels = images(channels)[0][None]
    code = fit_pixel_codec(images(channels), packing)
    packed = code.encode(levels)
    assert packed.shape == (1, channels * packing**2, 16 // packing, 16 // packing)
    assert torch.equal(code.decode(packed), levels)


def test_one_place_holds_the_pixels_of_its_own_square() -> None:
    levels = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    packed = PixelCodec((0.0,), (1 / 255,), 4).encode(levels)
    expected = levels[0, 0, 4:8, 0:4].flatten().float()
    assert packed[0, :, 1, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-3)


def test_a_set_of_one_flat_level_is_not_blown_up() -> None:
    code = fit_pixel_codec([torch.full((1, 16, 16), 128, dtype=torch.uint8)], 4)
    assert code.std == (1 / 64,)
    assert float(code.encode(torch.full((1, 1, 16, 16), 129)).abs().max()) < 1


def test_levels_beyond_the_ends_are_cut_off() -> None:
    code = PixelCodec((0.5,), (0.5,), 1)
    assert code.decode(torch.tensor([-9.0, 9.0]).view(1, 1, 1, 2)).flatten().tolist() == [0, 255]
