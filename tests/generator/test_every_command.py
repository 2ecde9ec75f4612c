"""Every command of `generator` prints alike: --json, a narrow terminal and a closed pipe. None trains here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from generator.cli import cli
from generator.diffusion.train import TrainResult
from generator.lora.train import LoraResult
from generator.report.results import KeepChangeAnswer
from generator.report.stats import Share
from tests.support.commands import check_closed_pipe, check_json, check_narrow, takes_json

COMMANDS = {
    "lora": "data --base base.safetensors -o defects.safetensors --steps 2",
    "report": "model data --classifier best.onnx",
    "train": "data -o model --steps 2",
}


@pytest.fixture(autouse=True)
def _results(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the commands print is given, not trained."""
    trained = TrainResult(Path("model"), 200, 1.5, 0.123, 0.456, 150, 12.3, 0, False, ("3 pictures 图像 are blank",))
    adapted = LoraResult(Path("defects.safetensors"), "SD 1.x", 12, {"裂纹": 12}, 200, 90.0, 0.4, 0.2, False)
    share = Share(20, 24, 0.63, 0.95)
    findings = SimpleNamespace(
        answer=KeepChangeAnswer((0.25, 0.5), share, share, share, share, 0.9, 0.5),
        classes=(),
        notes=("the validation images 验证图像 are few",),
        as_json=lambda: {"model": "模型"},
    )
    monkeypatch.setattr("generator.diffusion.train.train", lambda *_, **__: trained)
    monkeypatch.setattr("generator.lora.train.train_lora", lambda *_, **__: adapted)
    monkeypatch.setattr("generator.report.run.make_report", lambda *_, **__: findings)
    monkeypatch.setattr("generator.report.run.write_report", lambda *_: [Path("report.html"), Path("sheet.png")])


def arguments_of(name: str) -> Callable[[], list[str]]:
    return lambda: [name, *COMMANDS[name].split()]


def test_every_command_is_here() -> None:
    assert set(COMMANDS) == set(cli.commands) == takes_json(cli)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_narrow_terminal_loses_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_narrow(cli, arguments_of(name), monkeypatch)


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_all_that_is_printed(name: str) -> None:
    check_json(cli, arguments_of(name))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_pipe_ends_quietly(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_closed_pipe(cli, arguments_of(name), capsys)
