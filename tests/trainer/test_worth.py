"""How many images it takes follows from the spread of the difference, and from seeds that no image can outdo."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as golden

from sdcore.errors import SettingsError
from trainer.evaluation.metrics import binary_rate_of_confusion
from trainer.evaluation.stats import Resampled, bootstrap_arms
from trainer.evaluation.verdict import images_needed
from trainer.messages import text


def resampled(spread: float, seed_error: float = 0.0) -> Resampled:
    """Two arms whose difference has this standard deviation over draws of images, and this error by seeds."""
    draws = spread * golden.norm.ppf((np.arange(4000) + 0.5) / 4000)
    return Resampled(np.stack([np.zeros(4000), draws]), np.array([0.0, seed_error]), np.zeros((2, 4000)))


def test_the_number_is_the_textbook_one() -> None:
    # Sample size for a mean difference d with standard error s at n0: n0 (s (1.95996 + 0.84162) / d)^2.
    found = images_needed(0.02, resampled(0.01), rows=(0, 1), images=500, seeds=1)
    assert found is not None
    assert found.images_needed == pytest.approx(500 * (0.01 * (1.959964 + 0.841621) / 0.02) ** 2, rel=0.01)
    assert f"about {found.images_needed} test images" in text(found.sentence)
    assert "there are 500" in text(found.sentence)


def test_half_the_difference_takes_four_times_the_images() -> None:
    large, small = (images_needed(worth, resampled(0.02), rows=(0, 1), images=400, seeds=1) for worth in (0.1, 0.05))
    assert large is not None
    assert small is not None
    assert small.images_needed == pytest.approx(4 * (large.images_needed or 0), rel=0.02)


def test_seeds_that_differ_too_much_cannot_be_outdone_by_images() -> None:
    found = images_needed(0.02, resampled(0.01, seed_error=0.01), rows=(0, 1), images=500, seeds=3)
    assert found is not None
    assert found.images_needed is None
    # Seed variance falls as 1 / seeds; it must come below (0.02 / 2.8016)^2.
    assert found.seeds_needed == int(3 * 0.01**2 / (0.02 / 2.801585) ** 2) + 1
    assert "no number of test images is enough with 3 seeds" in text(found.sentence)


def test_so_many_images_do_see_the_difference_four_times_in_five() -> None:
    rng = np.random.default_rng(4)
    gain, size = 0.05, 5000  # many, so that the spread is known well

    def tables(images: int, first: float) -> list[np.ndarray]:
        luck = rng.random(images)
        both = np.stack([luck < first, np.where(rng.random(images) < 0.1, rng.random(images) < first, luck < first)])
        both[1] |= (rng.random(images) < gain / (1 - first)) & ~both[1]
        made = np.zeros((2, 1, images, 2, 2))
        made[:, 0, :, 0, 0], made[:, 0, :, 0, 1] = both, ~both
        return list(made)

    def accuracy(table: np.ndarray) -> np.ndarray:
        return binary_rate_of_confusion(table, "accuracy", normal=0)

    found = images_needed(
        gain, bootstrap_arms(tables(size, 0.8), {"a": accuracy})["a"], rows=(0, 1), images=size, seeds=1
    )
    assert found is not None
    assert found.images_needed is not None
    seen = 0
    for trial in range(200):
        draws = bootstrap_arms(tables(found.images_needed, 0.8), {"a": accuracy}, resamples=200, seed=trial)["a"]
        apart = draws.values[1] - draws.values[0]
        seen += bool(np.percentile(apart, 2.5) > 0)
    assert 0.7 <= seen / 200 <= 0.9


@pytest.mark.parametrize("worth", [0.0, 1.0, -0.1, float("nan")])
def test_a_difference_out_of_range_is_refused(worth: float) -> None:
    with pytest.raises(SettingsError, match="expected a difference between 0 and 1"):
        images_needed(worth, resampled(0.01), rows=(0, 1), images=10, seeds=1)


def test_nothing_is_said_of_an_undefined_figure() -> None:
    empty = Resampled(np.full((2, 5), np.nan), np.zeros(2), np.zeros((2, 5)))
    assert images_needed(0.1, empty, rows=(0, 1), images=10, seeds=1) is None
