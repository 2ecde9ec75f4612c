"""A saved diffusion model so small that it is written in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engines import make_model
from tests.support.generator_data import photos as photos, tiny as tiny


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of colour images, as `generator train` saves it. Not to be changed: copy it."""
    return make_model(tmp_path_factory.mktemp("model"), colour=True, steps=2)
