"""A running server, and a saved model so small that a step takes milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdclient.serve.app import running_server
from sdclient.serve.diffusion_engine import DiffusionEngine, load_engine
from tests.support.engines import make_model
from tests.support.serve_api import Api


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running_server() as server:
        caller = Api(server.url)
        yield caller
        caller.session.close()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of colour images, as `generator train` saves it. Not to be changed: copy it."""
    return make_model(tmp_path_factory.mktemp("model"), colour=True, steps=2)


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> DiffusionEngine:
    return load_engine(model_folder, device="cpu", threads=1)


@pytest.fixture(scope="session")
def grey_engine(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    """The engine of a grey model that has learned a little: clients refuse noise."""
    return load_engine(make_model(tmp_path_factory.mktemp("grey"), colour=False, steps=80), device="cpu", threads=1)
