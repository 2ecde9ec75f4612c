from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from generator.cli import cli
from generator.diffusion import train as train_module
from sdcore.progress import Interrupted

SMALL = ["--size", "16", "--widths", "32,32", "--layers", "1", "--batch-size", "4", "--threads", "1"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="generator")


def test_train_prints_what_was_achieved_and_what_comes_next(photos: Path, tmp_path: Path) -> None:
    done = run("train", photos, "-o", tmp_path / "m", "--steps", 2, *SMALL)
    assert done.exit_code == 0, done.output
    assert "2 steps" in done.stdout
    assert "validation loss" in done.stdout
    assert "sdclient serve --engine diffusion --model" in done.stdout
    assert "learns from 19 grey images: Normal 9, open 5, 裂纹 5" in done.stderr
    again = run("train", photos, "-o", tmp_path / "m", "--steps", 2, *SMALL, "--json")
    assert json.loads(again.stdout)["was_there"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no end: give --minutes or --steps"),
        (["--steps", 2, "--size", "20"], "size_px: 20 is not a multiple of 16"),
        (["--steps", 2, "--widths", "a,b"], "expected numbers like 96,128,192"),
        (["--steps", 2, "--val", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line(photos: Path, tmp_path: Path, arguments: list[Any], words: str) -> None:
    done = run("train", photos, "-o", tmp_path / "m", *arguments)
    assert done.exit_code in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "m/resume.pt"), 1, "m/resume.pt: the disk is full; free"),
        (OSError(errno.EACCES, "Permission denied", "m"), 1, "m: Permission denied"),
        (
            Interrupted("stopped after step 40, all of it saved in m"),
            130,
            "stopped after step 40, all of it saved in m",
        ),
        (ModuleNotFoundError("no", name="safetensors"), 1, 'pip install "sd-defects[diffusion]"'),
    ],
)
def test_trouble_is_told_in_one_line(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int, words: str
) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise failure

    monkeypatch.setattr(train_module, "train", fails)
    done = run("train", photos, "-o", tmp_path / "m", "--steps", 2)
    assert done.exit_code == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_help_shows_an_example() -> None:
    assert "generator train data/train -o models/pads --minutes 30" in run("train", "--help").output
