"""`sdclient info` against the embedded server, a recorded genuine one, and doubles."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import requests
from click.testing import CliRunner, Result
from pytest_httpserver import HTTPServer

from sdclient.cli import cli
from sdclient.serve import app
from sdclient.serve.app import running_server
from tests.support.server_doubles import A1111_NEW, FORGE, SDNEXT, STRANGER, recorded_a1111, serve


def info(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["info", "--url", url, *arguments])


def rows(result: Result) -> dict[str, str]:
    """First cell of each row of the table -> the rest of the row; lines of wrapped cells are joined."""
    found: dict[str, str] = {}
    last = ""
    for line in result.stdout.splitlines():
        cells = [cell.strip() for cell in line.strip("│┃").split("│")]
        if len(cells) == 3:
            last = cells[0] or last
            found[last] = " ".join([found.get(last, ""), *cells[1:]]).strip()
    return found


def test_the_embedded_server_is_shown_in_a_table() -> None:
    with running_server() as server:
        result = info(server.url)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    shown = rows(result)
    assert shown["address 地址"] == server.url
    assert shown["kind 类型"].startswith("embedded (not Stable Diffusion)")
    assert "DPM++ SDE" in shown["samplers 采样器 (20)"]
    assert "Karras" in shown["schedulers 调度器 (12)"]
    assert shown["models 模型"].startswith("* classical-engine-not-stable-diffusion [")
    assert "GiB used of" in shown["memory 内存"]
    assert shown["samples_format"] == "png"


def test_the_embedded_server_is_shown_as_one_json_document() -> None:
    with running_server() as server:
        result = info(server.url, "--json")
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["kind"] == "embedded (not Stable Diffusion)"
    assert found["version"].startswith("sdclient-")
    assert found["warnings"] == []
    assert found["options"]["samples_format"]["is_usual"] is True
    assert found["current_model"] in found["models"]


def test_the_recorded_genuine_server_is_shown_whole(httpserver: HTTPServer) -> None:
    answers = recorded_a1111()
    found = json.loads(info(serve(httpserver, answers), "--json").stdout)
    assert found["kind"] == "A1111 >= 1.9"
    assert found["samplers"] == [entry["name"] for entry in answers["/sdapi/v1/samplers"]]
    assert found["schedulers"] == [entry["label"] for entry in answers["/sdapi/v1/schedulers"]]
    assert found["upscalers"] == len(answers["/sdapi/v1/upscalers"])
    assert found["loras"] == 0
    assert found["memory"] == answers["/sdapi/v1/memory"]
    assert all(option["is_usual"] for option in found["options"].values())
    assert found["version"] is None  # it ran without its page, which alone tells it
    assert found["not_told"] == {}


def test_values_that_spoil_a_run_are_warned_about(httpserver: HTTPServer) -> None:
    options = {"samples_format": "jpg", "enable_pnginfo": False, "img2img_color_correction": True, "s_noise": 1.1}
    answers = {**A1111_NEW, "/sdapi/v1/options": options}
    result = info(serve(httpserver, answers))
    assert result.exit_code == 0, result.output
    warnings = result.stderr.splitlines()
    assert [line.split(" is ")[0] for line in warnings] == [
        "Warning: samples_format",
        "Warning: enable_pnginfo",
        "Warning: img2img_color_correction",
    ]
    assert rows(result)["s_noise"] == "1.1 usually 1.0; now samplers add more or less noise"
    assert rows(result)["model 当前模型"] == "none loaded"


def test_a_forge_shows_its_modules(httpserver: HTTPServer) -> None:
    result = info(serve(httpserver, FORGE))
    shown = rows(result)
    assert shown["kind 类型"].startswith("Forge")
    assert shown["modules 模块 (VAE)"] == "ae.safetensors, clip_l.safetensors"
    assert "VAE 变分自编码器" not in shown


def test_an_sdnext_shows_its_version_memory_and_where_its_schedule_is(httpserver: HTTPServer) -> None:
    result = info(serve(httpserver, SDNEXT))
    shown = rows(result)
    assert shown["version 版本"] == "2026-04-04 0eb4a98e0"
    assert shown["schedulers 调度器 (6)"].endswith("in the option schedulers_sigma")
    assert shown["memory 内存"] == "8.0 GiB used of 32.0 GiB"
    assert shown["GPU memory 显存"] == "2.0 GiB used, 6.0 GiB free of 8.0 GiB"
    assert "samples_format is 'jpg'" in result.stderr


def test_what_a_server_does_not_tell_is_left_open(httpserver: HTTPServer) -> None:
    url = serve(httpserver, STRANGER)
    result = info(url)
    assert result.exit_code == 0, result.output
    shown = rows(result)
    assert shown["upscalers 放大算法"] == shown["LoRA"] == shown["memory 内存"] == "not reported"
    assert shown["schedulers 调度器 (0)"] == "part of the sampler's name"
    assert "not recognised" in result.stderr
    found = json.loads(info(url, "--json").stdout)
    assert found["loras"] is None
    assert "/sdapi/v1/loras" in found["not_told"]["loras"]


def test_names_with_brackets_and_many_models_are_shown_as_they_are(httpserver: HTTPServer) -> None:
    titles = [f"焊盘/pad-{number}.safetensors [bold]" for number in range(25)]
    models = [{"title": title, "model_name": title, "filename": ""} for title in titles]
    options = {"samples_format": "png", "sd_model_checkpoint": "焊盘/pad-24.safetensors"}
    answers = {**A1111_NEW, "/sdapi/v1/options": options, "/sdapi/v1/sd-models": models}
    shown = rows(info(serve(httpserver, answers)))["models 模型"]
    assert shown.startswith("* 焊盘/pad-24.safetensors [bold]")
    assert "and 5 more" in shown


def test_no_server_is_one_line_and_exit_code_one() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = info(url, "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "nothing answers there" in result.stderr


def test_wrong_credentials_are_one_line_without_them(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCLIENT_AUTH", "inspector:s3cret")
    httpserver.expect_request("/sdapi/v1/options").respond_with_json(
        {"error": "HTTPException", "detail": "Incorrect username or password"}, status=401
    )
    result = info(httpserver.url_for(""))
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "name or password is wrong" in result.output
    assert "s3cret" not in result.output


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
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], env: dict[str, str], warning: str | None, auth: str | None
) -> None:
    given = []
    monkeypatch.setattr(app, "run_until_stopped", lambda bound, options: given.append(options))
    result = CliRunner().invoke(cli, ["serve", "--port", "0", "--job-ms", "5", "--image-ms", "2", *arguments], env=env)
    assert result.exit_code == 0
    assert given == [app.EmbeddedServerOptions(job_ms=5.0, image_ms=2.0, api_auth=auth)]
    assert ("warning" in result.output) == (warning is not None)
    assert warning is None or warning in result.output


def test_its_page_is_there_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(app, "run_until_stopped", lambda bound, options: given.append(options))
    assert CliRunner().invoke(cli, ["serve", "--port", "0", "--with-page"]).exit_code == 0
    assert given[0].with_page is True


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
