"""One command runs the benchmarks and sums up their goals."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import run_all
from run_all import QUICK

GOOD = """
import argparse, pathlib
from report import Report
parser = argparse.ArgumentParser()
parser.add_argument("--json", type=pathlib.Path)
report = Report("good", "good", packages=(), settings={})
report.goal("high", [3.0], at_least=2)
report.goal("low", [3.0], at_most=2)
report.finish(parser.parse_args().json, [])
"""


@pytest.mark.parametrize("name", QUICK)
def test_every_benchmark_is_there(name: str) -> None:
    assert (run_all.HERE / QUICK[name][0]).is_file()


def test_goals_are_summed_up_and_a_failure_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.py").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.py").write_text("raise SystemExit('no peer here; install it')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(run_all.HERE))
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    monkeypatch.setattr(run_all, "QUICK", {"bad": ("bad.py",), "good": ("good.py",)})
    monkeypatch.setattr(sys, "argv", ["run_all.py", "-o", str(tmp_path / "results")])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "bad.json").write_text('{"goals": [1]}', encoding="utf-8")
    with pytest.raises(SystemExit, match="failed: bad"):
        run_all.main()
    said = capfd.readouterr()
    assert "no peer here" in said.err
    assert "| good | high | at least 2 | 3.00 | yes |" in said.out
    assert "| good | low | at most 2 | 3.00 | NO |" in said.out
    assert "1 of 2 goals hold" in said.out
    assert not (tmp_path / "results" / "bad.json").exists()
