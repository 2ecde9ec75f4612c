"""The examples are scripts, not a package: put their folder on the path, and name the marker of the long one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "chain: runs the whole chain in processes of its own; about a minute")
