"""A scripted WebUI: the replies a client test needs, built by hand; and a folder of sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from pytest_httpserver import HTTPServer

from sdclient.client import RetryPolicy, WebUI
from tests.support.webui import SAMPLERS, SCHEDULERS


@pytest.fixture
def scripted(httpserver: HTTPServer) -> HTTPServer:
    """A server that lists samplers and schedulers; the test adds what else it answers."""
    httpserver.expect_request("/sdapi/v1/samplers").respond_with_json(SAMPLERS)
    httpserver.expect_request("/sdapi/v1/schedulers").respond_with_json(SCHEDULERS)
    return httpserver


@pytest.fixture
def webui(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebUI]:
    monkeypatch.delenv("SDCLIENT_AUTH", raising=False)
    with WebUI(httpserver.url_for(""), retries=RetryPolicy(attempts=1)) as client:
        yield client


@pytest.fixture
def sources_folder(tmp_path: Path) -> Path:
    """Two classes: 焊盘 with 2 (grey, 96x64) and 10 (colour, 64x64), dirt with 1 (16-bit grey)."""
    folder = tmp_path / "sources"
    (folder / "焊盘").mkdir(parents=True)
    (folder / "dirt").mkdir()
    Image.effect_noise((96, 64), 40).save(folder / "焊盘" / "2.png")
    Image.effect_noise((64, 64), 40).convert("RGB").save(folder / "焊盘" / "10.png")
    Image.new("I;16", (80, 80), 30000).save(folder / "dirt" / "1.png")
    return folder
