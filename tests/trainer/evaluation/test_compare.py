"""Comparison of arms, image by image."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as golden_stats
from sklearn import metrics as golden

from trainer.errors import EvaluationError
from trainer.evaluation.arms import Arm, SeedPredictions
from trainer.evaluation.compare import Comparison, compare, comparison_as_json
from trainer.messages import text
from trainer.models.predictions import Predictions, make_predictions

CLASSES = ("Normal", "open", "焊盘")


def predict(seed: int, skill: float, size: int = 120, groups: int | None = None) -> Predictions:
    true = np.random.default_rng(99).choice(3, size=size, p=[0.5, 0.3, 0.2])
    logits = np.random.default_rng(seed).normal(size=(size, 3))
    logits[np.arange(size), true] += skill
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    made = make_predictions([f"{n}.png" for n in range(size)], [CLASSES[k] for k in true], CLASSES, table)
    return replace(made, groups=tuple(f"board {n % groups}" for n in range(size))) if groups else made


def arm(name: str, *sets: Predictions) -> Arm:
    return Arm(name, tuple(SeedPredictions(f"seed-{n}", one, None) for n, one in enumerate(sets)))


@pytest.fixture(scope="module")
def several() -> tuple[Arm, Arm, Arm]:
    return (
        arm("base", *(predict(seed, 1.5, groups=40) for seed in (1, 2, 3))),
        arm("new", *(predict(seed, 2.6, groups=40) for seed in (4, 5, 6))),
        arm("classic", *(predict(seed, 1.6, groups=40) for seed in (7, 8, 9, 10))),
    )


@pytest.fixture(scope="module")
def comparison(several: tuple[Arm, Arm, Arm]) -> Comparison:
    return compare(*several)


def right(predictions: Predictions) -> np.ndarray:
    return (np.array(predictions.labels) != "Normal") == (np.array(predictions.predicted) != "Normal")


def test_means_over_seeds_agree_with_scikit_learn(comparison: Comparison, several: tuple[Arm, ...]) -> None:
    for result, given in zip(comparison.arms, several, strict=True):
        f1 = [
            golden.f1_score(one.predictions.labels, one.predictions.predicted, average="macro") for one in given.seeds
        ]
        assert result.macro_f1.mean == pytest.approx(np.mean(f1))
        assert (result.macro_f1.least, result.macro_f1.most) == pytest.approx((min(f1), max(f1)))
        assert result.macro_f1.sd == pytest.approx(np.std(f1, ddof=1))
        correct = [right(one.predictions).mean() for one in given.seeds]
        assert result.rates["accuracy"].spread.mean == pytest.approx(np.mean(correct))
        pooled = sum(
            golden.confusion_matrix(one.predictions.labels, one.predictions.predicted, labels=CLASSES)
            for one in given.seeds
        )
        assert np.array_equal(result.confusion, pooled)
        recalls = [
            golden.recall_score(one.predictions.labels, one.predictions.predicted, labels=["焊盘"], average=None)[0]
            for one in given.seeds
        ]
        assert result.per_class[2].recall.mean == pytest.approx(np.mean(recalls))


def test_an_image_counts_once_however_many_seeds_judged_it(comparison: Comparison) -> None:
    rate = comparison.baseline.rates["miss_rate"]
    defects = sum(label != "Normal" for label in predict(1, 1.5).labels)
    assert rate.of == defects
    assert rate.spread.mean == pytest.approx(rate.count / defects)
    tail = golden_stats.beta.ppf([0.025], rate.count, defects - rate.count + 1)
    assert rate.interval is not None
    assert rate.interval.low == pytest.approx(tail[0])


def test_differences_are_second_minus_first_inside_their_interval(comparison: Comparison) -> None:
    for contrast, other in (
        (comparison.against_baseline, comparison.baseline),
        (comparison.against_control, comparison.control),
    ):
        assert contrast is not None
        assert other is not None
        by_name = {one.metric: one for one in contrast.differences}
        assert list(by_name) == ["macro_f1", "accuracy", "miss_rate", "overkill_rate"]
        assert by_name["macro_f1"].first == pytest.approx(other.macro_f1.mean)
        assert by_name["macro_f1"].second == pytest.approx(comparison.candidate.macro_f1.mean)
        for key in ("accuracy", "miss_rate", "overkill_rate"):
            assert by_name[key].first == pytest.approx(other.rates[key].spread.mean)
        for one in contrast.differences:
            assert one.value is not None
            assert one.interval is not None
            assert one.interval.low <= one.value <= one.interval.high


def test_recall_differences_agree_with_scikit_learn(comparison: Comparison, several: tuple[Arm, ...]) -> None:
    rows = comparison.against_baseline.recalls
    assert [row.name for row in rows] == list(CLASSES)
    means = [
        np.mean(
            [
                golden.recall_score(one.predictions.labels, one.predictions.predicted, labels=CLASSES, average=None)
                for one in given.seeds
            ],
            axis=0,
        )
        for given in several[:2]
    ]
    labels = several[0].seeds[0].predictions.labels
    for row, first, second in zip(rows, *means, strict=True):
        assert (row.first, row.second, row.value) == pytest.approx((first, second, second - first))
        assert row.support == labels.count(row.name)
        assert row.interval is not None
        assert row.p_value is not None
        assert row.p_holm is not None
        assert (row.p_value < 0.05) == (row.interval.low > 0 or row.interval.high < 0)
    # Holm by its definition: the smallest of three p-values is tripled.
    p_values = [row.p_value or 0.0 for row in rows]
    smallest = int(np.argmin(p_values))
    assert rows[smallest].p_holm == pytest.approx(min(1.0, 3 * p_values[smallest]))


def test_classes_are_not_compared_by_name_where_names_are_not_known() -> None:
    coarse = [
        replace(one, labels=tuple("Abnormal" if label != "Normal" else label for label in one.labels))
        for one in (predict(1, 1.0), predict(2, 2.0))
    ]
    found = compare(arm("a", coarse[0]), arm("b", coarse[1]), worth=0.05)
    assert found.against_baseline.recalls == ()
    assert found.against_baseline.worth is not None
    assert found.against_baseline.worth.images_now == 120


def test_mcnemar_counts_every_pair_of_seeds(comparison: Comparison, several: tuple[Arm, ...]) -> None:
    tests = comparison.against_baseline.mcnemar
    assert [(one.first_seed, one.second_seed) for one in tests] == [(f"seed-{n}",) * 2 for n in range(3)]
    for n, test in enumerate(tests):
        a, b = (right(given.seeds[n].predictions) for given in several[:2])
        table = golden.confusion_matrix(a, b, labels=[False, True])
        assert (test.both_wrong, test.only_second, test.only_first, test.both_right) == tuple(table.ravel())
        assert test.p_value == pytest.approx(
            golden_stats.binomtest(test.only_first, test.only_first + test.only_second).pvalue
        )
    assert comparison.against_control is not None
    assert len(comparison.against_control.mcnemar) == 3


def test_flips_are_what_the_majority_of_seeds_changed(comparison: Comparison, several: tuple[Arm, ...]) -> None:
    a, b = (np.mean([right(one.predictions) for one in given.seeds], axis=0) for given in several[:2])
    assert [flip.image for flip in comparison.gained] == [f"{n}.png" for n in np.flatnonzero((a < 0.5) & (b > 0.5))]
    assert [flip.image for flip in comparison.lost] == [f"{n}.png" for n in np.flatnonzero((a > 0.5) & (b < 0.5))]
    for flip in (*comparison.gained, *comparison.lost):
        n = int(flip.image.removesuffix(".png"))
        names = [one.predictions.predicted[n] for one in several[1].seeds]
        assert names.count(flip.second_predicted) == max(names.count(name) for name in names)
    assert comparison.gained


def test_a_clear_gain_over_both_is_called_help_but_provisional(comparison: Comparison) -> None:
    assert comparison.verdict.word == "helped"
    assert comparison.verdict.provisional
    assert comparison.verdict.primary == "macro_f1"
    assert comparison.groups == 40


def test_five_seeds_each_are_not_provisional() -> None:
    arms = [arm(name, *(predict(10 * k + s, 2.0) for s in range(5))) for k, name in enumerate(("a", "b"))]
    verdict = compare(*arms, resamples=200).verdict
    assert not verdict.provisional


def test_a_model_against_itself_shows_no_difference() -> None:
    same = predict(1, 1.5)
    comparison = compare(arm("a", same), arm("b", same))
    assert comparison.verdict.word == "no difference shown"
    assert all(one.value == 0 for one in comparison.against_baseline.differences)
    assert comparison.against_baseline.mcnemar[0].p_value == 1.0
    assert comparison.gained == comparison.lost == ()


def test_a_comparison_repeats_exactly(several: tuple[Arm, ...], comparison: Comparison) -> None:
    assert comparison_as_json(compare(*several)) == comparison_as_json(comparison)


def test_image_and_class_order_do_not_matter() -> None:
    first, second = predict(1, 1.5), predict(2, 2.0)
    rows = np.random.default_rng(0).permutation(120)
    shuffled = make_predictions(
        [second.images[n] for n in rows],
        [second.labels[n] for n in rows],
        CLASSES[::-1],
        second.probabilities[rows][:, ::-1],
    )
    straight = comparison_as_json(compare(arm("a", first), arm("b", second), resamples=100))
    assert comparison_as_json(compare(arm("a", first), arm("b", shuffled), resamples=100)) == straight


def test_one_seed_says_that_seed_variance_is_not_covered() -> None:
    notes = compare(arm("a", predict(1, 1.5)), arm("b", predict(2, 1.5)), resamples=50).notes
    assert any("Seed variance is not covered" in text(note) for note in notes)
    assert any("taken as independent" in text(note) for note in notes)
    assert any("fewer than 299" in text(note) for note in notes)


def test_a_warning_names_the_seeds_it_is_about() -> None:
    stuck = make_predictions(predict(1, 1.5).images, predict(1, 1.5).labels, CLASSES, [[0.8, 0.1, 0.1]] * 120)
    notes = compare(arm("a", predict(1, 1.5), stuck), arm("b", stuck), resamples=50).notes
    assert any(text(note).startswith("a (seed-1): every image is called 'Normal'") for note in notes)
    assert any(text(note).startswith("b: every image is called 'Normal'") for note in notes)


def test_several_seeds_and_many_groups_do_not(comparison: Comparison) -> None:
    assert not any("Seed variance is not covered" in text(note) for note in comparison.notes[:1])
    assert not any("independent" in text(note) for note in comparison.notes)


def test_few_groups_are_said_to_be_rough() -> None:
    first, second = predict(1, 1.5, groups=6), predict(2, 1.5, groups=6)
    assert any("6 groups only" in text(note) for note in compare(arm("a", first), arm("b", second), resamples=50).notes)


def test_a_group_an_image_is_no_group() -> None:
    first, second = predict(1, 1.5, groups=120), predict(2, 1.5)
    assert compare(arm("a", first), arm("b", second), resamples=50).groups is None


def test_a_single_group_gives_no_interval() -> None:
    first, second = predict(1, 1.5, groups=1), predict(2, 3.0)
    comparison = compare(arm("a", first), arm("b", second), resamples=50)
    assert all(one.interval is None for one in comparison.against_baseline.differences)
    assert comparison.verdict.word == "no difference shown"


def test_labels_without_names_are_judged_on_normal_and_abnormal() -> None:
    def coarse(predictions: Predictions) -> Predictions:
        labels = tuple("Normal" if label == "Normal" else "Abnormal" for label in predictions.labels)
        return replace(predictions, labels=labels)

    comparison = compare(arm("a", coarse(predict(1, 1.0))), arm("b", coarse(predict(2, 3.0))), resamples=300)
    assert comparison.verdict.primary == "accuracy"
    assert comparison.verdict.word == "helped"
    assert comparison.baseline.macro_f1.mean is None
    assert comparison.baseline.per_class == ()
    assert comparison.labels == (*CLASSES, "Abnormal")
    assert any("Multi-class rates are undefined" in text(note) for note in comparison.notes)


def test_a_test_set_without_defects_leaves_the_miss_rate_undefined() -> None:
    def good(seed: int) -> Predictions:
        table = np.random.default_rng(seed).dirichlet([6, 1, 1], size=30)
        return make_predictions([f"{n}" for n in range(30)], ["Normal"] * 30, CLASSES, table)

    comparison = compare(arm("a", good(1)), arm("b", good(2)), resamples=50)
    miss = next(one for one in comparison.against_baseline.differences if one.metric == "miss_rate")
    assert (miss.value, miss.interval) == (None, None)
    json.dumps(comparison_as_json(comparison), allow_nan=False)


def test_other_test_images_are_refused_by_name() -> None:
    first, second = predict(1, 1.5), predict(2, 1.5, size=119)
    with pytest.raises(EvaluationError, match=r"test sets differ: '119\.png' and 0 other.*this one in a\)"):
        compare(arm("a", first), arm("b", second))


def test_other_labels_are_refused_by_name() -> None:
    first, second = predict(1, 1.5), predict(2, 1.5)
    second = replace(second, labels=("open" if second.labels[0] != "open" else "Normal", *second.labels[1:]))
    with pytest.raises(EvaluationError, match=r"'0\.png' is labelled '.*' in b and '.*' in a"):
        compare(arm("a", first), arm("b", second))


def test_other_classes_are_refused() -> None:
    other = make_predictions(["0.png"], ["Normal"], ["Normal", "short"], [[1.0, 0.0]])
    with pytest.raises(EvaluationError, match=r"class lists differ: a has Normal, open, 焊盘; b has Normal, short"):
        compare(arm("a", predict(1, 1.5)), arm("b", other))


def test_a_normal_class_that_is_none_is_refused() -> None:
    with pytest.raises(EvaluationError, match="--normal"):
        compare(arm("a", predict(1, 1.5)), arm("b", predict(2, 1.5)), normal="OK")


def test_the_document_is_valid_json(comparison: Comparison) -> None:
    document = comparison_as_json(comparison)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
