"""What a report works out of predictions itself: the worst mistakes, and what every cut does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from sdcore.errors import SettingsError
from trainer.evaluation.arms import Arm, SeedPredictions
from trainer.models.decision_threshold import DecisionThreshold, write_operating_point
from trainer.models.predictions import Predictions, make_predictions
from trainer.report.collect import curve_of
from trainer.report.inputs import operating_curve, worst_mistakes

CLASSES = ("Normal", "open", "焊盘凹凸")


def said(p_normal: list[float], labels: list[str], *, second: int = 1) -> Predictions:
    table = np.zeros((len(labels), 3))
    table[:, 0] = p_normal
    table[:, second] = 1 - table[:, 0]
    return make_predictions([f"{n}.png" for n in range(len(labels))], labels, CLASSES, table)


def arm(*seeds: Predictions) -> Arm:
    return Arm("b", tuple(SeedPredictions(f"seed-{n}", one, None) for n, one in enumerate(seeds)))


LABELS = ["open", "open", "焊盘凹凸", "Normal", "Normal", "Normal"]


def test_mistakes_are_those_of_most_trainings_the_surest_first() -> None:
    found = worst_mistakes(
        arm(
            said([0.6, 0.9, 0.2, 0.1, 0.4, 0.9], LABELS),
            said([0.8, 0.7, 0.9, 0.3, 0.2, 0.9], LABELS, second=2),
            said([0.9, 0.8, 0.1, 0.9, 0.1, 0.9], LABELS, second=2),
        )
    )
    assert [(one.image, one.label) for one in found.misses] == [("1.png", "open"), ("0.png", "open")]
    assert [one.sureness for one in found.misses] == pytest.approx([0.8, 2.3 / 3])
    assert [one.image for one in found.overkill] == ["4.png", "3.png"]
    assert [one.sureness for one in found.overkill] == pytest.approx([1 - 0.7 / 3, 1 - 1.3 / 3])
    assert [one.predicted for one in found.overkill] == ["焊盘凹凸", "open"]
    assert {one.predicted for one in found.misses} == {"Normal"}


def test_equally_sure_mistakes_stand_in_the_order_of_their_names_and_half_of_the_trainings_are_not_most() -> None:
    tie = worst_mistakes(arm(said([0.9, 0.9], ["open", "open"])))
    assert [one.image for one in tie.misses] == ["0.png", "1.png"]
    half = worst_mistakes(arm(said([0.9], ["open"]), said([0.1], ["open"])))
    assert half.misses == half.overkill == ()


def test_the_curve_goes_through_the_points_of_an_independent_one() -> None:
    rng = np.random.default_rng(3)
    labels = ["open" if bad else "Normal" for bad in rng.random(80) < 0.4]
    p_normal = np.round(np.clip(rng.normal(0.5, 0.2, 80) + [0 if one == "open" else 0.2 for one in labels], 0, 1), 2)
    curve = operating_curve("seed-0", said(p_normal.tolist(), labels), normal="Normal")
    false_alarm, hit, _ = roc_curve(np.array(labels) == "open", 1 - p_normal, drop_intermediate=False)
    every = set(zip(false_alarm.round(9), (1 - hit).round(9), strict=True))
    corners = list(zip(np.round(curve.overkill_rate, 9), np.round(curve.miss_rate, 9), strict=True))
    assert set(corners) <= every
    assert corners[0] == (0.0, 1.0)
    assert corners[-1] == (1.0, 0.0)
    # What was left out lies on a straight stretch between two corners.
    for across, up in every - set(corners):
        assert any(
            (a[0] == b[0] == across and b[1] < up < a[1]) or (a[1] == b[1] == up and a[0] < across < b[0])
            for a, b in pairwise(corners)
        )


def test_a_chosen_cut_is_judged_at_and_above_it() -> None:
    one = said([0.7, 0.5, 0.2, 0.5, 0.6, 0.9], LABELS)
    chosen = operating_curve("seed-0", one, normal="Normal", point=DecisionThreshold("Normal", 0.5, 0.05, 3, 60)).chosen
    assert chosen is not None
    assert (chosen.cut, chosen.promised) == (0.5, 0.05)
    assert (chosen.miss_rate.count, chosen.miss_rate.of) == (1, 3)
    assert (chosen.overkill_rate.count, chosen.overkill_rate.of) == (1, 3)


def test_without_defects_or_without_good_images_there_is_no_curve() -> None:
    for labels in (["open", "open"], ["Normal", "Normal"]):
        curve = operating_curve("seed-0", said([0.4, 0.6], labels), normal="Normal")
        assert curve.miss_rate == curve.overkill_rate == ()


def test_a_chosen_point_of_another_normal_class_is_refused(tmp_path: Path) -> None:
    write_operating_point(tmp_path, DecisionThreshold("open", 0.5))
    one = SeedPredictions("seed-0", said([0.7] * 6, LABELS), tmp_path)
    with pytest.raises(SettingsError, match=r"calls 'open' normal, but --normal is 'Normal'"):
        curve_of(one, normal="Normal", abnormal=None)
