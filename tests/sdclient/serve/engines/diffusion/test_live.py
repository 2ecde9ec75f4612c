"""The live suite, as its user runs it, against the diffusion engine; and this project's own client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from sdclient.batch import BatchRunner, GenerationSettings
from sdclient.client import WebUI
from sdclient.client.dialects import Product
from sdclient.errors import ServerOutOfMemory
from sdclient.models import Txt2ImgRequest
from sdclient.serve.app import running_server
from sdclient.serve.diffusion_engine import DiffusionEngine
from sdclient.sources import discover
from tests.support.engines import CPU, drawn, known_model

ROOT = Path(__file__).parents[5]


def test_the_live_suite_passes(grey_engine: DiffusionEngine) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    with running_server(engine=grey_engine, with_page=True, api_auth="name:geheim") as server:
        command = [sys.executable, "-m", "pytest", "tests/live", "-p", "no:cacheprovider", "--no-header", "-q"]
        done = subprocess.run(
            [*command, "--webui-url", server.url, "--webui-auth", "name:geheim", "--live-size", "64"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=1200,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.partition(f"live suite against {server.url}")[2]
    assert "0 failed, 0 error, 2 skipped" in summary


def test_memory_that_runs_out_is_told_as_a_webui_tells_it() -> None:
    model = known_model()

    def fails(*arguments: object, **named: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    model.network.forward = fails  # type: ignore[method-assign]
    with running_server(engine=DiffusionEngine(model, device=CPU)) as server, WebUI(server.url) as webui:
        with pytest.raises(ServerOutOfMemory):
            webui.txt2img(Txt2ImgRequest(prompt="high", steps=2, width=64, height=64))
        assert webui.progress().state.job_count == 0


def test_a_batch_of_this_client_runs_at_the_models_own_size(grey_engine: DiffusionEngine, tmp_path: Path) -> None:
    (tmp_path / "sources" / "open").mkdir(parents=True)
    drawn("open", 1, colour=False).resize((40, 40)).save(tmp_path / "sources" / "open" / "1.png")
    with running_server(engine=grey_engine) as server, WebUI(server.url) as webui:
        assert webui.kind.product is Product.EMBEDDED
        settings = GenerationSettings(prompt="{class}", steps=6, denoising_strength=0.4, cfg_scale=2)
        runner = BatchRunner(webui, tmp_path / "sources", tmp_path / "out", settings)
        made = list(runner.run([(source, 2) for source in discover(tmp_path / "sources")]))
    assert len(made) == 2
    for record in made:
        assert record.engine == grey_engine.name
        assert record.model == grey_engine.model.title
        assert record.asked["prompt"] == "open"
        assert record.used["extra_generation_params"]["Class"] == "open"
        assert (record.asked["width"], record.asked["height"]) == (64, 64)  # the least that the client asks for
        with Image.open(tmp_path / "out" / record.file) as image:
            assert (image.size, image.mode) == ((40, 40), "L")
