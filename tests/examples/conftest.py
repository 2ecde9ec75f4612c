"""The examples are scripts, not a package: put their folder on the path, and name the marker of the long one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "chain: runs the whole chain in processes of its own; about a minute")


@pytest.fixture(autouse=True)
def signal_handler_as_before() -> Iterator[None]:
    """A script's `main` turns a polite kill into Ctrl-C; the test process keeps its own way."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
