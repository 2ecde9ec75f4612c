"""Two processes that torchrun started do what one does in two parts; all parts of this ran in one launch."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdcore.errors import SettingsError
from trainer.config import TrainingJob
from trainer.evaluation.history import read_history
from trainer.models.checkpoints import load_checkpoint
from trainer.training.sampling import EpochOrder
from trainer.training.train import train

TwoProcesses = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = Path(__file__).parents[2] / "support" / "torchrun_together.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, two_processes: TwoProcesses) -> Path:
    """What the two processes left; see tests/support/torchrun_together.py."""
    root = tmp_path_factory.mktemp("一起")
    rng = np.random.default_rng(0)
    for part, count in (("train", 7), ("val", 3)):
        for label, level in (("Normal", 60), ("dirt", 130), ("划痕", 190)):
            for number in range(count - (part == "val" and label == "dirt")):
                path = root / "data" / part / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(level - 40, level + 40, (36, 36, 3)).astype(np.uint8)).save(path)
    done = two_processes(SCRIPT, root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def facts(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the first and the second process saw."""
    one, other = (json.loads((folder / f"facts-{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1))
    return one, other


@pytest.fixture(scope="module")
def script(folder: Path) -> ModuleType:
    """The settings and orders of the script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", "0")
        found = importlib.util.spec_from_file_location("torchrun_together", SCRIPT)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
    return module


def figures(run: Path) -> list[dict[str, float]]:
    with (run / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: float(v) for k, v in row.items() if k not in ("images_per_s", "seconds")} for row in rows]


def test_two_processes_give_the_weights_of_one_that_adds_up_the_same_halves(
    folder: Path, script: ModuleType, tmp_path: Path
) -> None:
    train(TrainingJob(folder / "data", tmp_path / "one", script.settings(accumulate=2)), progress=False)
    for name in ("best.pt", "last.pt"):
        one, two = (load_checkpoint(run / name) for run in (tmp_path / "one", folder / "whole"))
        floats = [key for key, tensor in one.state.items() if tensor.is_floating_point()]
        assert len(floats) > 100
        assert max((one.state[key] - two.state[key]).abs().max().item() for key in floats) < 1e-4
    for one_epoch, same_epoch in zip(figures(tmp_path / "one"), figures(folder / "whole"), strict=True):
        assert same_epoch == pytest.approx(one_epoch, abs=1e-5)
    # Parts matter: whole batches have other statistics, and so come to other weights.
    train(TrainingJob(folder / "data", tmp_path / "plain", script.settings()), progress=False)
    plain, two = (load_checkpoint(run / "last.pt").state for run in (tmp_path / "plain", folder / "whole"))
    assert max((plain[key] - two[key]).abs().max().item() for key in floats) > 1e-3


def test_both_return_what_the_first_one_wrote(facts: tuple[dict[str, Any], ...]) -> None:
    one, other = facts
    assert one["results"] == other["results"]
    assert [result["epochs"] for result in one["results"]] == [2]


@pytest.mark.parametrize("name", ["plain", "balanced", "share"])
def test_each_process_sees_its_own_part_of_the_same_order(
    name: str, facts: tuple[dict[str, Any], ...], script: ModuleType
) -> None:
    changes, labels, added = script.ORDERS[name]
    config = script.settings(**changes)
    rng = torch.Generator().manual_seed(config.seed)
    order = EpochOrder(
        labels,
        batch_size=config.images_a_step,
        images_per_epoch=config.images_per_epoch,
        balance=config.balance,
        rng=rng,
        added_share=config.generated_share,
        added=added or [],
        parts=2,
    )
    expected = []
    for _ in range(2):
        for batch in order.next_epoch():
            expected.append(batch.tolist())
            script.session_module.draw_variation(len(batch), config.augment, rng)  # draws from the same rng
    one, other = (each["orders"][name] for each in facts)
    assert [first + second for first, second in zip(one, other, strict=True)] == expected
    assert all(abs(len(first) - len(second)) <= 1 for first, second in zip(one, other, strict=True))


def test_validation_images_are_shared_out_and_each_counts_once(facts: tuple[dict[str, Any], ...], folder: Path) -> None:
    images = len(list((folder / "data" / "val").glob("*/*.png")))
    assert images == 8
    assert [each["validated"] for each in facts] == [[4, 4], [4, 4]]
    for each in facts:  # of 1, 2 and 5 rows: the second process has none of the first
        assert each["gathered"] == {str(n): torch.arange(2.0 * n).view(n, 2).tolist() for n in (1, 2, 5)}


def test_a_training_gone_on_with_ends_with_the_bits_of_an_unbroken_one(
    facts: tuple[dict[str, Any], ...], folder: Path
) -> None:
    assert [each["broken off"].partition(":")[0] for each in facts] == ["OSError", "ReportedElsewhere"]
    assert [each["resumed after"] for each in facts] == [[1], [1]]
    assert [each["there"] for each in facts] == [[True], [True]]
    for name in ("best.pt", "last.pt"):
        assert (folder / "whole" / name).read_bytes() == (folder / "gone on" / name).read_bytes()
    assert figures(folder / "whole") == figures(folder / "gone on")
    assert {path.name for path in (folder / "whole").iterdir()} == {
        path.name for path in (folder / "gone on").iterdir()
    }


def test_another_number_of_processes_does_not_go_on(folder: Path, script: ModuleType) -> None:
    with pytest.raises(
        SettingsError, match=r"left: was interrupted with 2 process\(es\), here there are 1, .*--overwrite"
    ):
        train(TrainingJob(folder / "data", folder / "left", script.settings()), progress=False)
    assert (folder / "left" / "resume.pt").is_file()


def test_a_finished_run_is_known_by_one_process_too(folder: Path, script: ModuleType) -> None:
    assert train(TrainingJob(folder / "data", folder / "whole", script.settings()), progress=False)[0].was_there


def test_stopping_early_is_decided_once(facts: tuple[dict[str, Any], ...]) -> None:
    one, other = facts
    assert one["stopped"] == other["stopped"]
    assert one["stopped"] == [[1, 2, "seen enough"], [2, 2, "seen enough"]]


def test_what_is_refused_is_said_by_one_process_alone(facts: tuple[dict[str, Any], ...], folder: Path) -> None:
    one, other = (each["refused"] for each in facts)
    assert one["batch"].startswith("SettingsError: batch_size: 9 images a step do not make 2 processes of two or more")
    assert one["sync_bn"].startswith("SettingsError: sync_bn: found the CPU; it is for several processes on CUDA")
    assert one["few"].startswith(
        "SettingsError: accumulate: 2 parts a step, over all processes, need 4 images an epoch"
    )
    assert "nowhere: no folder train/ in it" in one["folder"]
    assert other["other"].startswith("RankFailed: process 1 of 2 (counted from 0): lr: 0.002 here, 0.001 in the first")
    silent = [other[name] for name in ("batch", "sync_bn", "few", "folder")] + [one["other"]]
    assert all(words.startswith("ReportedElsewhere") for words in silent)
    assert not (folder / "no").exists()


def test_images_are_decoded_once_a_machine_and_leave_no_file_but_what_is_too_large(
    facts: tuple[dict[str, Any], ...],
) -> None:
    one, other = facts
    assert one["lent"] == other["lent"]
    assert one["kept"] == other["kept"]
    assert (one["lent"][0], one["kept"][0]) == ("shared file", "mapped file")
    assert one["lent"][1] == one["kept"][1]
    assert (one["lent files"], one["kept files"]) == (0, 1)


def test_nothing_is_left_that_would_outlive_the_collectives(facts: tuple[dict[str, Any], ...]) -> None:
    # Torch deadlocks now and then where it does; a training that was broken off is among these.
    assert [each["wrapped"] for each in facts] == [[0] * 10, [0] * 10]


TOGETHER_ENDS_SCRIPT = Path(__file__).parents[2] / "support" / "torchrun_ends.py"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to pass on")
@pytest.mark.parametrize(
    ("what", "codes", "words"),
    [
        (
            "stop",
            {"0": "130", "1": "130"},
            "stopped; epochs 1 to {epochs} are saved in {run}, and the same command goes on",
        ),
        ("fail", {"0": "1", "1": "1"}, "Error: process 1 of 2 (counted from 0): this picture cannot be had here"),
        ("die", {"0": "1"}, "Error: process 0 of 2 (counted from 0): another one died without a report"),
    ],
)
def test_all_end_with_one_line(
    what: str, codes: dict[str, str], words: str, data: Path, tmp_path: Path, two_processes: TwoProcesses
) -> None:
    done = two_processes(TOGETHER_ENDS_SCRIPT, what, tmp_path)
    assert done.returncode == 1, done.stderr
    assert {path.name[-1]: path.read_text(encoding="utf-8") for path in tmp_path.glob("exit-*")} == codes
    lines = done.stderr.splitlines()
    said = [line for line in lines if line.startswith(("Error:", "stopped"))]
    assert len(said) == 1
    epochs = len(read_history(tmp_path / "run").epochs)
    assert said[0].startswith(words.format(run=tmp_path / "run", epochs=epochs))
    # The word to stop takes its way through torchrun, and the training goes on until it comes.
    assert epochs >= 2 if what == "stop" else epochs == 2
    # Torchrun's own words have a traceback of its own, and none of ours.
    assert not [line for line in lines if 'File "' in line and str(Path(__file__).parents[3] / "trainer") in line]
    assert (tmp_path / "run" / "resume.pt").is_file()
