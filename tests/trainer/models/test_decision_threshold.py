"""The operating point file of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcore.errors import SettingsError
from trainer.models.decision_threshold import (
    OPERATING_POINT_NAME,
    DecisionThreshold,
    read_operating_point,
    require_class,
    write_operating_point,
)


def test_a_chosen_point_comes_back(tmp_path: Path) -> None:
    point = DecisionThreshold("正常", 0.125, 0.01, 1, 120, "ab" * 32)
    assert write_operating_point(tmp_path, point) == tmp_path / "operating_point.json"
    assert read_operating_point(tmp_path) == point


def test_no_file_is_no_point_and_other_keys_are_passed_over(tmp_path: Path) -> None:
    assert read_operating_point(tmp_path) is None
    (tmp_path / OPERATING_POINT_NAME).write_text('{"normal": "Normal", "cut": 1, "seed": 3}', encoding="utf-8")
    assert read_operating_point(tmp_path) == DecisionThreshold("Normal", 1.0)


def test_a_score_at_the_cut_is_defective() -> None:
    point = DecisionThreshold("Normal", 0.25)
    assert [point.decide(p) for p in (1.0, 0.76, 0.75, 0.0)] == ["OK", "OK", "NG", "NG"]
    assert DecisionThreshold("Normal", 0.0).decide(1.0) == "NG"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not readable as JSON"),
        ("[]", "found list; expected a JSON object"),
        ('{"cut": 0.5}', "normal is None"),
        ('{"normal": "N"}', "cut is None"),
        ('{"normal": "N", "cut": NaN}', "cut is nan"),
        ('{"normal": "N", "cut": true}', "cut is True"),
        ('{"normal": "N", "cut": 1.01}', "cut is 1.01"),
        ('{"normal": "N", "cut": 0.5, "max_miss_rate": 0}', "max_miss_rate is 0"),
        ('{"normal": "N", "cut": 0.5, "k": 0}', "k is 0"),
        ('{"normal": "N", "cut": 0.5, "n_defects": 1.5}', "n_defects is 1.5"),
        ('{"normal": "N", "cut": 0.5, "predictions_sha256": 1}', "predictions_sha256 is 1"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / OPERATING_POINT_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=words) as caught:
        read_operating_point(tmp_path)
    assert str(tmp_path / OPERATING_POINT_NAME) in str(caught.value)


def test_a_point_of_other_classes_is_refused() -> None:
    require_class(DecisionThreshold("a", 0.5), ("a", "b"), "run")
    with pytest.raises(SettingsError, match=r"run: its operating point calls 'c' normal, but the classes are a, b"):
        require_class(DecisionThreshold("c", 0.5), ("a", "b"), "run")


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    content = json.loads(write_operating_point(tmp_path, DecisionThreshold("Normal", 0.5)).read_text(encoding="utf-8"))
    assert content["normal"] == "Normal"
    assert content["cut"] == 0.5
