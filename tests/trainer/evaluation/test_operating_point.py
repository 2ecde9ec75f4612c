"""Operating points: the promise, its range, and the rates on test images."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats as golden_stats
from sklearn import metrics as golden

from sdcore.errors import SettingsError
from trainer.errors import TooFewDefects
from trainer.evaluation.operating_point import (
    OperatingPoint,
    choose_threshold,
    defects_needed,
    evaluate_at,
    least_promise,
    miss_overkill_curve,
    operating_point,
    probability_of_misses,
    promise_range,
    threshold_report_as_json,
)
from trainer.messages import text
from trainer.models.decision_threshold import DecisionThreshold
from trainer.models.predictions import Predictions, make_predictions


def choose(scores: list[float], max_miss_rate: float) -> OperatingPoint:
    return operating_point(np.array(scores), np.ones(len(scores), dtype=bool), max_miss_rate=max_miss_rate)


def test_the_cut_is_the_kth_smallest_score_of_the_defects() -> None:
    scores, bad = np.array([0.9, 0.05, 0.3, 0.7, 0.2, 0.01]), np.array([1, 0, 1, 1, 1, 0], dtype=bool)
    found = operating_point(scores, bad, max_miss_rate=0.4)
    assert found == OperatingPoint(cut=0.3, k=2, n_defects=4, max_miss_rate=0.4)
    assert found.promised_miss_rate == 0.4


@pytest.mark.parametrize("percent", range(1, 100))
def test_k_is_counted_with_the_number_as_it_is_written(percent: int) -> None:
    # In floating point 0.29 * 100 is 28.999999999999996.
    found = choose(np.linspace(0, 1, 99).tolist(), percent / 100)
    assert (found.k, found.promised_miss_rate) == (percent, percent / 100)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=25), st.integers(1, 99))
def test_a_new_defect_is_missed_no_more_than_promised_whatever_the_scores(levels: list[int], percent: int) -> None:
    # Exchangeable: each of the n + 1 is as likely to be the new one. So leave out each in turn, and count exactly.
    scores, promise = [float(one) for one in levels], Fraction(percent, 100)
    n = len(scores) - 1
    if promise * (n + 1) < 1:
        with pytest.raises(TooFewDefects):
            choose(scores[1:], percent / 100)
        return
    missed = sum(
        new < choose(scores[:place] + scores[place + 1 :], percent / 100).cut for place, new in enumerate(scores)
    )
    assert Fraction(missed, n + 1) <= promise


def test_without_ties_the_promise_is_used_up() -> None:
    scores = np.random.default_rng(0).permutation(100).astype(float).tolist()
    cuts = [choose(scores[:place] + scores[place + 1 :], 0.07).cut for place in range(100)]
    assert sum(new < cut for new, cut in zip(scores, cuts, strict=True)) == 7


@pytest.mark.parametrize(("n", "promise"), [(99, 0.01), (150, 0.01), (60, 0.05)])
def test_simulated_misses_keep_the_promise_where_an_interpolated_quantile_breaks_it(n: int, promise: float) -> None:
    rng = np.random.default_rng(n)
    old, new = rng.beta(4, 1, (20_000, n)), rng.beta(4, 1, 20_000)
    cuts = np.array([choose(row.tolist(), promise).cut for row in old[:3000]])
    # The miss rate of a cut under this distribution is known: its distribution function, cut ** 4.
    expected = (cuts**4).mean()
    k = int(promise * (n + 1) + 1e-9)
    assert expected == pytest.approx(k / (n + 1), rel=0.06)
    assert (new[:3000] < cuts).mean() <= promise + 3 * np.sqrt(promise / 3000)
    interpolated = np.quantile(old, promise, axis=1)
    assert (interpolated**4).mean() > promise * 1.02


def test_tied_scores_at_the_cut_are_all_defective() -> None:
    scores = [0.0] * 3 + [0.5] * 97
    found = choose(scores, 0.05)
    assert found.cut == 0.5
    assert sum(one < found.cut for one in scores) == 3
    assert choose([0.5] * 99, 0.9).cut == 0.5


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (98, "a miss rate of 1 % cannot be promised from 98 defects: that takes 99 or more.*--max-miss-rate 0.0102"),
        (60, r"the least that 60 can promise is 1.64 % \(1 in 61\), so ask for --max-miss-rate 0.0164"),
        (1, r"from 1 defect: .*50 % \(1 in 2\), so ask for --max-miss-rate 0.5"),
        (0, "cannot be promised from 0 defects: that takes 99 or more in validation; add some"),
    ],
)
def test_too_few_defects_are_told_what_they_can_promise(n: int, words: str) -> None:
    with pytest.raises(TooFewDefects, match=words):
        choose([0.5] * n, 0.01)
    assert choose([0.5] * 99, 0.01).k == 1


@given(st.integers(1, 5000))
def test_the_least_promise_can_be_kept_and_is_hardly_more_than_it_must_be(n: int) -> None:
    least = least_promise(n)
    assert least is not None
    assert choose([0.5] * n, least).k == 1
    assert least <= 1.01 / (n + 1)
    assert defects_needed(least) <= n


def test_promises_that_take_their_number_of_defects() -> None:
    assert [defects_needed(one) for one in (0.01, 0.05, 0.3, 0.5, 0.001)] == [99, 19, 3, 1, 999]
    assert least_promise(0) is None


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(SettingsError, match="expected a number between 0 and 1"):
        choose([0.5] * 10, rate)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        choose([0.5, float("nan")], 0.5)


@pytest.mark.parametrize("levels", [3, 10_000])
def test_the_curve_agrees_with_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(levels)
    bad = rng.random(200) < 0.4
    score = np.floor((rng.random(200) + 0.4 * bad) * levels) / levels
    found = miss_overkill_curve(score, bad)
    false, hit, cuts = golden.roc_curve(bad, score, drop_intermediate=False)
    assert found.cuts == pytest.approx(cuts[::-1])
    assert found.overkill_rate == pytest.approx(false[::-1])
    assert found.miss_rate == pytest.approx(1 - hit[::-1])
    false_positive, false_negative, thresholds = golden.det_curve(bad, score)
    place = {cut: at for at, cut in enumerate(found.cuts.tolist())}
    rows = [place[cut] for cut in thresholds.tolist()]
    assert found.overkill_rate[rows] == pytest.approx(false_positive)
    assert found.miss_rate[rows] == pytest.approx(false_negative)


def test_a_curve_of_one_kind_alone_is_undefined_on_the_other_axis() -> None:
    found = miss_overkill_curve(np.array([0.1, 0.2]), np.array([True, True]))
    assert found.miss_rate.tolist() == [0.0, 0.5, 1.0]
    assert np.isnan(found.overkill_rate).all()
    assert np.isnan(miss_overkill_curve(np.array([0.1]), np.array([False])).miss_rate).all()
    assert miss_overkill_curve(np.array([]), np.array([], dtype=bool)).cuts.tolist() == [np.inf]


@pytest.mark.parametrize(("n", "k"), [(99, 1), (340, 3)])
def test_the_range_of_the_promise_is_that_of_simulated_validation_sets(n: int, k: int) -> None:
    cuts = np.sort(np.random.default_rng(n).random((20_000, n)), axis=1)[:, k - 1]
    found = promise_range(k, n)
    assert (cuts < found.low).mean() == pytest.approx(0.025, abs=0.005)
    assert (cuts > found.high).mean() == pytest.approx(0.025, abs=0.005)


def test_the_chance_of_misses_is_that_of_simulated_tests() -> None:
    rng = np.random.default_rng(4)
    cuts = np.sort(rng.random((20_000, 60)), axis=1)[:, 2]
    misses = rng.binomial(100, cuts)
    for count in (0, 5, 12):
        assert probability_of_misses(count, 100, k=3, n_defects=60) == pytest.approx((misses >= count).mean(), abs=0.01)


CLASSES = ("Normal", "open", "short")


def drawn(seed: int, size: int = 600, skill: float = 2.0, label: str = "") -> Predictions:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, size)
    logits = rng.normal(size=(size, 3))
    logits[np.arange(size), true] += skill
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = [CLASSES[k] if k == 0 or not label else label for k in true]
    return make_predictions([f"{n}.png" for n in range(size)], names, CLASSES, table)


def test_figures_at_the_cut_agree_with_an_independent_count() -> None:
    validation, test = drawn(1), drawn(2)
    at_cut = evaluate_at(choose_threshold(validation, max_miss_rate=0.05), test, validation)
    document = threshold_report_as_json(at_cut)

    known = np.sort(1 - validation.probabilities[np.array(validation.labels) != "Normal", 0])
    assert document["n_defects"] == len(known)
    assert document["k"] == int(0.05 * (len(known) + 1))
    assert document["cut"] == known[document["k"] - 1]
    assert document["promised_miss_rate"] == document["k"] / (len(known) + 1)
    bad, score = np.array(test.labels) != "Normal", 1 - test.probabilities[:, 0]
    tn, fp, fn, tp = golden.confusion_matrix(bad, score >= document["cut"]).ravel().tolist()
    assert document["counts"] == {"tp": tp, "fn": fn, "fp": fp, "tn": tn}
    for key, count, of in (
        ("miss_rate", fn, fn + tp),
        ("overkill_rate", fp, fp + tn),
        ("false_call_filter_rate", tn, fp + tn),
        ("total_filter_rate", tn + fn, len(bad)),
        ("escape_fraction", fn, len(bad)),
    ):
        bounds = golden_stats.binomtest(count, of).proportion_ci(method="exact")
        assert document[key] == pytest.approx(
            {"value": count / of, "count": count, "of": of, "low": bounds.low, "high": bounds.high}
        )
    assert document["validation"]["miss_rate"]["count"] == document["k"] - 1
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_curve_passes_through_the_cut_and_ends_where_everything_passes() -> None:
    validation, test = drawn(1), drawn(2)
    document = threshold_report_as_json(evaluate_at(choose_threshold(validation, max_miss_rate=0.05), test, validation))
    curve = document["curve"]["validation"]
    place = curve["cut"].index(document["cut"])
    assert curve["miss_rate"][place] == document["validation"]["miss_rate"]["value"]
    assert curve["overkill_rate"][place] == pytest.approx(document["validation"]["overkill_rate"]["value"])
    for one in document["curve"].values():
        assert (one["miss_rate"][0], one["overkill_rate"][0]) == (0.0, 1.0)
        assert (one["cut"][-1], one["miss_rate"][-1], one["overkill_rate"][-1]) == (None, 1.0, 0.0)


def test_the_cut_is_never_moved_by_test_images() -> None:
    validation = drawn(1)
    point = choose_threshold(validation, max_miss_rate=0.05)
    assert evaluate_at(point, drawn(2), validation).point == evaluate_at(point, drawn(3, skill=0.1), validation).point


def test_labels_that_say_only_abnormal_are_enough() -> None:
    named, unnamed = drawn(1), drawn(1, label="Abnormal")
    assert choose_threshold(named, max_miss_rate=0.05) == choose_threshold(unnamed, max_miss_rate=0.05)
    point = choose_threshold(unnamed, max_miss_rate=0.05)
    assert evaluate_at(point, named).test.binary == evaluate_at(point, unnamed).test.binary


def test_too_few_defects_are_refused() -> None:
    with pytest.raises(TooFewDefects, match="cannot be promised from"):
        choose_threshold(drawn(1, size=60), max_miss_rate=0.01)


def test_defects_in_groups_are_said_to_be_fewer_than_they_look() -> None:
    validation = drawn(1)
    grouped = replace(validation, groups=tuple(f"board {n // 20}" for n in range(600)))
    at_cut = evaluate_at(choose_threshold(grouped, max_miss_rate=0.05), drawn(2), grouped)
    defects = sum(name != "Normal" for name in validation.labels)
    assert len(at_cut.notes) == 1
    assert f"the {defects} validation defects come from 30 groups" in text(at_cut.notes[0])
    assert "no miss rate under 3.23 % (1 in 31)" in text(at_cut.notes[0])
    assert evaluate_at(choose_threshold(validation, max_miss_rate=0.05), drawn(2), validation).notes == ()


def test_groups_of_test_images_widen_the_intervals() -> None:
    validation, test = drawn(1), drawn(2)
    point = choose_threshold(validation, max_miss_rate=0.05)
    order = sorted(range(600), key=lambda n: test.probabilities[n, 0])
    boards = [""] * 600
    for place, n in enumerate(order):
        boards[n] = f"board {place // 20}"
    alone, alike = (
        evaluate_at(point, one).test.intervals["miss_rate"] for one in (test, replace(test, groups=(*boards,)))
    )
    assert alone is not None
    assert alike is not None
    assert alike.high - alike.low > alone.high - alone.low


def test_test_defects_unlike_those_of_validation_are_called_out() -> None:
    validation = drawn(1)
    point = choose_threshold(validation, max_miss_rate=0.05)
    notes = evaluate_at(point, drawn(2, skill=0.0), validation).notes
    assert len(notes) == 1
    assert "they are not alike, and the promise does not hold" in text(notes[0])
    assert evaluate_at(point, drawn(2), validation).notes == ()


def test_a_cut_that_filters_nothing_says_so() -> None:
    table = [[1.0, 0.0, 0.0]] * 2 + [[0.0, 1.0, 0.0]] * 8
    certain = make_predictions([str(n) for n in range(10)], ["open"] * 9 + ["Normal"], CLASSES, table)
    at_cut = evaluate_at(choose_threshold(certain, max_miss_rate=0.2), certain)
    assert at_cut.point.cut == 0.0
    assert (at_cut.test.binary.fn, at_cut.test.binary.tn) == (0, 0)
    assert "every image is called defective" in text(at_cut.notes[0])


def test_a_point_of_other_classes_or_another_normal_is_refused() -> None:
    with pytest.raises(SettingsError, match="calls 'good' normal, but the classes are Normal, open, short"):
        evaluate_at(DecisionThreshold("good", 0.5), drawn(1))
    with pytest.raises(SettingsError, match="calls 'open' normal, but --normal is 'Normal'"):
        evaluate_at(DecisionThreshold("open", 0.5), drawn(1))


def test_a_cut_from_elsewhere_promises_nothing_but_is_applied() -> None:
    at_cut = evaluate_at(DecisionThreshold("Normal", 0.5), drawn(1))
    assert (at_cut.promised_miss_rate, at_cut.promise_range, at_cut.validation) == (None, None, None)
    assert at_cut.test.binary.n == 600
    assert threshold_report_as_json(at_cut)["curve"]["validation"] is None
