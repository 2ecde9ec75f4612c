"""Every command of `trainer` prints alike: --json, a narrow terminal and a closed pipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import Arguments, check_closed_pipe, check_json, check_narrow, takes_json
from trainer.cli import cli
from trainer.models.predictions import write_predictions

GetArguments = Callable[[str], Arguments]

CLASSES = ("Normal", "open", "焊盘")

COMMANDS = {
    "check": "{data} --no-near --workers 0",
    "compare": "{root}/table.csv {root}/table.csv",
    "counts": "{data}",
    "diagnose": "{run}",
    "evaluate": "{root}/table.csv --validation {root}/other.csv --max-miss-rate 0.3",
    "experiment": "{root}/experiment.toml --dry-run --processes 1",
    "explain": "{run} {data}/test -o {new} --limit 1 --batch-size 1 --device cpu",
    "export": "{run} --format torchscript -o {new}.torchscript",
    "predict": "{run} {data}/test -o {new}.csv --device cpu --workers 0 --batch-size 8",
    "split": "{data}/train {new} --val 0.25 --test 0.25",
    "train": "{data} -o {run} --epochs 2 --imgsz 32 --batch-size 8 --seed 3 --device cpu",
}
EXPERIMENT = """
data = "{data}"
output = "out"
primary = "accuracy"
seeds = 1
[train]
epochs = 1
imgsz = 32
batch_size = 8
device = "cpu"
[[arm]]
kind = "baseline"
[[arm]]
kind = "classical"
[[arm]]
kind = "generated"
sets = ["{output}"]
"""


@pytest.fixture
def arguments_of(
    trained_run: tuple[Path, Path], data: Path, make_generated: Callable[..., Path], tmp_path: Path
) -> GetArguments:
    """Arguments of a command by its name, on the run that the session has trained or on a table of predictions."""
    for name, seed in (("table.csv", 1), ("other.csv", 2)):
        probabilities = np.random.default_rng(seed).dirichlet((1, 1, 1), 60)
        labels = [CLASSES[place % 3] for place in range(60)]
        write_predictions(tmp_path / name, [f"{place}.png" for place in range(60)], labels, CLASSES, probabilities)
    sources = [(label, data / "train" / label / f"{n}.png") for label in ("划痕", "dirt") for n in (1, 2)]
    experiment = EXPERIMENT.format(data=data.as_posix(), output=make_generated(sources).as_posix())
    (tmp_path / "experiment.toml").write_text(experiment, encoding="utf-8")
    paths = dict(zip(("run", "data"), trained_run, strict=True), root=tmp_path)
    numbers = itertools.count()

    def arguments_of(name: str) -> Arguments:
        def arguments() -> list[str]:
            return [name, *COMMANDS[name].format(**paths, new=tmp_path / f"new-{next(numbers)}").split()]

        return arguments

    return arguments_of


def test_every_command_is_here() -> None:
    assert set(COMMANDS) == set(cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_narrow_terminal_loses_nothing(
    name: str, arguments_of: GetArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_narrow(cli, arguments_of(name), monkeypatch)


@pytest.mark.parametrize("name", sorted(takes_json(cli)))
def test_json_is_all_that_is_printed(name: str, arguments_of: GetArguments) -> None:
    check_json(cli, arguments_of(name))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_pipe_ends_quietly(name: str, arguments_of: GetArguments, capsys: pytest.CaptureFixture[str]) -> None:
    check_closed_pipe(cli, arguments_of(name), capsys)
