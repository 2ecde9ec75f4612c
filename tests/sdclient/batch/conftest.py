"""A fake WebUI that answers img2img with images of the asked size, and a judge whose limits a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from pytest_httpserver import HTTPServer

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, RunSpec
from sdclient.batch.strength import AdaptiveStrength, StrengthPolicy
from sdclient.batch.until_accepted import AcceptanceLoop
from sdclient.client import WebUI
from sdclient.masks.mask import Unmasked
from sdclient.sources import discover
from sdclient.testing import WebUIServer
from sdclient.testing import webui_server as webui_server
from tests.support.acceptance import Limits, MakeLoop
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


@pytest.fixture
def sources_folder(tmp_path: Path) -> Path:
    """Class 焊盘 with two sources, pit with one."""
    folder = tmp_path / "sources"
    for name in ("焊盘/1", "焊盘/2", "pit/7"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 40).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def make_loop(webui_server: WebUIServer, sources_folder: Path, tmp_path: Path) -> Iterator[MakeLoop]:
    """Makes a loop over all sources into `tmp_path / "out"`."""

    def make(
        limits: Limits,
        *,
        per_source: int = 2,
        budget: float = 6,
        strengths: StrengthPolicy | None = None,
        masks: Path | None = None,
        unmasked: Unmasked = "refuse",
        **settings: object,
    ) -> AcceptanceLoop:
        spec = RunSpec.from_settings(
            GenerationSettings.checked({"native_px": 64, "batch_size": 2, "steps": 4, **settings})
        )
        found = discover(sources_folder)
        output = tmp_path / "out"
        webui = clients.enter_context(webui_server.client())
        runner = BatchRunner(
            webui, sources_folder, output, spec, GenerateOptions(check=None, tries=2, masks=masks, unmasked=unmasked)
        )
        return AcceptanceLoop(
            runner,
            output,
            spec,
            [(source, per_source) for source in found],
            strengths or AdaptiveStrength(spec, found, low=0.15, high=0.45),
            parameters={"strength_range": [0.15, 0.45]},
            budget=budget,
            open_judge=limits.open,
        )

    with ExitStack() as clients:
        yield make
