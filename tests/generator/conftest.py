"""A few drawn images and a network so small that a step takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generator.config import TrainConfig, make_config
from tests.support.generator_data import TINY, draw_classes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder `train` of three classes, 22 grey images."""
    return draw_classes(tmp_path / "data" / "train", {"Normal": 10, "open": 6, "裂纹": 6})


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    """A config of the smallest network, one thread, four steps; settings may be changed."""

    def made(**changes: Any) -> TrainConfig:
        network = {**TINY, **changes.pop("network", {})}
        usual: dict[str, Any] = {"steps": 4, "batch_size": 4, "threads": 1, "save_every": 2, "warmup_steps": 1}
        return make_config(network=network, **{**usual, **changes})

    return made


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
