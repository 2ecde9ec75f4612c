"""Our checkpoints."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.errors import CheckpointError
from trainer.models.checkpoints import find_checkpoint, load_checkpoint, load_classifier, save_checkpoint
from trainer.models.initial_weights import load_initial_weights
from trainer.models.yolov5 import build_classifier


@pytest.fixture
def best(trained_run: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copy(trained_run[0] / "best.pt", tmp_path / "best.pt")
    return tmp_path / "best.pt"


def test_a_checkpoint_is_plain_tensors_and_values(best: Path) -> None:
    content = torch.load(best, weights_only=True)
    assert content["classes"] == ["Normal", "划痕"]
    assert content["imgsz"] == 32
    assert content["model"] == "yolov5n-cls"


def test_saving_what_was_loaded_gives_the_same_file(best: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "again.pt", load_checkpoint(best))
    assert (tmp_path / "again.pt").read_bytes() == best.read_bytes()


def test_a_missing_checkpoint_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder or file; expected a run"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no best\.pt in it"):
        find_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "nowhere.pt")


def test_a_folder_of_seeds_names_them(best: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / "runs" / f"seed-{seed}").mkdir(parents=True)
        shutil.copy(best, tmp_path / "runs" / f"seed-{seed}" / "best.pt")
    with pytest.raises(CheckpointError, match=r"holds 2 runs .*seed-0, seed-1"):
        find_checkpoint(tmp_path / "runs")


@pytest.mark.parametrize("kept", [0, 10, 1000, -200])
def test_a_file_cut_short_is_damaged(best: Path, kept: int) -> None:
    best.write_bytes(best.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"best\.pt"):
        load_checkpoint(best)


def test_a_file_of_words_is_no_checkpoint(best: Path) -> None:
    best.write_text("weights, honestly", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"best\.pt"):
        load_checkpoint(best)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_code_in_a_file_is_never_run(best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, best)
    with pytest.raises(CheckpointError, match="whole pickled model"):
        load_checkpoint(best)
    best.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        load_checkpoint(best)
    assert not (tmp_path / "exploded").exists()


def test_a_whole_pickled_model_is_refused(best: Path) -> None:
    torch.save({"model": nn.Linear(2, 2)}, best)
    with pytest.raises(CheckpointError, match="whole pickled model"):
        load_checkpoint(best)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"format": "sd-defects classifier", "version": 1}])
def test_foreign_tensors_are_refused(best: Path, content: object) -> None:
    torch.save(content, best)
    with pytest.raises(CheckpointError, match=r"not a checkpoint of this program|missing or malformed"):
        load_checkpoint(best)


def test_a_newer_version_is_refused(best: Path) -> None:
    torch.save({**torch.load(best, weights_only=True), "version": 2}, best)
    with pytest.raises(CheckpointError, match="version 2, this program reads 1"):
        load_checkpoint(best)


def test_weights_that_do_not_fit_their_model_are_refused(best: Path) -> None:
    save_checkpoint(best, dataclasses.replace(load_checkpoint(best), model="yolov5s-cls"))
    with pytest.raises(CheckpointError, match="do not fit yolov5s-cls with 2 classes"):
        load_classifier(best)


def test_loading_leaves_the_callers_chance_alone(best: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_classifier(best)
    assert torch.equal(torch.rand(3), expected)


def test_starting_weights_keep_the_head_only_for_the_same_classes(best: Path) -> None:
    trained = load_checkpoint(best).state
    head = "model.9.linear.weight"
    network = build_classifier("yolov5n-cls", 2)
    load_initial_weights(network, best, model="yolov5n-cls", classes=("Normal", "划痕"))
    assert all(torch.equal(network.state_dict()[name], trained[name]) for name in trained)
    for classes in (("Normal", "dirt"), ("Normal", "dirt", "划痕")):
        network = build_classifier("yolov5n-cls", len(classes))
        fresh = network.state_dict()[head].clone()
        load_initial_weights(network, best, model="yolov5n-cls", classes=classes)
        assert torch.equal(network.state_dict()[head], fresh)
        assert torch.equal(network.state_dict()["model.0.conv.weight"], trained["model.0.conv.weight"])
    with pytest.raises(CheckpointError, match="add --model yolov5n-cls"):
        load_initial_weights(build_classifier("yolov5s-cls", 2), best, model="yolov5s-cls", classes=("Normal", "划痕"))
