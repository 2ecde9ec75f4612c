from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
import requests
from click.testing import CliRunner

from sdclient.cli import cli
from sdclient.serve import app


def test_it_announces_itself_serves_and_stops_on_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sdclient", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        assert first.startswith("sdclient serve: http://127.0.0.1:")
        assert "NOT Stable Diffusion" in second
        url = first.split(": ", 1)[1].strip()
        assert requests.get(f"{url}/sdapi/v1/progress", timeout=20).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_a_taken_port_is_one_line_and_exit_code_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["serve", "--port", str(port)])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert f"port {port}" in result.output


def test_a_password_needs_a_colon() -> None:
    result = CliRunner().invoke(cli, ["serve", "--api-auth", "secret"])
    assert result.exit_code == 2
    assert "USER:PASSWORD" in result.output
    assert "secret" not in result.output


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sdclient.serve.app", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(cli, ["serve", "--port", "0"])
    assert result.exit_code == 1
    assert 'pip install "sd-defects[serve]"' in result.output


@pytest.mark.parametrize(
    ("arguments", "env", "warning", "auth"),
    [
        ([], {}, None, None),
        (["--host", "0.0.0.0"], {}, "it asks for no password", None),
        (["--host", "0.0.0.0"], {"SDCLIENT_SERVE_AUTH": "a:b"}, "other machines can reach", "a:b"),
    ],
)
def test_an_open_address_is_warned_about(
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    env: dict[str, str],
    warning: str | None,
    auth: str | None,
) -> None:
    given = {}
    monkeypatch.setattr(app, "run_until_stopped", lambda bound, **options: given.update(options))
    result = CliRunner().invoke(cli, ["serve", "--port", "0", "--job-ms", "5", "--image-ms", "2", *arguments], env=env)
    assert result.exit_code == 0
    assert given == {"engine": None, "job_ms": 5.0, "image_ms": 2.0, "api_auth": auth, "with_page": False}
    assert ("warning" in result.output) == (warning is not None)
    assert warning is None or warning in result.output


def test_its_page_is_there_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    monkeypatch.setattr(app, "run_until_stopped", lambda bound, **options: given.update(options))
    assert CliRunner().invoke(cli, ["serve", "--port", "0", "--with-page"]).exit_code == 0
    assert given["with_page"] is True


@pytest.mark.parametrize("arguments", [["--engine", "diffusion"], ["--model", "somewhere"]])
def test_a_diffusion_engine_needs_its_model_and_the_classical_one_none(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, ["serve", *arguments])
    assert result.exit_code == 2
    assert "--engine diffusion and --model MODEL go together" in result.output


def test_a_model_that_is_not_there_is_one_line() -> None:
    result = CliRunner().invoke(cli, ["serve", "--engine", "diffusion", "--model", "nowhere"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "nowhere: no such folder; expected one that 'generator train' wrote" in result.output
