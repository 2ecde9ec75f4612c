"""Verdicts, their sentences, and the sample size a difference needs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats as golden

from sdcore.errors import SettingsError
from sdcore.messages import message
from trainer.evaluation.metrics import binary_rate_of_confusion
from trainer.evaluation.stats import Interval, Resampled, bootstrap_arms
from trainer.evaluation.verdict import Difference, describe_difference, give_verdict, images_needed
from trainer.messages import text

UP, DOWN, FLAT = Interval(0.01, 0.09), Interval(-0.09, -0.01), Interval(-0.04, 0.06)


def difference(metric: str, interval: Interval | None) -> Difference:
    middle = (interval.low + interval.high) / 2 if interval else 0.01
    return Difference(metric, 0.5, 0.5 + middle, interval)


def verdict(primary, miss=FLAT, control=None, seeds=5):  # type: ignore[no-untyped-def]
    return give_verdict(
        images=120,
        names=["base", "new", "classic"],
        seeds=[seeds] * 3,
        against_baseline=[difference("macro_f1", primary), difference("miss_rate", miss)],
        against_control=None if control is None else [difference("macro_f1", control)],
    )


@pytest.mark.parametrize(
    ("primary", "miss", "control", "word"),
    [
        (UP, FLAT, None, "helped"),
        (UP, DOWN, None, "helped"),
        (UP, UP, None, "mixed"),
        (FLAT, FLAT, None, "no difference shown"),
        (FLAT, UP, None, "no difference shown"),
        (None, FLAT, None, "no difference shown"),
        (DOWN, FLAT, None, "hurt"),
        (UP, FLAT, UP, "helped"),
        (UP, FLAT, FLAT, "no difference shown"),
        (UP, FLAT, DOWN, "mixed"),
        (UP, UP, UP, "mixed"),
        (FLAT, FLAT, UP, "no difference shown"),
        (DOWN, FLAT, UP, "hurt"),
    ],
)
def test_the_word_follows_the_intervals(primary, miss, control, word) -> None:  # type: ignore[no-untyped-def]
    answer = verdict(primary, miss, control)
    assert answer.word == word
    assert word in text(answer.sentence)
    assert not answer.provisional


def test_touching_nothing_is_no_difference() -> None:
    assert verdict(Interval(0.0, 0.1)).word == "no difference shown"
    assert verdict(Interval(-0.1, 0.0)).word == "no difference shown"


def test_few_seeds_are_provisional() -> None:
    answer = verdict(UP, seeds=4)
    assert answer.provisional
    assert "provisional, 4 of 5 seeds" in text(answer.sentence)


def test_the_sentence_speaks_of_these_images_and_gives_the_interval() -> None:
    assert text(verdict(UP).sentence) == (
        "On these 120 test images, new against base: helped; macro-F1 rose by 0.050, from 0.500 to 0.550 "
        "(95 % interval +0.010 to +0.090)."
    )


def test_a_significant_change_of_misses_is_always_said() -> None:
    assert "miss rate rose by 0.050" in text(verdict(FLAT, UP).sentence)
    assert "miss rate" not in text(verdict(FLAT, FLAT).sentence)


def test_a_gain_that_the_control_shares_is_not_credited() -> None:
    sentence = text(verdict(UP, control=FLAT).sentence)
    assert "no difference shown beyond the control (classic)" in sentence
    assert "though macro-F1 rose by 0.050" in sentence


def test_without_macro_f1_the_first_figure_decides() -> None:
    answer = give_verdict(images=9, names=["a", "b"], seeds=[1, 1], against_baseline=[difference("accuracy", UP)])
    assert (answer.primary, answer.word) == ("accuracy", "helped")


def test_undefined_and_unmoved_have_their_own_words() -> None:
    assert text(describe_difference(Difference("miss_rate", None, None, None))) == "miss rate is undefined"
    assert text(describe_difference(Difference("miss_rate", 0.2, 0.2, FLAT))).startswith(
        "miss rate did not move from 0.200"
    )
    assert "no interval" in text(describe_difference(Difference("miss_rate", 0.2, 0.3, None)))


@pytest.mark.parametrize("control", [None, UP, FLAT, DOWN])
@pytest.mark.parametrize("miss", [FLAT, UP, DOWN])
@pytest.mark.parametrize("primary", [UP, FLAT, DOWN, None])
@pytest.mark.parametrize("seeds", [4, 5])
def test_the_chinese_sentence_says_the_same_with_the_same_figures(primary, miss, control, seeds) -> None:  # type: ignore[no-untyped-def]
    answer = verdict(primary, miss, control, seeds=seeds)
    assert text(message(answer.word), "zh") in text(answer.sentence, "zh")
    assert ("暂定" in text(answer.sentence, "zh")) == answer.provisional
    figures = [
        sorted(re.findall(r"[+-]?\d+(?:\.\d+)?", words.replace("F1", "")))
        for words in (text(answer.sentence), text(answer.sentence, "zh"))
    ]
    assert figures[0] == figures[1]
    for name in ("base", "new", *(["classic"] if control else [])):
        assert name in text(answer.sentence, "zh")
    assert ("没有超出对照" in text(answer.sentence, "zh")) == ("beyond the control" in text(answer.sentence))
    assert text(answer.sentence, "zh").endswith("。")
    assert text(answer.sentence, "zh").count("漏检率") == text(answer.sentence).count("miss rate")


def test_chinese_words_for_what_did_not_move_or_is_undefined() -> None:
    assert (
        text(describe_difference(Difference("miss_rate", 0.25, 0.25, UP)), "zh")
        == "漏检率 没有变化，为 0.250（95 % 区间 +0.010 至 +0.090）"
    )
    assert text(describe_difference(Difference("accuracy", 0.5, 0.75, None)), "zh") == (
        "正确率 上升 0.250，从 0.500 到 0.750（测试图像太少，给不出区间）"
    )
    assert text(describe_difference(Difference("accuracy", None, 0.75, None)), "zh") == "正确率未定义"


def test_one_training_each_is_a_verdict_on_these_models_alone() -> None:
    alone, several = verdict(UP, seeds=1), verdict(UP, seeds=2)
    assert text(alone.sentence).endswith(
        "; this speaks of these trained models only, not of the ways they were trained."
    )
    assert "只说明这几个训练好的模型" in text(alone.sentence, "zh")
    assert "these trained models" not in text(several.sentence)
    assert "这几个训练好的模型" not in text(several.sentence, "zh")


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
