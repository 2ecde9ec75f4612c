from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from trainer.cli import cli
from trainer.evaluation.metrics import RATE_DEFINITIONS
from trainer.models.predictions import write_predictions

CLASSES = ("Normal", "open", "焊盘")


def write(path: Path, seed: int, size: int = 450) -> Path:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, size)
    logits = rng.normal(size=(size, 3))
    logits[np.arange(size), true] += 2
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    write_predictions(path, [f"{n}.png" for n in range(size)], [CLASSES[k] for k in true], CLASSES, table)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "test.csv", 1), write(tmp_path / "val.csv", 2)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments], terminal_width=200)


def test_the_table_stands_beside_the_judgement_by_class_and_leads_to_the_filter_rate(files: tuple[Path, Path]) -> None:
    arguments = ["evaluate", files[0], "--validation", files[1], "--max-miss-rate", "0.02"]
    result = run(*arguments)
    assert result.exit_code == 0
    document = json.loads(run(*arguments, "--json").stdout)
    cut = document["operating_point"]
    shown = " ".join(result.stdout.split())
    for one in RATE_DEFINITIONS:
        at_cut, by_class = cut[one.key], document[one.key]
        assert (
            f"{one.chinese} {100 * by_class['value']:.2f} % {100 * at_cut['value']:.2f} % "
            f"{at_cut['count']}/{at_cut['of']} {100 * at_cut['low']:.2f}–{100 * at_cut['high']:.2f} %"
        ) in shown
    assert f"number {cut['k']} from below of {cut['n_defects']} validation defects" in shown
    missed, filtered = cut["miss_rate"], cut["false_call_filter_rate"]
    assert (
        f"假点过滤率 {100 * filtered['value']:.2f} % ({filtered['count']}/{filtered['of']}) at a miss rate of "
        f"{100 * missed['value']:.2f} % ({missed['count']}/{missed['of']}); promised: 2 %."
    ) in shown
    assert cut["saved"] is None
    assert not list(files[0].parent.glob("operating*"))


def test_without_a_promise_there_is_no_operating_point(files: tuple[Path, Path]) -> None:
    assert json.loads(run("evaluate", files[0], "--json").stdout)["operating_point"] is None
    assert "Operating point" not in run("evaluate", files[0]).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{t}", "--max-miss-rate", "0.01"], 2, "a cut is chosen on validation images, never on test images"),
        (["{t}", "--validation", "{v}"], 2, "--validation needs --max-miss-rate"),
        (["{t}", "--validation", "{v}", "--max-miss-rate", "1.5"], 1, "expected a number between 0 and 1"),
        (["{t}", "--validation", "{v}", "--max-miss-rate", "0.001"], 1, "a miss rate of 0.1 % cannot be promised from"),
        (["{t}", "--validation", "{t}", "--max-miss-rate", "0.1"], 1, "the very predictions that are to be judged"),
        (["{t}", "--curve", "curve.png"], 2, "--curve marks the cut that was chosen, and there is none"),
        (["{t}", "--curve", "curve.gif"], 1, "found the suffix '.gif'"),
        (["run", "data", "--validation", "{v}", "--max-miss-rate", "0.1"], 2, "leave --validation out"),
    ],
)
def test_what_cannot_be_chosen_is_said_in_words(files, arguments, code, words) -> None:  # type: ignore[no-untyped-def]
    result = run("evaluate", *(one.format(t=files[0], v=files[1]) for one in arguments))
    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_the_curve_is_drawn(files: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"曲线{suffix}"
    result = run("evaluate", files[0], "--validation", files[1], "--max-miss-rate", "0.02", "--curve", path)
    assert result.exit_code == 0
    assert "曲线" in result.stdout
    if suffix == ".png":
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    elif suffix == ".svg":
        text = path.read_text(encoding="utf-8")
        for words in ("miss rate", "overkill rate", "validation: ", "test: ", "promised: 2 %"):
            assert words in text
    else:
        assert path.read_bytes().startswith(b"%PDF")


def test_a_curve_of_defects_alone_is_refused_in_words(files: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    write_predictions(bad, ["1", "2"], ["open", "open"], CLASSES, [[0.5, 0.5, 0], [0.1, 0.9, 0]])
    result = run(
        "evaluate", bad, "--validation", files[1], "--max-miss-rate", "0.02", "--curve", tmp_path / "curve.png"
    )
    assert result.exit_code == 1
    assert "the test images are all defective or all good" in result.stderr
    assert not (tmp_path / "curve.png").exists()


def test_a_run_keeps_its_cut_for_predict_and_for_the_next_evaluation(
    trained_run: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(trained_run[0], tmp_path / "run")
    path, data = tmp_path / "run", trained_run[1]
    looked = run("evaluate", path, data, "--max-miss-rate", "0.25", "--no-save", "--json")
    assert not (path / "operating_point.json").exists()
    kept = run("evaluate", path, data, "--max-miss-rate", "0.25", "--json")
    first, chosen = (json.loads(one.stdout)["operating_point"] for one in (looked, kept))
    assert chosen == first | {"saved": (path / "operating_point.json").as_posix()}
    assert (chosen["k"], chosen["n_defects"]) == (1, 3)

    assert run("predict", path, data / "test", "-o", tmp_path / "p.csv").exit_code == 0
    with (tmp_path / "p.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    called = [row for row in rows if row["decision"] == "NG"]
    assert len(called) == chosen["counts"]["tp"] + chosen["counts"]["fp"]
    assert sum(row["label"] != "Normal" for row in called) == chosen["counts"]["tp"]

    again = json.loads(run("evaluate", path, data, "--json").stdout)["operating_point"]
    assert (again["cut"], again["counts"], again["validation"]) == (chosen["cut"], chosen["counts"], None)
    other = run("evaluate", path, data, "--normal", "划痕")
    assert other.exit_code == 1
    assert "calls 'Normal' normal, but --normal is '划痕'" in other.stderr
