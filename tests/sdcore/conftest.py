"""A saved diffusion model so small that it is written in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generator.config import TrainConfig
from tests.support.engines import make_model
from tests.support.generator_data import draw_classes, make_tiny_config


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of colour images, as `generator train` saves it. Not to be changed: copy it."""
    return make_model(tmp_path_factory.mktemp("model"), colour=True, steps=2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder `train` of three classes, 22 grey images."""
    return draw_classes(tmp_path / "data" / "train", {"Normal": 10, "open": 6, "裂纹": 6})


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    return make_tiny_config
