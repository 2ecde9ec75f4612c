"""The pytest fixture; import it in a `conftest.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .server import WebUIServer, serve_webui


@pytest.fixture
def webui_server() -> Iterator[WebUIServer]:
    """A fresh WebUI for each test, in this process; see `sdclient.testing.WebUIServer`."""
    with serve_webui() as server:
        yield server
