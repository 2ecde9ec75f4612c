"""The live suite as its user runs it, in a process of its own against a server it did not start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdclient.testing import WebUIServer, serve_webui

ROOT = Path(__file__).parents[3]


def run_live(server: WebUIServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", "tests/live", "-p", "no:cacheprovider", "--no-header", "-q"]
    return subprocess.run(
        [*command, "--webui-url", server.url, "--live-size", "64", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.fixture
def guarded() -> WebUIServer:
    with serve_webui(api_auth="name:geheim", job_ms=30) as server:
        yield server


def test_it_passes_says_what_it_skipped_and_puts_options_back(guarded: WebUIServer) -> None:
    with guarded.client() as webui:
        webui.set_options({"samples_format": "webp", "CLIP_stop_at_last_layers": 2})
        before = webui.call("GET", "/sdapi/v1/options")
        done = run_live(guarded, "--webui-auth", "name:geheim")
        assert done.returncode == 0, done.stdout + done.stderr
        assert webui.call("GET", "/sdapi/v1/options") == before
    summary = done.stdout.partition(f"live suite against {guarded.url}")[2]
    assert "0 failed, 0 error, 2 skipped" in summary
    assert "sd-modules" in summary
    assert "skipped test_a_picture_is_put_into_words" in summary
    assert "geheim" not in done.stdout
    guarded.assert_no_job_doubled()


def test_options_are_put_back_though_every_job_fails(guarded: WebUIServer) -> None:
    with guarded.client() as webui:
        webui.set_options({"samples_format": "webp"})
        before = webui.call("GET", "/sdapi/v1/options")
        guarded.faults.out_of_memory(times=1000)
        done = run_live(guarded, "--webui-auth", "name:geheim", "-k", "lossy or runner or joint")
        assert done.returncode == 1
        assert "ServerOutOfMemory" in done.stdout
        assert webui.call("GET", "/sdapi/v1/options") == before
    assert guarded.faults.used > 0


def test_an_address_where_nothing_listens_is_one_clear_error(webui_server: WebUIServer) -> None:
    with webui_server.down():
        done = run_live(webui_server, "-k", "recognised", "--live-wait", "0")
    assert done.returncode == 1
    assert "nothing answers there" in done.stdout
