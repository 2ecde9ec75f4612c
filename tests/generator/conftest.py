"""A few drawn images and a network so small that a step takes milliseconds."""

from __future__ import annotations

import pytest
import torch

from tests.support.generator_data import photos as photos, tiny as tiny


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
