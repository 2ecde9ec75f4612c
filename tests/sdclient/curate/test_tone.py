"""Distributions of brightness and colour."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.stats import wasserstein_distance

from sdclient.curate.measures import colour_distances, is_grey, look_of, tone_distances
from tests.support.images import surface


def test_the_distance_in_tone_is_the_earth_movers() -> None:
    one, other = surface(1), surface(2).point(lambda level: level * 0.6)
    expected = wasserstein_distance(np.asarray(one.convert("L")).ravel(), np.asarray(other.convert("L")).ravel())
    found = tone_distances(look_of(one), look_of(other)[None])[0]
    assert found == pytest.approx(expected, rel=0.05)


def test_brighter_by_ten_levels_is_ten_levels_away() -> None:
    one = surface(1).convert("L")
    other = one.point(lambda level: level + 10)
    assert tone_distances(look_of(one), look_of(other)[None])[0] == pytest.approx(10, abs=0.6)


def test_colour_counts_together_with_tone() -> None:
    one = surface(1)
    swapped = Image.merge("RGB", one.split()[::-1])
    looks = look_of(swapped)[None]
    by_plane = np.abs(look_of(one) - looks[0]).mean(axis=1)
    assert colour_distances(look_of(one), looks)[0] == pytest.approx(float(np.hypot.reduce(by_plane)), rel=1e-5)
    assert colour_distances(look_of(one), looks)[0] > 2 * tone_distances(look_of(one), looks)[0]


def test_grey_is_known_whatever_the_mode() -> None:
    assert is_grey(look_of(surface(1).convert("L")))
    assert is_grey(look_of(surface(1).convert("L").convert("RGB")))
    assert not is_grey(look_of(surface(1)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_has_a_look(mode: str) -> None:
    picture = Image.new("I;16", (8, 8), 300) if mode == "I;16" else surface(1).convert(mode)
    assert look_of(picture).shape == (3, 32)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 13), (64, 64), (37, 101)])
def test_a_look_holds_the_quantiles_that_numpy_finds_by_sorting(size: tuple[int, int]) -> None:
    chance = np.random.default_rng(sum(size))
    for levels in (1, 4, 256):
        picture = Image.fromarray(chance.integers(0, levels, (*size, 3)).astype(np.uint8))
        planes = np.asarray(picture.convert("YCbCr")).reshape(-1, 3)
        expected = np.quantile(planes, (np.arange(32) + 0.5) / 32, axis=0, method="inverted_cdf").T
        assert np.array_equal(look_of(picture), expected)
