"""A fake WebUI that answers img2img with images of the asked size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from sdclient.client import WebUI
from sdclient.testing import webui_server as webui_server
from tests.support.fake_webui import FakeWebUI


@pytest.fixture(scope="session")
def threaded_server() -> Iterator[HTTPServer]:
    """Threaded, as a WebUI is: requests wait inside it for their turn."""
    with HTTPServer(threaded=True) as server:
        yield server


@pytest.fixture
def fake(threaded_server: HTTPServer) -> FakeWebUI:
    threaded_server.clear()
    return FakeWebUI(threaded_server)


@pytest.fixture
def second() -> Iterator[FakeWebUI]:
    """Another server."""
    with HTTPServer(threaded=True) as server:
        yield FakeWebUI(server)


@pytest.fixture
def webui(fake: FakeWebUI) -> Iterator[WebUI]:
    with WebUI(fake.url) as client:
        yield client


@pytest.fixture(autouse=True)
def _quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was set aside is probed at once, not after seconds."""
    monkeypatch.setattr("sdclient.batch.servers.FIRST_PROBE_S", 0.02)
