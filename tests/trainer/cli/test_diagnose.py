from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from trainer.cli import cli
from trainer.evaluation.history import EpochRecord, write_history


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


def run_cli(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["diagnose", *map(str, arguments)])
    assert "Traceback" not in done.output
    return done.exit_code, done.stdout, done.stderr


def test_a_run_is_told_in_words_and_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "运行")
    code, told, _ = run_cli(run, "-o", tmp_path / "curves.png")
    assert code == 0
    assert "运行: learning 正常学习: epochs 13-20" in told
    assert "--epochs 40" in told
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size[0] > 500
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20


def test_each_seed_is_diagnosed_and_drawn_by_itself(tmp_path: Path) -> None:
    for seed in (10, 2):
        write_run(tmp_path / "runs" / f"seed-{seed}", last=math.nan if seed == 10 else None)
    code, told, _ = run_cli(tmp_path / "runs", "--json", "-o", tmp_path / "c.png")
    documents = json.loads(told)
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
    _, told, _ = run_cli(tmp_path / "results.csv")
    assert "plateau" in told
    assert "--lr0" in told
    _, told, _ = run_cli(tmp_path, "--classes", 7, "--label-smoothing", 0.1)
    assert "finished" in told
    assert "least possible 0.446" in told


def test_no_epoch_is_no_error(tmp_path: Path) -> None:
    write_history(tmp_path / "results.csv", [])
    code, told, _ = run_cli(tmp_path, "-o", tmp_path / "c.png")
    assert code == 0
    assert "no epoch" in told
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
    code, _, error = run_cli(tmp_path / name)
    assert code == 1
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_settings_that_are_no_numbers_and_other_endings_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert "expected a file name in .png" in run_cli(run, "-o", tmp_path / "c.svg")[2]
    (run / "config.json").write_text('{"epochs": "many"}', encoding="utf-8")
    assert "epochs is 'many'" in run_cli(run)[2]
    (run / "config.json").write_text("{", encoding="utf-8")
    assert "not readable as JSON" in run_cli(run)[2]
    assert run_cli(run, "--window", 5)[0] == 2
