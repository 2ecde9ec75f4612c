"""The judgement of generated arms, from counts with known rates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from experiment_null import World, helped_in
from scipy import stats as scipy_stats

from trainer.errors import EvaluationError
from trainer.evaluation.metrics import FloatArray
from trainer.evaluation.stats import bootstrap_arms, bootstrap_p
from trainer.evaluation.verdict import HELPED, HURT, MIXED, NO_DIFFERENCE, Difference
from trainer.experiment.judge import ArmComparison, JudgedArm, Judgement, Kind, judge
from trainer.messages import text

GROUPS, NORMAL, BAD = 60, 0, 1


def table(rng: np.random.Generator, seeds: int, *, miss: float, overkill: float, groups: int = GROUPS) -> FloatArray:
    """(S, G, 2, 2) counts of groups with 2 good and 2 bad images, called wrong at these rates."""
    counts = np.zeros((seeds, groups, 2, 2))
    missed = rng.binomial(2, miss, (seeds, groups))
    overkilled = rng.binomial(2, overkill, (seeds, groups))
    counts[:, :, BAD, NORMAL], counts[:, :, BAD, BAD] = missed, 2 - missed
    counts[:, :, NORMAL, BAD], counts[:, :, NORMAL, NORMAL] = overkilled, 2 - overkilled
    return counts


def arms_of(rates: dict[str, tuple[float, float]], *, seeds: int = 5, groups: int = GROUPS) -> list[JudgedArm]:
    """Arms from (miss rate, overkill rate); "classical X" controls X."""
    rng = np.random.default_rng(1)
    made = []
    for name, (miss, overkill) in rates.items():
        first = name.split()[0]
        kind: Kind = first if first in ("baseline", "oversampling", "classical") else "generated"  # type: ignore[assignment]
        controls = name.partition(" ")[2] if kind == "classical" else ""
        made.append(JudgedArm(name, kind, controls, table(rng, seeds, miss=miss, overkill=overkill, groups=groups)))
    return made


def judged(
    rates: dict[str, tuple[float, float]], *, primary: str = "macro_f1", **options: int
) -> tuple[Judgement, ...]:
    arms = arms_of(rates, **options)
    images = int(arms[0].counts[0].sum())
    return judge(arms, primary=primary, normal=NORMAL, classes=2, images=images)


POOR, GOOD = (0.4, 0.4), (0.1, 0.1)


@pytest.mark.parametrize(
    ("baseline", "control", "generated", "word"),
    [
        (POOR, POOR, GOOD, HELPED),
        (GOOD, GOOD, POOR, HURT),
        (POOR, POOR, POOR, NO_DIFFERENCE),
        (POOR, GOOD, GOOD, NO_DIFFERENCE),
        (POOR, (0.01, 0.01), (0.2, 0.2), MIXED),
        ((0.05, 0.9), (0.05, 0.9), (0.2, 0.1), MIXED),
    ],
    ids=["helped", "hurt", "same", "no more than the control", "less than the control", "more misses"],
)
def test_the_word_needs_baseline_control_and_miss_rate(
    baseline: tuple[float, float], control: tuple[float, float], generated: tuple[float, float], word: str
) -> None:
    (one,) = judged({"baseline": baseline, "g": generated, "classical g": control})
    assert one.word == word
    assert text(one.sentence).startswith(f"On these 240 test images, g against baseline: {word}")
    assert not one.provisional
    assert ("beyond the classical control (classical g)" in text(one.sentence)) == (
        word == NO_DIFFERENCE and control == GOOD
    )


def test_fewer_than_five_seeds_is_provisional() -> None:
    (one,) = judged({"baseline": POOR, "g": GOOD, "classical g": POOR}, seeds=4)
    assert one.provisional
    assert "helped (provisional, 4 of 5 seeds)" in text(one.sentence)


def test_a_rate_that_is_better_when_lower_is_judged_the_right_way_round() -> None:
    (one,) = judged({"baseline": POOR, "g": GOOD, "classical g": POOR}, primary="overkill_rate")
    assert one.word == HELPED
    assert one.baseline.primary.value is not None
    assert one.baseline.primary.value < 0
    (other,) = judged({"baseline": GOOD, "g": POOR, "classical g": GOOD}, primary="miss_rate")
    assert other.word == HURT


def test_p_values_are_those_of_the_resamples_corrected_over_the_generated_arms() -> None:
    arms = arms_of(
        {
            "baseline": (0.3, 0.3),
            "a": (0.25, 0.25),
            "classical a": (0.3, 0.3),
            "b": (0.22, 0.22),
            "classical b": (0.3, 0.3),
        }
    )
    found = judge(arms, primary="accuracy", normal=NORMAL, classes=2, images=240)
    wrong = {arm.name: arm.counts[..., [0, 1], [1, 0]].sum(axis=-1) for arm in arms}

    def statistic(counts: FloatArray) -> FloatArray:
        right: FloatArray = np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))
        return right

    values = bootstrap_arms([arm.counts for arm in arms], {"x": statistic})["x"].values
    raw = [bootstrap_p(values[row] - values[0]) for row in (1, 3)]
    assert [one.baseline.p_value for one in found] == raw
    low, high = sorted(range(2), key=lambda n: raw[n] or 0)
    assert found[low].baseline.p_holm == pytest.approx(2 * (raw[low] or 0))
    assert found[high].baseline.p_holm == pytest.approx(max(raw[high] or 0, 2 * (raw[low] or 0)))
    # Of the size that a t test of the group means finds, seeds being alike here.
    apart = (wrong["b"].mean(axis=0) - wrong["baseline"].mean(axis=0)) / 4
    assert raw[1] == pytest.approx(scipy_stats.ttest_1samp(apart, 0).pvalue, abs=0.02)
    assert "(Holm over 2 arms)" in text(found[0].sentence)


def test_more_arms_ask_for_more() -> None:
    rates = {"baseline": (0.3, 0.3), "g": (0.22, 0.24), "classical g": (0.3, 0.3)}
    alone = judged(rates)[0].baseline
    more = {f"h{k}": (0.3, 0.3) for k in range(5)}
    among = judged({**rates, **more, **{f"classical {k}": (0.3, 0.3) for k in more}})[0].baseline
    assert alone.p_holm == alone.p_value
    assert among.p_value is not None
    assert among.p_holm is not None
    assert among.p_holm > 4 * among.p_value


def test_oversampling_is_shown_and_corrected_for_nothing() -> None:
    (one,) = judged({"baseline": POOR, "oversampling": GOOD, "g": GOOD, "classical g": POOR})
    (other,) = one.oversampling
    assert (other.other, other.kind, other.p_holm) == ("oversampling", "oversampling", None)
    assert not other.better
    assert one.word == HELPED


def test_seeds_are_not_stacked_as_if_they_were_images() -> None:
    """Seeds that agree on every image must not narrow the interval."""
    rng = np.random.default_rng(0)
    base, better = (table(rng, 1, miss=rate, overkill=rate) for rate in (0.35, 0.25))

    def p_of(seeds: int) -> float:
        arms = [
            JudgedArm(name, kind, controls, np.repeat(counts, seeds, axis=0))
            for name, kind, controls, counts in (
                ("baseline", "baseline", "", base),
                ("g", "generated", "", better),
                ("c", "classical", "g", base),
            )
        ]
        p_value = judge(arms, primary="accuracy", normal=NORMAL, classes=2, images=240)[0].baseline.p_value
        assert p_value is not None
        return p_value

    assert p_of(8) == pytest.approx(p_of(2), abs=0.01)


def test_one_group_tells_nothing_of_other_images() -> None:
    (one,) = judged({"baseline": POOR, "g": GOOD, "classical g": POOR}, groups=1)
    assert one.word == NO_DIFFERENCE
    assert one.baseline.p_value is None
    assert one.baseline.primary.interval is None
    assert "no p-value can be told" in text(one.sentence)
    assert "给不出 p 值" in text(one.sentence, "zh")
    assert ("暂定" in text(one.sentence, "zh")) == one.provisional


def test_an_undefined_rate_is_no_difference() -> None:
    arms = arms_of({"baseline": POOR, "g": GOOD, "classical g": POOR})
    for arm in arms:
        arm.counts[:, :, BAD] = 0  # no defect in the test set
    (one,) = judge(arms, primary="miss_rate", normal=NORMAL, classes=2, images=120)
    assert one.word == NO_DIFFERENCE
    assert "miss rate is undefined, no p-value can be told" in text(one.sentence)


def test_equal_arms_differ_by_nothing() -> None:
    counts = table(np.random.default_rng(0), 5, miss=0.2, overkill=0.2)
    arms = [
        JudgedArm("baseline", "baseline", "", counts),
        JudgedArm("g", "generated", "", counts),
        JudgedArm("c", "classical", "g", counts),
    ]
    (one,) = judge(arms, primary="macro_f1", normal=NORMAL, classes=2, images=240)
    assert one.word == NO_DIFFERENCE
    assert "macro-F1 did not move" in text(one.sentence)


def test_macro_f1_without_names_is_refused_in_words() -> None:
    arms = [
        JudgedArm(name, kind, controls, np.ones((2, 3, 3, 2)))
        for name, kind, controls in (("baseline", "baseline", ""), ("g", "generated", ""), ("c", "classical", "g"))
    ]
    with pytest.raises(EvaluationError, match=r"primary: 'macro_f1' cannot be computed .* expected one of accuracy"):
        judge(arms, primary="macro_f1", normal=0, classes=2, images=3)


def test_a_missing_control_is_refused_in_words() -> None:
    with pytest.raises(EvaluationError, match=r"control for g: found 0 such arms; expected one"):
        judged({"baseline": POOR, "g": GOOD})


def test_better_needs_a_corrected_p_value() -> None:
    difference = Difference("macro_f1", 0.5, 0.6, None)
    assert not ArmComparison("b", "baseline", (difference,), 0.01, None).better
    assert not ArmComparison("b", "baseline", (difference,), 0.01, 0.0501).better
    assert ArmComparison("b", "baseline", (difference,), 0.01, 0.05).better


def test_two_arms_that_share_a_control_are_judged_against_it() -> None:
    arms = arms_of({"baseline": POOR, "classical low": POOR, "low": GOOD, "high": POOR})
    arms[3] = replace(arms[3], shares_control="low")
    low, high = judge(arms, primary="macro_f1", normal=NORMAL, classes=2, images=int(arms[0].counts[0].sum()))
    assert low.control.other == high.control.other == "classical low"
    assert (low.word, high.word) == (HELPED, NO_DIFFERENCE)
    apart = [*arms[:3], replace(arms[3], shares_control=""), replace(arms[1], name="classical high", controls="high")]
    alone = judge(apart, primary="macro_f1", normal=NORMAL, classes=2, images=int(arms[0].counts[0].sum()))
    assert alone[1].control.primary.value == high.control.primary.value


SMALL = World(groups=40, images_a_group=4, generated_arms=2)


@pytest.mark.parametrize("gain", [0.0, 1.0], ids=["all arms alike", "no better than the control"])
def test_where_nothing_helps_it_is_seldom_said(gain: float) -> None:
    world = World(**{**vars(SMALL), "gain": gain, "control_gain": gain})
    found = [helped_in(number, world, resamples=200)[0] for number in range(40)]
    assert sum(found) <= 3


def test_what_helps_much_is_found() -> None:
    world = World(**{**vars(SMALL), "gain": 2.0, "generated_arms": 1})
    assert sum(helped_in(number, world, resamples=200)[0] for number in range(10)) >= 8
