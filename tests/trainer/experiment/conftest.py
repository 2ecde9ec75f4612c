"""An experiment on drawn images, and a stand-in for training that writes what a cell leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.experiment_work import FakeWork
from trainer.experiment.config import ExperimentConfig, make_experiment

MakeExperiment = Callable[..., ExperimentConfig]

TRAIN = {"epochs": 1, "imgsz": 32, "batch_size": 8, "device": "cpu"}


sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))  # test_judge imports a benchmark


@pytest.fixture
def generated_folder(data: Path, make_generated: Callable[..., Path]) -> Path:
    """Two images of each of five sources of two defect classes."""
    sources = [(label, data / "train" / label / f"{n}.png") for label in ("划痕", "dirt") for n in range(1, 6)]
    return make_generated(sources)


@pytest.fixture
def make(tmp_path: Path, data: Path, generated_folder: Path) -> MakeExperiment:
    """An experiment with all kinds of arms, 2 seeds; settings replace others."""

    def make_config(**settings: Any) -> ExperimentConfig:
        values = {
            "data": "data",
            "output": "out",
            "primary": "macro_f1",
            "seeds": 2,
            "train": TRAIN,
            "arm": [
                {"kind": "baseline"},
                {"kind": "oversampling"},
                {"kind": "classical"},
                {"kind": "generated", "sets": ["output"]},
            ],
        }
        return make_experiment({**values, **settings}, origin="experiment.toml", folder=tmp_path)

    return make_config


@pytest.fixture
def fake() -> FakeWork:
    """The stand-in; it notes the cells it worked."""
    return FakeWork()
