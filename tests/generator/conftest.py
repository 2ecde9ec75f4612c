"""A few drawn images and a network so small that a step takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generator.config import TrainConfig
from tests.support.generator_data import draw_classes, make_tiny_config


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder `train` of three classes, 22 grey images."""
    return draw_classes(tmp_path / "data" / "train", {"Normal": 10, "open": 6, "裂纹": 6})


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    return make_tiny_config


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
