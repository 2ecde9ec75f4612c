from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from trainer.cli import cli
from trainer.evaluation.metrics import NAMED_WRONG, RATE_DEFINITIONS
from trainer.models.predictions import write_predictions

CLASSES = ("Normal", "open", "焊盘")


def write(folder: Path, seed: int, skill: float) -> Path:
    true = np.random.default_rng(0).integers(0, 3, 60)
    logits = np.random.default_rng(seed).normal(size=(60, 3))
    logits[np.arange(60), true] += skill
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    path = folder / "predictions.csv"
    write_predictions(path, [f"{n}.png" for n in range(60)], [CLASSES[k] for k in true], CLASSES, table)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    return write(tmp_path / "甲", 1, 1.0), write(tmp_path / "b", 2, 3.0), write(tmp_path / "c", 3, 1.2)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments], terminal_width=200)


def test_evaluate_prints_formula_chinese_counts_and_interval(files: tuple[Path, ...]) -> None:
    result = run("evaluate", files[0])
    assert result.exit_code == 0
    for one in (*RATE_DEFINITIONS, NAMED_WRONG):
        assert one.chinese in result.stdout
    for one in RATE_DEFINITIONS:
        assert one.formula in result.stdout
    figures = json.loads(run("evaluate", files[0], "--json").stdout)
    for one in RATE_DEFINITIONS:
        rate = figures[one.key]
        assert f"{rate['count']}/{rate['of']}" in result.stdout
        assert f"{100 * rate['value']:.2f} %" in result.stdout
        assert f"{100 * rate['low']:.2f}–{100 * rate['high']:.2f} %" in result.stdout
    assert f"macro-F1 {figures['multiclass']['macro_f1']:.3f}" in result.stdout


def test_evaluate_json_is_one_document_with_the_rates_on_top(files: tuple[Path, ...]) -> None:
    document = json.loads(run("evaluate", files[0], "--json").stdout)
    for key in ("accuracy", "recall", "miss_rate", "overkill_rate", "false_call_filter_rate", "total_filter_rate"):
        assert set(document[key]) == {"value", "count", "of", "low", "high"}
    assert document["multiclass"]["classes"] == list(CLASSES)


def test_evaluate_says_when_names_are_undefined(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    write_predictions(path, ["1", "2"], ["Abnormal", "Normal"], CLASSES, [[0, 1, 0], [1, 0, 0]])
    assert "Multi-class rates are undefined: 1 of 2 labels say only 'Abnormal'" in run("evaluate", path).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "{a}", "--normal", "good"], "'good' is not among the trained classes"),
        (["evaluate", "nowhere"], "neither a run"),
        (["evaluate", "nowhere.csv"], "no such file"),
        (["compare", "{a}", "nowhere.csv"], "no such file"),
        (["compare", "{a}", "{b}", "--normal", "good"], "'good' is not among"),
    ],
)
def test_what_cannot_be_judged_is_one_line_and_exit_1(files, arguments, words) -> None:  # type: ignore[no-untyped-def]
    result = run(*(one.format(a=files[0], b=files[1]) for one in arguments))
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_evaluate_refuses_a_folder_of_seeds_before_any_work(tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / "run" / f"seed-{seed}").mkdir(parents=True)
        (tmp_path / "run" / f"seed-{seed}" / "best.pt").write_bytes(b"")
    result = run("evaluate", tmp_path / "run", tmp_path / "data")
    assert result.exit_code == 1
    assert "holds 2 trainings (seed-0, seed-1); evaluate one" in result.stderr


def test_compare_ends_with_the_verdict(files: tuple[Path, ...]) -> None:
    result = run("compare", *files[:2])
    assert result.exit_code == 0
    sentence = json.loads(run("compare", *files[:2], "--json").stdout)["verdict"]["sentence"]
    assert " ".join(result.stdout.split()).endswith(sentence)
    assert "McNemar file / file" in result.stdout
    assert "Seed variance is not covered" in " ".join(result.stdout.split())


def test_compare_writes_a_report_and_says_where(files: tuple[Path, ...], tmp_path: Path) -> None:
    report = tmp_path / "报告.html"
    result = run("compare", *files[:2], "--control", files[2], "--report", report, "--note", "Drawn boards.")
    assert result.exit_code == 0
    assert "报告.html" in result.stdout
    page = report.read_text(encoding="utf-8")
    assert "trainer compare" in page
    assert "C c" in page
    assert "Drawn boards.</li>" in page


def test_compare_json_prints_nothing_else(files: tuple[Path, ...], tmp_path: Path) -> None:
    result = run("compare", *files[:2], "--json", "--report", tmp_path / "r.html")
    document = json.loads(result.stdout)
    assert document["arms"]["control"] is None
    assert (tmp_path / "r.html").is_file()


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_help_shows_an_example(command: str) -> None:
    assert f"trainer {command} " in run(command, "--help").stdout.split("Examples:")[1]


def test_missing_arguments_are_usage_errors() -> None:
    assert run("evaluate").exit_code == 2
    assert run("compare", "a").exit_code == 2
