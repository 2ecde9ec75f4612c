"""Run folders: what is written, recognised, resumed and refused."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from sdcore.errors import SettingsError
from trainer.config import TrainConfig, TrainingJob, make_config
from trainer.errors import CheckpointError
from trainer.evaluation.history import read_history
from trainer.models.checkpoints import load_checkpoint
from trainer.training import run_folder, train as train_module
from trainer.training.run_folder import load_resume_state
from trainer.training.train import interrupted, train

TIMES = ("images_per_s", "seconds")


def settings(**changes: object) -> TrainConfig:
    tiny = {"epochs": 3, "imgsz": 32, "batch_size": 8, "device": "cpu", "images_per_epoch": 18}
    return make_config(**{**tiny, **changes})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DATA folder of two classes, its name in Chinese."""
    root = tmp_path_factory.mktemp("数据")
    for part, count in (("train", 10), ("val", 4)):
        for label, level in (("Normal", 60), ("划痕", 180)):
            for number in range(count):
                path = root / part / label / f"图{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.effect_noise((36, 36), 40).point(lambda grey, add=level - 128: grey + add).save(path)
    return root


@pytest.fixture(scope="module")
def unbroken(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    train(TrainingJob(images, run, settings()), progress=False)
    return run


def figures(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def assert_same_run(one: Path, other: Path) -> None:
    assert figures(one) == figures(other)
    assert (one / "best.pt").read_bytes() == (other / "best.pt").read_bytes()
    assert (one / "last.pt").read_bytes() == (other / "last.pt").read_bytes()
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}


def break_in(name: str, call: int, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    """Let the `call`th call of a function of `trainer.training.train` fail, before it does anything."""
    module = train_module if hasattr(train_module, name) else run_folder
    real: Callable[..., None] = getattr(module, name)
    calls = []

    def failing(*arguments: object, **named: object) -> None:
        calls.append(name)
        if len(calls) == call:
            raise error("broken off")
        real(*arguments, **named)

    monkeypatch.setattr(module, name, failing)


@pytest.mark.parametrize(
    ("function", "call", "kept"),
    [
        ("write_history", 1, 1),  # between the state of the first epoch and its row
        ("save_resume_state", 2, 1),  # between the weights of an epoch and its state
        ("save_checkpoint", 3, 1),  # in the middle of an epoch's weights
        ("draw_curves", 1, 3),  # when all epochs are done
    ],
)
def test_a_run_broken_off_anywhere_ends_as_the_unbroken_one(
    function: str, call: int, kept: int, images: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_in(function, call, monkeypatch, OSError)
    with pytest.raises(OSError, match="broken off"):
        train(TrainingJob(images, tmp_path / "run", settings()), progress=False)
    monkeypatch.undo()
    assert len(load_resume_state(tmp_path / "run" / "resume.pt").epochs) == kept
    (tmp_path / "run" / ".best.pt.77.part").write_bytes(b"half")
    torch.manual_seed(99)  # whatever the process did in between
    result = train(TrainingJob(images, tmp_path / "run", settings()), progress=False)[0]
    assert (result.was_there, result.resumed_after, result.epochs) == (False, kept, 3)
    assert_same_run(tmp_path / "run", unbroken)
    assert train(TrainingJob(images, tmp_path / "run", settings()), progress=False)[0].was_there


@pytest.mark.parametrize(
    "changes",
    [
        {"balance": True},
        {"class_weights": "balanced", "schedule": "linear", "clip_norm": 0.5, "layout": "contiguous"},
        {"patience": 1, "monitor": "val_loss", "epochs": 6, "lr": 0.05},
    ],
)
def test_a_resumed_run_of_other_settings_ends_as_the_unbroken_one(
    changes: dict[str, object], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(TrainingJob(images, tmp_path / "unbroken", settings(**changes)), progress=False)[0]
    break_in("save_resume_state", 2, monkeypatch, OSError)
    with pytest.raises(OSError, match="broken off"):
        train(TrainingJob(images, tmp_path / "run", settings(**changes)), progress=False)
    monkeypatch.undo()
    result = train(TrainingJob(images, tmp_path / "run", settings(**changes)), progress=False)[0]
    assert (result.epochs, result.stopped, result.diagnosis) == (expected.epochs, expected.stopped, expected.diagnosis)
    assert_same_run(tmp_path / "run", tmp_path / "unbroken")


@pytest.fixture
def broken_off(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with one epoch done."""
    break_in("save_resume_state", 2, monkeypatch, OSError)
    with pytest.raises(OSError, match="broken off"):
        train(TrainingJob(images, tmp_path / "run", settings()), progress=False)
    monkeypatch.undo()
    return tmp_path / "run"


def test_other_settings_are_refused_until_overwrite_is_given(images: Path, broken_off: Path) -> None:
    with pytest.raises(SettingsError, match=r"interrupted run with lr 0.001, asked for 0.002, .*--overwrite"):
        train(TrainingJob(images, broken_off, settings(lr=0.002)), progress=False)
    with pytest.raises(SettingsError, match=r"augment.hue 0.0, asked for 0.1"):
        train(TrainingJob(images, broken_off, settings(augment={"hue": 0.1})), progress=False)
    result = train(TrainingJob(images, broken_off, settings(lr=0.002), overwrite=True), progress=False)[0]
    assert (result.resumed_after, result.epochs) == (0, 3)
    assert not (broken_off / "resume.pt").exists()


def test_other_images_are_refused(images: Path, broken_off: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "other")
    (tmp_path / "other" / "train" / "Normal" / "图0.png").unlink()
    with pytest.raises(SettingsError, match="interrupted run with other images"):
        train(TrainingJob(tmp_path / "other", broken_off, settings()), progress=False)


def test_another_torch_is_refused(images: Path, broken_off: Path) -> None:
    facts = json.loads((broken_off / "environment.json").read_text(encoding="utf-8"))
    (broken_off / "environment.json").write_text(json.dumps({**facts, "torch": "2.0.0"}), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"with torch 2\.0\.0, here it is"):
        train(TrainingJob(images, broken_off, settings()), progress=False)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half"])
def test_a_damaged_state_is_named_with_what_to_do(images: Path, broken_off: Path, content: bytes) -> None:
    (broken_off / "resume.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"resume\.pt: the state .*cannot be read .*--overwrite"):
        train(TrainingJob(images, broken_off, settings()), progress=False)


def test_a_state_of_another_kind_is_refused(unbroken: Path, broken_off: Path) -> None:
    shutil.copy(unbroken / "best.pt", broken_off / "resume.pt")
    with pytest.raises(CheckpointError, match="sd-defects classifier"):
        load_resume_state(broken_off / "resume.pt")


def test_moved_weights_are_known_by_their_content_and_changed_ones_too(
    images: Path, unbroken: Path, tmp_path: Path
) -> None:
    shutil.copy(unbroken / "best.pt", tmp_path / "a.pt")
    config = settings(epochs=1, weights=str(tmp_path / "a.pt"))
    train(TrainingJob(images, tmp_path / "run", config), progress=False)
    (tmp_path / "a.pt").rename(tmp_path / "b.pt")
    moved = settings(epochs=1, weights=str(tmp_path / "b.pt"))
    assert train(TrainingJob(images, tmp_path / "run", moved), progress=False)[0].was_there
    shutil.copy(unbroken / "last.pt", tmp_path / "b.pt")
    if load_checkpoint(unbroken / "last.pt").epoch == load_checkpoint(unbroken / "best.pt").epoch:
        content = torch.load(tmp_path / "b.pt", weights_only=True)
        torch.save({**content, "val_macro_f1": 0.0}, tmp_path / "b.pt")
    with pytest.raises(SettingsError, match=r"finished run with weights_sha256"):
        train(TrainingJob(images, tmp_path / "run", moved), progress=False)


OPTIONS = ["--epochs", "3", "--imgsz", "32", "--batch-size", "8", "--device", "cpu", "--images-per-epoch", "18"]
PAUSE_IN_THE_THIRD_EPOCH = """
import sys, trainer.training.loop as fit
from trainer.cli import cli
real, steps = fit.TrainingSession.step, []
def step(self, batch):
    steps.append(1)
    if len(steps) == 8:
        print("third epoch", flush=True)
        sys.stdin.readline()
    return real(self, batch)
fit.TrainingSession.step = step
cli(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a single process")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_process_is_gone_on_with_by_the_same_command(
    stop: signal.Signals, images: Path, unbroken: Path, tmp_path: Path
) -> None:
    arguments = ["train", str(images), "-o", str(tmp_path / "run"), *OPTIONS]
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSE_IN_THE_THIRD_EPOCH, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "third epoch\n"
    process.send_signal(stop)
    _, words = process.communicate("go on\n", timeout=120)
    assert "Traceback" not in words
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert f"stopped; epochs 1 to 2 are saved in {tmp_path / 'run'}, and the same command goes on" in words
    assert len(read_history(tmp_path / "run").epochs) == 2
    assert not list((tmp_path / "run").glob(".*"))
    assert train(TrainingJob(images, tmp_path / "run", settings()), progress=False)[0].resumed_after == 2
    assert_same_run(tmp_path / "run", unbroken)


def test_an_interrupt_before_the_first_epoch_says_so() -> None:
    assert str(interrupted(Path("run"), 0)).startswith("stopped before the first epoch of run was finished")
    assert "epoch 1 is saved" in str(interrupted(Path("run"), 1))
