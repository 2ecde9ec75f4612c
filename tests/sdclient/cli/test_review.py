from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from sdclient.cli import cli
from sdclient.manifest import Manifest
from sdcore.cli import Output, open_page


def test_it_tells_its_address_serves_and_says_at_the_end_what_was_decided(tmp_path: Path) -> None:
    Manifest(tmp_path, create=True).close()
    with subprocess.Popen(
        [sys.executable, "-m", "sdclient", "review", str(tmp_path), "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = json.loads(process.stdout.readline())["url"]
        with requests.Session() as session:
            assert "<title>Review" in session.get(url, timeout=20).text
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert json.loads(process.stdout.read()) == {"accepted": 0, "rejected": 0, "cleared": 0, "masks": 0}
        assert process.stderr.read() == ""


def test_a_folder_without_a_manifest_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["review", str(tmp_path), "--no-browser"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "no manifest.sqlite here" in result.output


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    import socket

    Manifest(tmp_path, create=True).close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["review", str(tmp_path), "--no-browser", "--port", str(port)])
    assert result.exit_code == 1
    assert f"port {port}" in result.output
    assert "another 'sdclient review'?" in result.output


def test_masks_without_sources_are_one_line(tmp_path: Path) -> None:
    Manifest(tmp_path, create=True).close()
    result = CliRunner().invoke(cli, ["review", str(tmp_path), "--no-browser", "--masks", str(tmp_path / "m")])
    assert result.exit_code == 1
    assert "give it with --sources" in result.output


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith("sdclient.review")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(cli, ["review", str(tmp_path)])
    assert result.exit_code == 1
    assert 'pip install "sd-defects[curate]"' in result.output


def test_the_browser_is_opened_unless_it_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("threading.Thread.start", lambda thread: thread.run())
    open_page(Output(), "sdclient review", open_browser=True)("http://127.0.0.1:1/?token=t")
    open_page(Output(json=True), "sdclient review", open_browser=False)("http://127.0.0.1:2/?token=t")
    assert opened == ["http://127.0.0.1:1/?token=t"]
    first, stop, as_json = capsys.readouterr().out.splitlines()
    assert first == "sdclient review: http://127.0.0.1:1/?token=t"
    assert "Ctrl-C" in stop
    assert json.loads(as_json) == {"url": "http://127.0.0.1:2/?token=t"}
