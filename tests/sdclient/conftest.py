"""A scripted WebUI: replies for a client test, built by hand; a folder of sources; transplants of drawn defects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from pytest_httpserver import HTTPServer

from sdclient.client import RetryPolicy, WebUI
from sdclient.compose import ComposeSettings, share_evenly
from sdclient.sources import discover
from tests.support.compose_material import Material, disc, surface, to_image
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


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Two classes, 漏铜 with sources 1 and 3 and pit with 2, in colour, 64 x 64 px; six good images, 80 x 72 px."""
    made = Material(tmp_path)
    for seed, (name, number, level) in enumerate([("漏铜", 1, 240), ("漏铜", 3, 200), ("pit", 2, 30)]):
        levels = surface(seed)
        hole = disc((64, 64), (30 + seed, 34), 5)
        levels[hole] = level
        made.add_defect(name, number, to_image(levels), disc((64, 64), (30 + seed, 34), 6))
    made.good.mkdir()
    for number in range(1, 7):
        to_image(surface(100 + number, (80, 72))).save(made.good / f"{number}.png")
    return made


@pytest.fixture
def composed(material: Material) -> Callable[..., Material]:
    """Make so many images a class; settings replace the usual ones."""

    def run(per_class: int = 2, **settings: object) -> Material:
        composer = material.composer(ComposeSettings.checked(settings))
        list(composer.run(share_evenly(discover(material.defects), per_class)))
        return material

    return run
