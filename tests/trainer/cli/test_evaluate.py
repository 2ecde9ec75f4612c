"""The commands `evaluate`, `compare` and `diagnose`."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from trainer.cli import cli
from trainer.evaluation.history import EpochRecord, write_history
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


def write_seeded(path: Path, seed: int, size: int = 450) -> Path:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, size)
    logits = rng.normal(size=(size, 3))
    logits[np.arange(size), true] += 2
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    write_predictions(path, [f"{n}.png" for n in range(size)], [CLASSES[k] for k in true], CLASSES, table)
    return path


@pytest.fixture
def operating_point_files(tmp_path: Path) -> tuple[Path, Path]:
    return write_seeded(tmp_path / "test.csv", 1), write_seeded(tmp_path / "val.csv", 2)


def test_the_table_stands_beside_the_judgement_by_class_and_leads_to_the_filter_rate(
    operating_point_files: tuple[Path, Path],
) -> None:
    arguments = [
        "evaluate",
        operating_point_files[0],
        "--validation",
        operating_point_files[1],
        "--max-miss-rate",
        "0.02",
    ]
    result = run(*arguments)
    assert result.exit_code == 0
    document = json.loads(run(*arguments, "--json").stdout)
    cut = document["operating_point"]
    shown = " ".join(result.stdout.replace("│", " ").split())
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
    assert not list(operating_point_files[0].parent.glob("operating*"))


def test_without_a_promise_there_is_no_operating_point(operating_point_files: tuple[Path, Path]) -> None:
    assert json.loads(run("evaluate", operating_point_files[0], "--json").stdout)["operating_point"] is None
    assert "Operating point" not in run("evaluate", operating_point_files[0]).stdout


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
def test_what_cannot_be_chosen_is_said_in_words(operating_point_files, arguments, code, words) -> None:  # type: ignore[no-untyped-def]
    result = run("evaluate", *(one.format(t=operating_point_files[0], v=operating_point_files[1]) for one in arguments))
    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_the_curve_is_drawn(operating_point_files: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"曲线{suffix}"
    result = run(
        "evaluate",
        operating_point_files[0],
        "--validation",
        operating_point_files[1],
        "--max-miss-rate",
        "0.02",
        "--curve",
        path,
    )
    assert result.exit_code == 0
    assert "曲线" in result.stdout
    if suffix == ".png":
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5
    elif suffix == ".svg":
        text = path.read_text(encoding="utf-8")
        for words in ("miss rate", "overkill rate", "validation: ", "test: ", "promised: 2 %"):
            assert words in text
    else:
        assert path.read_bytes().startswith(b"%PDF")


def test_a_curve_of_defects_alone_is_refused_in_words(operating_point_files: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    write_predictions(bad, ["1", "2"], ["open", "open"], CLASSES, [[0.5, 0.5, 0], [0.1, 0.9, 0]])
    result = run(
        "evaluate",
        bad,
        "--validation",
        operating_point_files[1],
        "--max-miss-rate",
        "0.02",
        "--curve",
        tmp_path / "curve.png",
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


def write_run(run: Path, epochs: int = 20, *, last: float | None = None) -> Path:
    records = [
        EpochRecord(n, 2 * math.exp(-n / 10), 2 * math.exp(-n / 12), 0.5, n / 40, 1e-3, 100.0, 1.0)
        for n in range(1, epochs + 1)
    ]
    if last is not None:
        records.append(EpochRecord(epochs + 1, last, 1.0, 0.5, 0.1, 1e-3, 100.0, 1.0))
    write_history(run / "results.csv", records)
    (run / "config.json").write_text(json.dumps({"label_smoothing": 0.0, "epochs": epochs}), encoding="utf-8")
    (run / "data.json").write_text(json.dumps({"classes": ["Normal", "划痕"]}), encoding="utf-8")
    return run


def run_diagnose(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["diagnose", *map(str, arguments)])
    assert "Traceback" not in done.output
    return done.exit_code, done.stdout, done.stderr


def test_a_run_is_told_in_words_and_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "运行")
    code, printed, _ = run_diagnose(run, "-o", tmp_path / "curves.png")
    assert code == 0
    assert "运行: learning 正常学习: epochs 13-20" in printed
    assert "--epochs 40" in printed
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size[0] > 500
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20


def test_each_seed_is_diagnosed_and_drawn_by_itself(tmp_path: Path) -> None:
    for seed in (10, 2):
        write_run(tmp_path / "runs" / f"seed-{seed}", last=math.nan if seed == 10 else None)
    code, printed, _ = run_diagnose(tmp_path / "runs", "--json", "-o", tmp_path / "c.png")
    documents = json.loads(printed)
    assert code == 0
    assert [Path(one["run"]).name for one in documents] == ["seed-2", "seed-10"]
    assert [one["kind"] for one in documents] == ["learning", "diverging"]
    assert documents[0]["evidence"]["val"]["high"] < 0
    assert (tmp_path / "c-seed-2.png").is_file()
    assert (tmp_path / "c-seed-10.png").is_file()


def test_an_upstream_record_is_read_with_what_the_user_adds(tmp_path: Path) -> None:
    columns = "epoch, train/loss, test/loss, metrics/accuracy_top1, metrics/accuracy_top5, lr/0\n"
    rows = "".join(f"  {n}, {0.46 + 0.001 * (n % 2)}, 0.6, 0.9, 1, 0.001\n" for n in range(15))
    (tmp_path / "results.csv").write_text(columns + rows, encoding="utf-8")
    _, printed, _ = run_diagnose(tmp_path / "results.csv")
    assert "plateau" in printed
    assert "--lr0" in printed
    _, printed, _ = run_diagnose(tmp_path, "--classes", 7, "--label-smoothing", 0.1)
    assert "finished" in printed
    assert "least possible 0.446" in printed


def test_no_epoch_is_no_error(tmp_path: Path) -> None:
    write_history(tmp_path / "results.csv", [])
    code, printed, _ = run_diagnose(tmp_path, "-o", tmp_path / "c.png")
    assert code == 0
    assert "no epoch" in printed
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("nothing", None, "no such folder or file"),
        (".", None, "neither results.csv nor seed-*"),
        ("results.csv", "a,b\n1,2\n", "line 1: columns a, b"),
        ("results.csv", "epoch,train_loss,val_loss,val_accuracy,val_macro_f1,lr,images_per_s,seconds\n1,2\n", "line 2"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    code, _, error = run_diagnose(tmp_path / name)
    assert code == 1
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_settings_that_are_no_numbers_and_other_endings_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert "expected a file name in .png" in run_diagnose(run, "-o", tmp_path / "c.svg")[2]
    (run / "config.json").write_text('{"epochs": "many"}', encoding="utf-8")
    assert "epochs is 'many'" in run_diagnose(run)[2]
    (run / "config.json").write_text("{", encoding="utf-8")
    assert "not readable as JSON" in run_diagnose(run)[2]
    assert run_diagnose(run, "--window", 5)[0] == 2
