"""What a benchmark says of its goals is what its runs gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report import Report, spread


def a_report(**settings: object) -> Report:
    return Report("trial", "a trial", packages=("requests", "no-such-package"), settings=settings)


@pytest.mark.parametrize(
    ("values", "limit", "holds"),
    [
        ([0.9, 2.0, 2.1], {"at_least": 2.0}, True),
        ([0.9, 1.9, 2.1], {"at_least": 2.0}, False),
        ([0.9, 1.0, 9.0], {"at_most": 1.0}, True),
        ([0.9, 1.1, 9.0], {"at_most": 1.0}, False),
        ([0.0], {"at_most": 0.0}, True),
    ],
)
def test_a_goal_is_judged_by_the_median(
    values: list[float], limit: dict[str, float], holds: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = a_report()
    report.goal("speed", values, **limit)  # type: ignore[arg-type]
    report.finish(tmp_path / "trial.json", values)
    (goal,) = json.loads((tmp_path / "trial.json").read_text(encoding="utf-8"))["goals"]
    assert goal["holds"] is holds
    assert goal["values"] == values
    assert f"{np.median(values):.2f}" in goal["found"]
    assert f"| {goal['found']} | {'yes' if holds else 'NO'} |" in capsys.readouterr().out


def test_a_goal_needs_one_limit() -> None:
    with pytest.raises(ValueError, match="at_least or at_most"):
        a_report().goal("speed", [1.0])
    with pytest.raises(ValueError, match="at_least or at_most"):
        a_report().goal("speed", [1.0], at_least=1, at_most=2)


def test_a_share_is_told_as_per_cent() -> None:
    assert spread([0.031, 0.012, 0.025], 1, "%") == "2.5 % (1.2 to 3.1)"
    assert spread([0.5], 0, "%") == "50 %"


def test_what_is_saved_is_what_was_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = a_report(rounds=3, json=tmp_path / "trial.json")
    report.table("Speeds", ["who", "images/s"], [["ours", "2"], ["另一个", "1"]])
    report.finish(tmp_path / "made" / "trial.json", [{"round": 1}])
    text = (tmp_path / "made" / "trial.json").read_text(encoding="utf-8")
    content = json.loads(text)
    printed = capsys.readouterr().out
    assert content["tables"] == [
        {"title": "Speeds", "columns": ["who", "images/s"], "rows": [["ours", "2"], ["另一个", "1"]]}
    ]
    assert "| 另一个 | 1 |" in printed
    assert "另一个" in text
    assert content["settings"] == {"rounds": 3}
    assert content["versions"]["no-such-package"] == "not installed"
    assert content["runs"] == [{"round": 1}]
    assert content["machine"] in printed
