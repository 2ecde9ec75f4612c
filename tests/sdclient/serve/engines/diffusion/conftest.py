"""A saved model so small that a step takes milliseconds, and networks whose answers are known in closed form."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdclient.serve.diffusion_engine import DiffusionEngine, load_engine
from tests.support.engines import make_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of colour pictures, as `generator train` saves it. Not to be changed: copy it."""
    return make_model(tmp_path_factory.mktemp("model"), colour=True, steps=2)


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> DiffusionEngine:
    return load_engine(model_folder, device="cpu", threads=1)


@pytest.fixture(scope="session")
def grey_engine(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    """Of a grey model that has learned a little: clients refuse pictures full of noise."""
    return load_engine(make_model(tmp_path_factory.mktemp("grey"), colour=False, steps=80), device="cpu", threads=1)
