"""A scripted WebUI: the replies a client test needs, built by hand; and a folder of sources."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pytest_httpserver import HTTPServer

from sdclient import RetryPolicy, WebUI


def png_bytes(size: tuple[int, int] = (64, 64), mode: str = "RGB", color: Any = None) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color if color is not None else 0).save(buffer, format="PNG")
    return buffer.getvalue()


def reply_body(
    *, images: int = 1, size: tuple[int, int] = (64, 64), seed: int = 42, data: bytes | None = None, **info: Any
) -> dict[str, Any]:
    """A reply of img2img to the request that `plain_request` makes, with changes."""
    image = data if data is not None else png_bytes(size)
    full_info = {
        "all_seeds": [seed + i for i in range(images)],
        "infotexts": [f"Steps: 20, Sampler: Euler, Seed: {seed + i}" for i in range(images)],
        "seed": seed,
        "sampler_name": "Euler",
        "steps": 20,
        "cfg_scale": 7.0,
        "width": size[0],
        "height": size[1],
        "denoising_strength": 0.25,
        "sd_model_name": "model",
        "sd_model_hash": "abc123",
        "index_of_first_image": 0,
        "extra_generation_params": {"Denoising strength": 0.25},
        "version": "1.10.1",
        **info,
    }
    encoded = base64.b64encode(image).decode()
    return {"images": [encoded] * images, "parameters": {}, "info": json.dumps(full_info)}


SAMPLERS = [
    {"name": "Euler", "aliases": ["k_euler"], "options": {}},
    {"name": "Euler a", "aliases": ["k_euler_a"], "options": {}},
    {"name": "DPM++ SDE", "aliases": ["k_dpmpp_sde"], "options": {"scheduler": "karras"}},
]
SCHEDULERS = [
    {"name": "automatic", "label": "Automatic", "aliases": None},
    {"name": "karras", "label": "Karras", "aliases": None},
    {"name": "sgm_uniform", "label": "SGM Uniform", "aliases": ["SGMUniform"]},
]


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
