"""Rates, F1 and ranking scores against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as golden

from trainer.evaluation.metrics import (
    BinaryCounts,
    Ranking,
    Rate,
    auroc,
    average_precision,
    binary_rate_of_confusion,
    confusion_matrix,
    count_binary,
    f1_of_confusion,
    macro_f1_of_confusion,
    score_classes,
)

CLASSES = ("Normal", "open", "short", "spur")


def labels(seed: int, size: int = 200, kinds: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, kinds, size)
    return true, np.where(rng.random(size) < 0.7, true, rng.integers(0, kinds, size))


def test_the_rates_of_a_table_computed_by_hand() -> None:
    rates = BinaryCounts(tp=45, fn=5, fp=20, tn=130).rates
    assert {key: rate.value for key, rate in rates.items()} == {
        "accuracy": 175 / 200,
        "recall": 45 / 50,
        "miss_rate": 5 / 50,
        "overkill_rate": 20 / 150,
        "false_call_filter_rate": 130 / 150,
        "total_filter_rate": 135 / 200,
        "escape_fraction": 5 / 200,
    }
    assert rates["total_filter_rate"] == Rate(135, 200)


def test_a_rate_over_nothing_is_undefined() -> None:
    good_only = BinaryCounts(tp=0, fn=0, fp=1, tn=9).rates
    assert good_only["recall"].value is None
    assert good_only["miss_rate"].value is None
    assert good_only["overkill_rate"].value == 0.1
    assert all(rate.value is None for rate in BinaryCounts(0, 0, 0, 0).rates.values())


@pytest.mark.parametrize("seed", range(5))
def test_confusion_and_scores_agree_with_scikit_learn(seed: int) -> None:
    true, predicted = labels(seed)
    confusion = confusion_matrix(true, predicted, rows=4, columns=4)
    assert np.array_equal(confusion, golden.confusion_matrix(true, predicted, labels=range(4)))

    scores = score_classes(confusion, CLASSES)
    precision, recall, f1, support = golden.precision_recall_fscore_support(true, predicted, labels=range(4))
    assert [one.precision.value for one in scores.per_class] == pytest.approx(precision)
    assert [one.recall.value for one in scores.per_class] == pytest.approx(recall)
    assert [one.f1 for one in scores.per_class] == pytest.approx(f1)
    assert [one.support for one in scores.per_class] == support.tolist()
    assert scores.macro_f1 == pytest.approx(golden.f1_score(true, predicted, average="macro"))
    assert scores.weighted_f1 == pytest.approx(golden.f1_score(true, predicted, average="weighted"))
    for mean, found in (
        ("macro", (scores.macro_precision, scores.macro_recall)),
        ("weighted", (scores.weighted_precision, scores.accuracy.value)),
    ):
        expected = golden.precision_recall_fscore_support(true, predicted, average=mean)[:2]
        assert found == pytest.approx(expected)
    assert scores.accuracy.value == pytest.approx(golden.accuracy_score(true, predicted))


def test_a_class_that_never_occurs_is_undefined_and_outside_the_mean() -> None:
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    scores = score_classes(confusion_matrix(true, predicted, rows=4, columns=4), CLASSES)
    absent = scores.per_class[2]
    assert (absent.precision.value, absent.recall.value, absent.f1, absent.support) == (None, None, None, 0)
    assert scores.macro_f1 == pytest.approx(
        golden.f1_score(true, predicted, labels=[0, 1], average="macro", zero_division=np.nan)
    )


def test_a_class_that_is_only_predicted_has_f1_zero_but_stays_outside_the_mean() -> None:
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    scores = score_classes(confusion_matrix(true, predicted, rows=4, columns=4), CLASSES)
    assert scores.per_class[2].f1 == 0.0
    assert scores.per_class[2].recall.value is None
    assert scores.macro_f1 == pytest.approx(
        golden.f1_score(true, predicted, labels=[0, 1], average="macro", zero_division=0)
    )


def test_a_class_never_predicted_has_f1_zero_and_undefined_precision() -> None:
    true, predicted = np.array([0, 0, 1]), np.array([0, 0, 0])
    scores = score_classes(confusion_matrix(true, predicted, rows=2, columns=2), CLASSES[:2])
    assert scores.per_class[1].precision.value is None
    assert scores.per_class[1].f1 == 0.0
    assert scores.macro_f1 == pytest.approx(0.4)
    assert (scores.macro_precision, scores.weighted_precision, scores.macro_recall) == (None, None, 0.5)


def test_an_empty_test_set_has_no_scores() -> None:
    scores = score_classes(np.zeros((2, 2), dtype=np.int64), CLASSES[:2])
    assert (scores.macro_f1, scores.weighted_f1, scores.accuracy.value) == (None, None, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_rates_hang_together(pairs: list[tuple[int, int]]) -> None:
    true, predicted = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    counts = count_binary(true != 0, predicted != 0)
    rates = counts.rates
    assert counts.n == len(pairs)
    if rates["recall"].value is not None and rates["miss_rate"].value is not None:
        assert rates["recall"].value + rates["miss_rate"].value == pytest.approx(1.0)
    if rates["overkill_rate"].value is not None and rates["false_call_filter_rate"].value is not None:
        assert rates["overkill_rate"].value + rates["false_call_filter_rate"].value == pytest.approx(1.0)
    assert (rates["escape_fraction"].value or 0.0) <= (rates["total_filter_rate"].value or 0.0)
    confusion = confusion_matrix(true, predicted, rows=4, columns=4)
    for key in ("accuracy", "miss_rate", "overkill_rate"):
        value = float(binary_rate_of_confusion(confusion, key, normal=0))
        assert (None if np.isnan(value) else value) == pytest.approx(rates[key].value)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40), st.permutations(range(4)))
def test_class_order_changes_no_score(pairs: list[tuple[int, int]], order: list[int]) -> None:
    true, predicted = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    renamed = np.array(order)
    before = score_classes(confusion_matrix(true, predicted, rows=4, columns=4), CLASSES)
    after = score_classes(confusion_matrix(renamed[true], renamed[predicted], rows=4, columns=4), CLASSES)
    assert after.macro_f1 == pytest.approx(before.macro_f1)
    assert after.weighted_f1 == pytest.approx(before.weighted_f1)
    assert after.accuracy == before.accuracy


def test_many_confusions_at_once_give_what_each_gives() -> None:
    tables = np.random.default_rng(0).integers(0, 9, (3, 2, 4, 4))
    tables[0, 0, 1, :] = 0
    together = macro_f1_of_confusion(tables)
    assert together.shape == (3, 2)
    assert f1_of_confusion(tables).shape == (3, 2, 4)
    for place in np.ndindex(3, 2):
        assert score_classes(tables[place], CLASSES).macro_f1 == pytest.approx(float(together[place]))


def test_a_rate_that_is_not_resampled_is_refused() -> None:
    with pytest.raises(ValueError, match="escape_fraction"):
        binary_rate_of_confusion(np.ones((2, 2)), "escape_fraction", normal=0)


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
