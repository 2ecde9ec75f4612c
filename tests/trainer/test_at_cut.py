from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as golden_stats
from sklearn import metrics as golden

from sdcore.errors import SettingsError
from trainer.errors import TooFewDefects
from trainer.evaluation.operating_point import at_cut_as_json, choose_threshold, evaluate_at
from trainer.messages import text
from trainer.models.decision_threshold import DecisionThreshold
from trainer.models.predictions import Predictions, make_predictions

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
    document = at_cut_as_json(at_cut)

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
    document = at_cut_as_json(evaluate_at(choose_threshold(validation, max_miss_rate=0.05), test, validation))
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
    assert at_cut_as_json(at_cut)["curve"]["validation"] is None
