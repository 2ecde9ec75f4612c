from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from generator.cli import cli
from generator.lora.train import LoraResult
from sdcore.errors import OutOfMemory

QUICK = ["--steps", 2, "--size", 64, "--batch", 2, "--rank", 2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["lora", *(str(argument) for argument in arguments)], prog_name="generator")


def test_it_says_what_was_made_and_how_it_is_used(sd1: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    data, output = make_data(), tmp_path / "defects.safetensors"
    words = tmp_path / "captions.toml"
    words.write_text('[class]\nshort = "solder bridge"\n[caption]\nopen = "cut trace, {class}"\n', encoding="utf-8")
    done = run(data, "--base", sd1, "-o", output, "--captions", words, "--caption", "photo, {class}", *QUICK)
    assert done.exit_code == 0, done.output
    assert "Stable Diffusion 1.x: 6 images" in done.stdout
    assert f"--config {tmp_path / 'defects-training' / 'run.toml'}" in done.stdout
    assert output.is_file()
    text = (tmp_path / "defects-training" / "run.toml").read_text(encoding="utf-8")
    assert 'loras = ["defects:0.8"]' in text
    assert '[class."short"]\nprompt = "photo, solder bridge"' in text
    assert '[class."open"]\nprompt = "cut trace, open"' in text
    again = run(data, "--base", sd1, "-o", output, "--captions", words, "--caption", "photo, {class}", *QUICK, "--json")
    assert json.loads(again.stdout)["steps"] == 2  # it was done already


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base", "nowhere"], "--base nowhere: no such file or folder"),
        (["--base", "model.ckpt"], "a pickle, which can run any program"),
        (["--rank", 0], "--rank: found 0; expected a value above 0"),
        (["--size", 500], "--size: found 500; expected a multiple of 64"),
        (["--minutes", -1], "--minutes: found -1.0; expected a value above 0"),
        (["--caption", "{klass}"], "--caption: found {klass}; expected a caption"),
        (["--captions", "none.toml"], "none.toml: captions cannot be read"),
        (["--precision", "bf16", "--device", "cpu"], "--precision bf16: only a CUDA device gains by it"),
        (["-o", "x.pt"], "expected a name that ends in .safetensors"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[Any],
    words: str,
    sd1: Path,
    make_data: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = make_data()
    monkeypatch.chdir(tmp_path)
    Path("model.ckpt").write_bytes(b"\x80\x04.")
    done = run(data, "--base", sd1, "-o", "defects.safetensors", *QUICK, *arguments)
    assert done.exit_code == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("defects.safetensors").exists()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "d/state"), "d/state: the disk is full; free some space"),
        (OutOfMemory("out of memory; give a smaller --micro-batch"), "a smaller --micro-batch"),
        (ModuleNotFoundError("no", name="peft"), 'pip install "sd-defects[diffusion]"'),
    ],
)
def test_trouble_is_one_line(
    failure: BaseException, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("generator.lora.train.train_lora", fail)
    done = run(tmp_path, "--base", "b", "-o", "d.safetensors")
    assert done.exit_code == 1
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_a_stopped_training_says_that_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = LoraResult(tmp_path / "d.safetensors", "SDXL", 6, {"open": 6}, 40, 90.0, 0.2, 0.1, stopped=True)
    monkeypatch.setattr("generator.lora.train.train_lora", lambda *_, **__: stopped)
    done = run(tmp_path, "--base", "b", "-o", "d.safetensors")
    assert done.exit_code == 130
    assert "the same command goes on from there" in done.stdout
