from __future__ import annotations

import numpy as np
import pytest

from generator.report.neighbours import (
    Symmetry,
    nearer_rate,
    nearest_in_features,
    nearest_in_pixels,
    ratio_of_medians,
    turned_like,
)


def images(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8)).astype(np.uint8))


def test_distances_in_pixels_are_root_mean_squares() -> None:
    made, learned = images(3, 1), images(5, 2)
    found = nearest_in_pixels(made, learned, symmetry=Symmetry())
    expected = np.array([[np.sqrt(((one.astype(float) - other) ** 2).mean()) for other in learned] for one in made])
    assert found.distance == pytest.approx(expected.min(axis=1), rel=1e-5)
    assert found.place.tolist() == expected.argmin(axis=1).tolist()


def test_a_rotated_and_mirrored_copy_is_found_if_the_training_showed_such() -> None:
    learned = images(5)
    copy = np.ascontiguousarray(np.rot90(learned[3], 1, axes=(1, 2))[:, :, ::-1])
    plain = nearest_in_pixels([copy], learned, symmetry=Symmetry())
    turned = nearest_in_pixels([copy], learned, symmetry=Symmetry(flips=True, quarter_turns=True))
    assert plain.distance[0] > 10
    assert (turned.place[0], turned.distance[0]) == (3, pytest.approx(0, abs=0.1))
    assert (turned_like(copy, learned[3], Symmetry(True, True)) == learned[3]).all()


def test_an_image_is_not_its_own_neighbour_if_excluded() -> None:
    learned = images(4)
    found = nearest_in_pixels(learned, learned, symmetry=Symmetry(), not_itself=[0, 1, 2, 3])
    assert (found.place != np.arange(4)).all()
    points = np.array([[0.0], [1.0], [5.0]])
    assert nearest_in_features(points, points, not_itself=[0, 1, 2]).distance.tolist() == [1, 1, 4]


def test_copies_are_nearer_than_real_images_and_fresh_ones_do_not() -> None:
    rng = np.random.default_rng(2)
    real = rng.uniform(5, 10, 60)
    groups = [str(one) for one in range(60)]
    copies, fresh = (
        ratio_of_medians(real[:30] / 20, real, groups),
        ratio_of_medians(rng.uniform(5, 10, 40), real, groups),
    )
    assert copies.value is not None
    assert copies.high is not None
    assert copies.high < 0.1
    assert fresh.low is not None
    assert fresh.high is not None
    assert fresh.low < 1 < fresh.high
    assert nearer_rate(real / 20, real) == 1.0
    assert nearer_rate(real, real) == 0.5
    assert nearer_rate(np.zeros(0), real) is None
    assert ratio_of_medians(real, real[:2], groups[:2]).value is None


def test_the_bootstrap_of_the_ratio_covers_the_truth() -> None:
    rng = np.random.default_rng(7)
    names = [str(one) for one in range(40)]
    covered = 0
    for number in range(20):
        found = ratio_of_medians(rng.exponential(1.0, 40), rng.exponential(2.0, 40), names, seed=number)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert covered >= 16
