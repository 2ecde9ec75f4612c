from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from trainer.evaluation.metrics import FloatArray
from trainer.experiment.separability import _weighted_auroc, describe_texture, fit_logistic, separability
from trainer.messages import text


def made_up(shift: float, *, seed: int = 0, sources: int = 60) -> tuple[FloatArray, list[bool], list[str], list[str]]:
    """Real and generated images of two classes, two generated ones a source."""
    rng = np.random.default_rng(seed)
    rows, generated, labels, names = [], [], [], []
    for number in range(sources):
        own = rng.normal(0, 1, 3)
        for kind in (False, True, True):
            rows.append(own + rng.normal(0, 0.3, 3) + [shift * kind, 0, 0])
            generated.append(kind)
            labels.append("a" if number % 2 else "b")
            names.append(f"source {number}")
    return np.array(rows), generated, labels, names


def test_images_that_look_alike_are_not_told_apart() -> None:
    found = [separability(*made_up(0.0, seed=seed)) for seed in range(5)]
    areas = [one.auroc for one in found if one.auroc is not None]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.06)
    for one in found:
        assert one.interval is not None
        assert one.auroc is not None
        assert one.interval.low < one.auroc < one.interval.high
        assert (one.real, one.generated) == (60, 120)


def test_images_that_differ_are_told_apart() -> None:
    found = separability(*made_up(6.0))
    assert found.auroc == pytest.approx(1.0, abs=0.01)
    assert [(one.name, one.real, one.generated) for one in found.per_class] == [("a", 30, 60), ("b", 30, 60)]


def test_another_mix_of_classes_is_not_another_look() -> None:
    """All generated images are of one class that looks its own way, as defects do."""
    rng = np.random.default_rng(1)
    labels = ["Normal"] * 100 + ["spur"] * 60
    generated = [False] * 100 + [False] * 20 + [True] * 40
    features = rng.normal(0, 1, (160, 2)) + [[5.0 * (label == "spur"), 0] for label in labels]
    found = separability(features, generated, labels, [str(n) for n in range(160)])
    assert found.auroc is not None
    assert 0.3 < found.auroc < 0.7
    assert [one.name for one in found.per_class] == ["spur"]


def test_one_source_is_not_on_both_sides() -> None:
    """Images that only bear their source's mark would be known again if siblings were fitted to."""
    rng = np.random.default_rng(2)
    rows, generated, names = [], [], []
    for number in range(40):
        mark = rng.normal(0, 1, 60)
        for _ in range(4):
            rows.append(mark)
            generated.append(number % 2 == 0)
            names.append(f"s{number}")
    found = separability(np.array(rows), generated, ["a"] * 160, names)
    assert found.auroc is not None
    assert found.auroc < 0.75


@pytest.mark.parametrize(
    ("kinds", "sources", "words"),
    [
        ([False] * 20 + [True] * 4, 24, "no class has 5 real and 5 generated images"),
        ([False] * 20 + [True] * 20, 9, "9 source images; fewer than 10"),
        ([], 1, "no class has"),
    ],
)
def test_too_few_images_are_said(kinds: list[bool], sources: int, words: str) -> None:
    count = len(kinds)
    found = separability(np.zeros((count, 2)), kinds, ["a"] * count, [str(n % sources) for n in range(count)])
    assert found.auroc is None
    assert found.reason is not None
    assert words in text(found.reason)


def test_the_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(0, 1, (80, 4))
    positive = rng.random(80) < 1 / (1 + np.exp(-features[:, 0]))
    weights = rng.uniform(0.2, 2.0, 80)
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, positive, sample_weight=weights)
    expected = np.concatenate([peer.intercept_, peer.coef_[0]])
    np.testing.assert_allclose(fit_logistic(features, positive, weights), expected, atol=1e-4)


def test_the_weighted_auroc_is_that_of_scikit_learn_ties_too() -> None:
    rng = np.random.default_rng(4)
    score = rng.integers(0, 6, 50).astype(float)
    positive = rng.random(50) < 0.4
    weights = rng.integers(0, 4, 50).astype(float)
    area, pairs = _weighted_auroc(score, positive, weights)
    assert area == pytest.approx(roc_auc_score(positive, score, sample_weight=weights))
    assert pairs == weights[positive].sum() * weights[~positive].sum()
    assert np.isnan(_weighted_auroc(score, np.ones(50, dtype=bool), weights)[0])


def test_texture_is_finite_even_of_a_flat_image_and_sees_blur() -> None:
    flat = describe_texture(np.full((3, 32, 32), 255, np.uint8))
    assert flat.shape == (25,)
    assert np.isfinite(flat).all()
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    blurred = (noise // 2 + np.roll(noise, 1, axis=2) // 2).astype(np.uint8)
    sharp, soft = describe_texture(noise), describe_texture(blurred)
    assert soft[11] < sharp[11]  # the highest ring of frequencies
