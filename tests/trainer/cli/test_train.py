"""The command `train`, and mistakes in the arguments of all commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from trainer.cli import cli, train as train_command
from trainer.config import MODELS, AugmentConfig, TrainConfig, TrainingJob
from trainer.models.predictions import read_predictions
from trainer.training.train import interrupted

TINY = ["--epochs", "1", "--imgsz", "32", "--batch-size", "16", "--device", "cpu"]


def test_train_then_predict_on_the_command_line(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "运行"
    done = CliRunner().invoke(cli, ["train", str(data), "-o", str(run), *TINY])
    assert done.exit_code == 0, done.output
    assert "best epoch 1 of 1" in done.stdout
    again = CliRunner().invoke(cli, ["train", str(data), "-o", str(run), *TINY, "--json"])
    document = json.loads(again.stdout)
    assert document[0]["was_there"] is True
    assert document[0]["run"] == run.as_posix()

    table = tmp_path / "predictions.csv"
    done = CliRunner().invoke(cli, ["predict", str(run), str(data / "test"), "-o", str(table)])
    assert done.exit_code == 0, done.output
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "label", "predicted", "p_Normal", "p_dirt", "p_划痕"]
    assert len(rows) == 9
    assert read_predictions(table).labels == tuple(row["label"] for row in rows)


def test_several_seeds_on_the_command_line(data: Path, tmp_path: Path) -> None:
    arguments = ["train", str(data), "-o", str(tmp_path / "runs"), *TINY, "--seed", "0", "--seed", "1", "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert [entry["seed"] for entry in json.loads(done.stdout)] == [0, 1]
    assert (tmp_path / "runs" / "seed-1" / "best.pt").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "nowhere", "-o", "run"], 1, "nowhere: no folder train/ in it"),
        (["train", "nowhere"], 2, "Missing option '-o'"),
        (["train", "nowhere", "-o", "run", "--model", "resnet"], 2, "'resnet' is not one of"),
        (["train", "nowhere", "-o", "run", "--imgsz", "50"], 1, "imgsz: found 50"),
        (["predict", "nowhere", "images"], 1, "images: no such file or folder; expected images"),
        (["split", "nowhere", "data"], 1, "nowhere: no such folder"),
        (["check", "nowhere"], 1, "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code
    assert words in done.stderr
    assert "Traceback" not in done.output
    if code == 1:
        assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_options_offer_what_the_configuration_has(monkeypatch: pytest.MonkeyPatch) -> None:
    model = next(option for option in train_command.params if option.name == "model")
    assert tuple(model.type.choices) == MODELS  # type: ignore[attr-defined]
    asked: list[TrainConfig] = []
    monkeypatch.setattr("trainer.training.seeds.train_seeds", lambda job, **_: asked.append(job.config) or [])
    done = CliRunner().invoke(cli, ["train", "data", "-o", "run"])
    assert done.exit_code == 0, done.output
    assert asked == [TrainConfig()]


def test_every_option_stands_under_a_heading() -> None:
    context = click.Context(train_command, info_name="train")
    words = train_command.get_help(context)
    for option in train_command.params:
        if isinstance(option, click.Option):
            assert words.count(f" {option.opts[-1]} ") >= 1, option.name
    output = words[words.index("\nOutput:") :]
    assert output.count("\n  -") == 4  # overwrite, tensorboard, json, help: nothing was left over


def test_options_reach_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[TrainingJob, dict[str, object]]] = []
    monkeypatch.setattr("trainer.training.seeds.train_seeds", lambda job, **rest: asked.append((job, rest)) or [])
    arguments = (
        "train data -o run --batch-size auto --patience 7 --monitor val_loss --stop-on overfit --schedule linear "
        "--class-weights balanced --clip-norm 0 --generated-share 0.5 --no-flips --no-quarter-turns --shift 0.2 "
        "--hue 0.05 --saturation 0.2 --no-amp --layout contiguous --no-deterministic --cache-gb 1.5 --tensorboard "
        "--weights start.pt --accumulate 2 --sync-bn --freeze 9 --label-smoothing 0 --processes 2"
    )
    done = CliRunner().invoke(cli, arguments.split())
    assert done.exit_code == 0, done.output
    ((job, rest),) = asked
    assert job.config == TrainConfig(
        batch_size="auto",
        patience=7,
        monitor="val_loss",
        stop_on="overfit",
        schedule="linear",
        class_weights="balanced",
        clip_norm=0,
        generated_share=0.5,
        augment=AugmentConfig(flips=False, quarter_turns=False, shift=0.2, hue=0.05, saturation=0.2),
        amp=False,
        layout="contiguous",
        deterministic=False,
        weights="start.pt",
        accumulate=2,
        sync_bn=True,
        freeze=9,
        label_smoothing=0,
    )
    assert (job.cache_gb, job.tensorboard, rest["processes"]) == (1.5, True, 2)


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        (
            interrupted(Path("run"), 3),
            "stopped; epochs 1 to 3 are saved in run, and the same command goes on after that",
        ),
        (KeyboardInterrupt(), "stopped; the same command goes on"),
    ],
)
def test_ctrl_c_ends_with_words_and_130(stop: KeyboardInterrupt, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr("trainer.training.seeds.train_seeds", stopped)
    done = CliRunner().invoke(cli, ["train", "data", "-o", "run"])
    assert done.exit_code == 130
    assert done.stderr.strip() == words
    assert done.stdout == ""
