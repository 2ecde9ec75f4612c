"""Benchmarks import one another by name, as scripts in one folder do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.lora_models import write_sd1

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))


@pytest.fixture(scope="session")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion 1 as a base model."""
    return Path(write_sd1(tmp_path_factory.mktemp("base") / "sd1"))
