from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as golden

from trainer.evaluation.metrics import Ranking, auroc, average_precision


def tied_scores(levels: int, size: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(levels)
    positive = rng.random(size) < 0.3
    return np.floor((rng.random(size) + 0.3 * positive) * levels) / levels, positive


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_both_agree_with_scikit_learn_ties_included(levels: int) -> None:
    score, positive = tied_scores(levels)
    assert auroc(score, positive) == pytest.approx(golden.roc_auc_score(positive, score))
    assert average_precision(score, positive) == pytest.approx(golden.average_precision_score(positive, score))


@pytest.mark.parametrize("levels", [3, 1000])
def test_weightings_agree_with_scikit_learn_and_with_repeated_images(levels: int) -> None:
    score, positive = tied_scores(levels, size=60)
    weights = np.random.default_rng(1).integers(0, 4, (5, 60)).astype(float)
    found = Ranking(score, positive).judge(weights)
    for row, area, average in zip(weights, found.auroc, found.average_precision, strict=True):
        kept = row > 0
        assert area == pytest.approx(golden.roc_auc_score(positive[kept], score[kept], sample_weight=row[kept]))
        assert average == pytest.approx(
            golden.average_precision_score(positive[kept], score[kept], sample_weight=row[kept])
        )
        repeated = np.repeat(np.arange(60), row.astype(int))
        assert area == pytest.approx(auroc(score[repeated], positive[repeated]))
        assert average == pytest.approx(average_precision(score[repeated], positive[repeated]))


def test_figures_of_a_table_computed_by_hand() -> None:
    # From the top: hit, false, hit, false. Precision at the hits is 1 and 2/3; 3 of 4 pairs are in order.
    score, positive = np.array([0.9, 0.8, 0.4, 0.1]), np.array([True, False, True, False])
    assert auroc(score, positive) == 0.75
    assert average_precision(score, positive) == pytest.approx((1 + 2 / 3) / 2)


def test_equal_scores_tell_nothing_and_one_kind_alone_is_undefined() -> None:
    positive = np.array([True, False, False] * 3)
    assert auroc(np.full(9, 0.3), positive) == 0.5
    assert average_precision(np.full(9, 0.3), positive) == pytest.approx(1 / 3)
    for score, one_kind in ((np.array([0.1, 0.2]), [True, True]), (np.array([0.1]), [False]), (np.array([]), [])):
        assert auroc(score, np.array(one_kind, dtype=bool)) is None
        assert average_precision(score, np.array(one_kind, dtype=bool)) is None


def test_a_weighting_without_one_kind_is_undefined_alone() -> None:
    found = Ranking(np.array([0.9, 0.1]), np.array([True, False])).judge(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]]))
    assert found.auroc[0] == found.average_precision[0] == 1.0
    assert np.isnan(found.auroc[1:]).all()
    assert np.isnan(found.average_precision[1:]).all()


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="a score is NaN"):
        auroc(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="expected one of each an image"):
        auroc(np.array([0.1]), np.array([True, False]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_only_the_order_of_scores_counts(pairs: list[tuple[int, bool]]) -> None:
    score, positive = np.array([float(one) for one, _ in pairs]), np.array([one for _, one in pairs])
    area, average = auroc(score, positive), average_precision(score, positive)
    assert auroc(np.exp(score), positive) == area
    assert average_precision(np.exp(score), positive) == average
    if area is not None and average is not None:
        assert auroc(-score, positive) == pytest.approx(1.0 - area)
        assert 0.0 < average <= 1.0 + 1e-12
