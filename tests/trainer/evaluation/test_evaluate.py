"""Evaluation of predictions: rates, scores, warnings and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import special as golden_special, stats as golden_stats
from sklearn import metrics as golden

from trainer.errors import EvaluationError
from trainer.evaluation.evaluate import evaluate, evaluation_as_json
from trainer.messages import text
from trainer.models.predictions import Predictions, make_predictions, read_predictions, write_predictions

CLASSES = ("Normal", "open", "short")
RATES = (
    "accuracy",
    "recall",
    "miss_rate",
    "overkill_rate",
    "false_call_filter_rate",
    "total_filter_rate",
    "escape_fraction",
)


def predicted_as(pairs: list[tuple[str, str]], classes: tuple[str, ...] = CLASSES) -> Predictions:
    """(label, predicted) -> predictions sure of themselves."""
    table = [[0.8 if name == said else 0.2 / (len(classes) - 1) for name in classes] for _, said in pairs]
    names = [f"{n}.png" for n in range(len(pairs))]
    return make_predictions(names, [label for label, _ in pairs], classes, table)


def random_predictions(seed: int, size: int = 150) -> Predictions:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, size)
    logits = rng.normal(size=(size, 3))
    logits[np.arange(size), true] += 1.5
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return make_predictions([f"{n}.png" for n in range(size)], [CLASSES[k] for k in true], CLASSES, table)


@pytest.mark.parametrize("seed", range(4))
def test_every_figure_agrees_with_scikit_learn_and_scipy(seed: int) -> None:
    predictions = random_predictions(seed)
    document = evaluation_as_json(evaluate(predictions))

    bad = np.array(predictions.labels) != "Normal"
    judged = np.array(predictions.predicted) != "Normal"
    tn, fp, fn, tp = golden.confusion_matrix(bad, judged).ravel().tolist()
    n = len(bad)
    expected = {
        "accuracy": (tp + tn, n),
        "recall": (tp, tp + fn),
        "miss_rate": (fn, tp + fn),
        "overkill_rate": (fp, fp + tn),
        "false_call_filter_rate": (tn, tn + fp),
        "total_filter_rate": (tn + fn, n),
        "escape_fraction": (fn, n),
    }
    for key, (count, of) in expected.items():
        bounds = golden_stats.binomtest(count, of).proportion_ci(method="exact")
        assert document[key]["count"] == count
        assert document[key]["of"] == of
        assert document[key]["value"] == pytest.approx(count / of)
        assert (document[key]["low"], document[key]["high"]) == pytest.approx((bounds.low, bounds.high))
    assert document["recall"]["value"] == pytest.approx(golden.recall_score(bad, judged))
    score = 1 - predictions.probabilities[:, 0]
    assert document["auroc"] == pytest.approx(golden.roc_auc_score(bad, score))
    assert document["average_precision"] == pytest.approx(golden.average_precision_score(bad, score))
    multiclass = document["multiclass"]
    report = golden.classification_report(predictions.labels, predictions.predicted, output_dict=True)
    for name in CLASSES:
        assert multiclass["per_class"][name]["precision"]["value"] == pytest.approx(report[name]["precision"])
        assert multiclass["per_class"][name]["recall"]["value"] == pytest.approx(report[name]["recall"])
        assert multiclass["per_class"][name]["f1"] == pytest.approx(report[name]["f1-score"])
        assert multiclass["per_class"][name]["support"] == report[name]["support"]
    assert multiclass["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert multiclass["weighted_f1"] == pytest.approx(report["weighted avg"]["f1-score"])
    assert multiclass["accuracy"]["value"] == pytest.approx(report["accuracy"])
    assert (
        multiclass["confusion"]
        == golden.confusion_matrix(predictions.labels, predictions.predicted, labels=CLASSES).tolist()
    )


def in_boards(predictions: Predictions, size: int) -> Predictions:
    return replace(predictions, groups=tuple(f"board {n // size}" for n in range(len(predictions.images))))


@pytest.mark.parametrize("size", [1, 3])
def test_intervals_of_means_and_rankings_agree_with_resampled_scikit_learn(size: int) -> None:
    predictions = in_boards(random_predictions(5, 90), size)
    document = evaluation_as_json(evaluate(predictions))
    labels, said = np.array(predictions.labels), np.array(predictions.predicted)
    score = 1 - predictions.probabilities[:, 0]
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(200):
        boards = rng.integers(0, 90 // size, 90 // size)
        rows = (boards[:, None] * size + np.arange(size)).ravel()
        bad = labels[rows] != "Normal"
        drawn.append(
            (
                golden.roc_auc_score(bad, score[rows]),
                golden.average_precision_score(bad, score[rows]),
                golden.f1_score(labels[rows], said[rows], average="macro"),
                golden.f1_score(labels[rows], said[rows], average="weighted"),
                golden.precision_score(labels[rows], said[rows], average="macro"),
                golden.recall_score(labels[rows], said[rows], average="macro"),
                golden.precision_score(labels[rows], said[rows], average="weighted"),
            )
        )
    bad = labels != "Normal"
    values = np.array(
        [
            golden.roc_auc_score(bad, score),
            golden.average_precision_score(bad, score),
            golden.f1_score(labels, said, average="macro"),
            golden.f1_score(labels, said, average="weighted"),
            golden.precision_score(labels, said, average="macro"),
            golden.recall_score(labels, said, average="macro"),
            golden.precision_score(labels, said, average="weighted"),
        ]
    )
    reach = golden_stats.t.ppf(0.975, 90 // size - 1) * np.std(drawn, axis=0, ddof=1) / (values * (1 - values))
    low, high = (golden_special.expit(golden_special.logit(values) + sign * reach) for sign in (-1, 1))
    found = [
        document["auroc_interval"],
        document["average_precision_interval"],
        document["multiclass"]["macro_f1_interval"],
        document["multiclass"]["weighted_f1_interval"],
        document["multiclass"]["macro_precision_interval"],
        document["multiclass"]["macro_recall_interval"],
        document["multiclass"]["weighted_precision_interval"],
    ]
    assert [one["low"] for one in found] == pytest.approx(low.tolist(), abs=0.02)
    assert [one["high"] for one in found] == pytest.approx(high.tolist(), abs=0.02)


def test_every_figure_lies_in_its_interval_and_the_method_is_named() -> None:
    for predictions in (random_predictions(2), in_boards(random_predictions(2), 5)):
        document = evaluation_as_json(evaluate(predictions))
        multiclass = document["multiclass"]
        shares = [document[key] for key in (*RATES, "named_wrong")] + [multiclass["accuracy"]]
        for one in multiclass["per_class"].values():
            shares += [one["precision"], one["recall"], {"value": one["f1"], **one["f1_interval"]}]
        for key, where in (("auroc", document), ("average_precision", document), ("macro_f1", multiclass)):
            shares.append({"value": where[key], **where[f"{key}_interval"]})
        assert all(0.0 <= one["low"] < one["value"] < one["high"] <= 1.0 for one in shares)
    assert document["groups"] == 30
    assert "effective number" in document["interval_method"]["rates"]
    assert document["interval_method"]["scores"] == "bootstrap of groups, its standard error on the logit scale"


def test_boards_whose_images_are_alike_widen_the_intervals_of_rates() -> None:
    pairs = [("open", "Normal" if n < 20 else "open") for n in range(60)] + [("Normal", "Normal")] * 60
    alone = evaluation_as_json(evaluate(predicted_as(pairs)))
    boards = evaluation_as_json(evaluate(in_boards(predicted_as(pairs), 10)))
    assert alone["miss_rate"]["value"] == boards["miss_rate"]["value"]
    assert boards["miss_rate"]["low"] < alone["miss_rate"]["low"]
    assert boards["miss_rate"]["high"] > alone["miss_rate"]["high"]
    assert alone["groups"] is None


def test_a_group_an_image_says_no_more_than_no_group() -> None:
    predictions = random_predictions(3)
    assert evaluation_as_json(evaluate(in_boards(predictions, 1))) == evaluation_as_json(evaluate(predictions))


def test_f1_has_the_interval_of_the_share_it_is_made_of() -> None:
    # open: 6 right, 2 under another name, 1 wrongly called open. J = 6/9, F1 = 12/15.
    pairs = [("open", "open")] * 6 + [("open", "short")] * 2 + [("Normal", "open"), ("Normal", "Normal")]
    one = evaluation_as_json(evaluate(predicted_as(pairs)))["multiclass"]["per_class"]["open"]
    share = golden_stats.binomtest(6, 9).proportion_ci(method="exact")
    assert one["f1"] == pytest.approx(12 / 15)
    assert one["f1_interval"]["low"] == pytest.approx(2 * share.low / (1 + share.low))
    assert one["f1_interval"]["high"] == pytest.approx(2 * share.high / (1 + share.high))


def test_no_error_at_all_is_no_certainty() -> None:
    document = evaluation_as_json(evaluate(predicted_as([(name, name) for name in CLASSES for _ in range(20)])))
    assert document["miss_rate"]["value"] == 0.0
    assert document["miss_rate"]["high"] == pytest.approx(1 - 0.025 ** (1 / 40))
    # Each class by itself at 1 - 0.05 / 3, and the mean of the three.
    share = (0.05 / 3 / 2) ** (1 / 20)
    for key in ("macro_f1", "weighted_f1"):
        assert document["multiclass"][key] == 1.0
        assert document["multiclass"][f"{key}_interval"]["low"] == pytest.approx(2 * share / (1 + share))
        assert document["multiclass"][f"{key}_interval"]["high"] == 1.0
    for key in ("macro_precision", "macro_recall", "weighted_precision"):
        assert document["multiclass"][key] == 1.0
        assert document["multiclass"][f"{key}_interval"] == pytest.approx({"low": share, "high": 1.0})
    assert document["auroc"] == document["average_precision"] == 1.0
    assert document["auroc_interval"]["low"] == pytest.approx(0.025 ** (1 / 20))
    assert document["average_precision_interval"] == {"low": None, "high": None}


def test_a_wrong_defect_name_is_no_miss_and_is_counted_apart() -> None:
    evaluation = evaluate(
        predicted_as([("open", "short"), ("open", "open"), ("short", "Normal"), ("Normal", "Normal")])
    )
    assert (evaluation.binary.tp, evaluation.binary.fn) == (2, 1)
    assert evaluation.named_wrong is not None
    assert (evaluation.named_wrong.count, evaluation.named_wrong.of) == (1, 3)


def test_labels_that_say_only_abnormal_leave_names_undefined_and_say_so() -> None:
    evaluation = evaluate(
        predicted_as([("Abnormal", "short"), ("Abnormal", "Normal"), ("Normal", "Normal"), ("Normal", "open")])
    )
    assert (evaluation.binary.tp, evaluation.binary.fn, evaluation.binary.fp, evaluation.binary.tn) == (1, 1, 1, 1)
    document = evaluation_as_json(evaluation)
    assert document["multiclass"] is None
    assert document["multiclass_reason"] == "2 of 4 labels say only 'Abnormal', not which defect"
    assert document["named_wrong"] is None


def test_a_model_trained_on_normal_and_abnormal_is_judged_on_both() -> None:
    evaluation = evaluate(
        predicted_as([("Abnormal", "Abnormal"), ("Normal", "Abnormal")], classes=("Abnormal", "Normal"))
    )
    assert evaluation.multiclass is not None
    assert evaluation.binary.tp == 1
    assert evaluation.binary.fp == 1


def test_other_words_for_normal_and_abnormal() -> None:
    predictions = predicted_as([("NG", "短路"), ("良品", "良品")], classes=("良品", "短路"))
    evaluation = evaluate(predictions, normal="良品", abnormal="NG")
    assert (evaluation.binary.tp, evaluation.binary.tn) == (1, 1)


def test_a_label_that_is_neither_is_one_clear_error() -> None:
    with pytest.raises(
        EvaluationError, match=r"image '1.png' has the label 'scratch'.*Normal, open, short.*'Abnormal'"
    ):
        evaluate(predicted_as([("open", "open"), ("scratch", "open")]))


def test_the_error_names_the_line_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, ["a.png", "b.png"], ["open", "scratch"], CLASSES, [[0, 1, 0], [0, 1, 0]])
    with pytest.raises(EvaluationError, match=r"predictions\.csv, line 3: image 'b\.png' has the label 'scratch'"):
        evaluate(read_predictions(path))


def test_a_normal_class_that_was_not_trained_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"'good' is not among the trained classes Normal, open, short.*--normal"):
        evaluate(predicted_as([("open", "open")]), normal="good")


def test_missing_labels_are_refused_in_words() -> None:
    with pytest.raises(EvaluationError, match=r"image '1.png' has no label, as have 1 of 2"):
        evaluate(predicted_as([("open", "open"), ("", "open")]))


def test_no_images_are_refused() -> None:
    with pytest.raises(EvaluationError, match="no image to judge"):
        evaluate(predicted_as([]))


def test_one_kind_alone_is_undefined_not_zero() -> None:
    document = evaluation_as_json(evaluate(predicted_as([("Normal", "Normal"), ("Normal", "open")])))
    assert document["recall"] == {"value": None, "count": 0, "of": 0, "low": None, "high": None}
    assert document["auroc"] is None
    assert document["average_precision"] is None
    assert document["auroc_interval"] == document["average_precision_interval"] == {"low": None, "high": None}
    assert document["multiclass"]["per_class"]["short"]["f1_interval"] == {"low": None, "high": None}
    assert any("no test image shows a defect" in words for words in document["warnings"])


def test_swapped_classes_are_called_out() -> None:
    swapped = {"Normal": "open", "open": "short", "short": "Normal"}
    pairs = [(name, swapped[name]) for name in CLASSES for _ in range(10)]
    warnings = [text(one) for one in evaluate(predicted_as(pairs)).warnings]
    assert any("accuracy 0/30 is worse than guessing among 3 classes" in words for words in warnings)
    assert any("AUROC" in words and "probably swapped" in words for words in warnings)


def test_a_model_that_always_says_the_same_is_called_that_and_not_swapped() -> None:
    pairs = [(name, "Normal") for name in CLASSES for _ in range(10)]
    evaluation = evaluate(predicted_as(pairs))
    assert evaluation.auroc == 0.5
    assert [text(words).split(",")[0] for words in evaluation.warnings] == ["every image is called 'Normal'"]


def test_a_good_model_gets_no_warning() -> None:
    assert evaluate(random_predictions(0)).warnings == ()


def test_the_document_is_valid_json_without_nan() -> None:
    document = evaluation_as_json(evaluate(predicted_as([("Normal", "Normal")])))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(RATES) <= set(document)
