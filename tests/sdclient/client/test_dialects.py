"""Sampler and schedule names, as each server understands them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from sdclient.client import RetryPolicy, WebUI
from sdclient.client.dialects import Dialect, Product, ServerVersion, detect_server, find_version
from sdclient.errors import ServerFault, ServerUnreachable, SettingSubstituted, Unauthorized, UnknownSetting
from sdclient.models import Img2ImgRequest, Sampler, Scheduler
from sdclient.serve.app import running_server
from tests.support.server_doubles import (
    A1111_1_9_0,
    A1111_NEW,
    A1111_OLD,
    FORGE,
    FORGE_BEFORE_AUGUST_2024,
    REFORGE,
    REFORGE_EARLY,
    SDNEXT,
    STRANGER,
    Answers,
    asking,
    recorded_a1111,
    serve,
)
from tests.support.webui import png_bytes, reply_body

NEW = Dialect(
    [Sampler(name="DPM++ 2M"), Sampler(name="DPM++ SDE", aliases=("k_dpmpp_sde",)), Sampler(name="Euler a")],
    [
        Scheduler(name="automatic", label="Automatic"),
        Scheduler(name="karras", label="Karras"),
        Scheduler(name="sgm_uniform", label="SGM Uniform", aliases=("SGMUniform",)),
    ],
)
OLD = Dialect([Sampler(name="DPM++ SDE"), Sampler(name="DPM++ SDE Karras"), Sampler(name="Euler a")], None)


@pytest.mark.parametrize(
    ("sampler", "scheduler", "expected"),
    [
        ("DPM++ SDE Karras", None, ("DPM++ SDE", "Karras")),
        ("dpm++ sde karras", None, ("DPM++ SDE", "Karras")),
        ("DPM++ SDE", "karras", ("DPM++ SDE", "Karras")),
        ("DPM++ SDE Karras", "Karras", ("DPM++ SDE", "Karras")),
        ("k_dpmpp_sde", None, ("DPM++ SDE", None)),
        ("Euler a", None, ("Euler a", None)),
        ("Euler a SGM Uniform", None, ("Euler a", "SGM Uniform")),
        ("Euler a", "SGMUniform", ("Euler a", "SGM Uniform")),
        ("Euler a", "Automatic", ("Euler a", "Automatic")),
        (None, "karras", (None, "Karras")),
        (None, None, (None, None)),
    ],
)
def test_a_server_with_two_fields(sampler: str, scheduler: str, expected: tuple[str, str]) -> None:
    assert NEW.resolve(sampler, scheduler) == expected


@pytest.mark.parametrize(
    ("sampler", "scheduler", "expected"),
    [
        ("DPM++ SDE Karras", None, "DPM++ SDE Karras"),
        ("DPM++ SDE", "Karras", "DPM++ SDE Karras"),
        ("DPM++ SDE", None, "DPM++ SDE"),
        ("DPM++ SDE", "Automatic", "DPM++ SDE"),
    ],
)
def test_a_server_with_joint_names(sampler: str, scheduler: str, expected: str) -> None:
    assert OLD.resolve(sampler, scheduler) == (expected, None)


@pytest.mark.parametrize(
    ("dialect", "sampler", "scheduler", "words"),
    [
        (NEW, "Nope", None, "sampler 'Nope'"),
        (NEW, "DPM++ SDE", "Nope", "scheduler 'Nope'.*Karras"),
        (NEW, "DPM++ SDE Nope", None, "DPM\\+\\+ SDE"),
        (NEW, "DPM++ SDE Karras", "SGM Uniform", "already names"),
        (OLD, "Euler a", "Karras", "'Euler a Karras'"),
        (Dialect([], None), "Euler", None, "lists none"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(dialect: Dialect, sampler: str, scheduler: str, words: str) -> None:
    with pytest.raises(UnknownSetting, match=words):
        dialect.resolve(sampler, scheduler)


ONCE = RetryPolicy(attempts=1)


@pytest.mark.parametrize(
    ("answers", "label", "questions"),
    [
        (A1111_OLD, "A1111 < 1.9", 4),
        (A1111_1_9_0, "A1111 >= 1.9", 4),
        (A1111_NEW, "A1111 >= 1.9", 3),
        (FORGE, "Forge", 2),
        (FORGE_BEFORE_AUGUST_2024, "Forge", 4),
        (REFORGE, "reForge", 2),
        (REFORGE_EARLY, "reForge", 3),
        (SDNEXT, "SD.Next", 1),
        (STRANGER, "unknown, treated as A1111", 5),
        ({}, "unknown, treated as A1111", 5),
    ],
)
def test_each_kind_is_recognised_with_few_questions(answers: Answers, label: str, questions: int) -> None:
    asked: list[str] = []
    kind = detect_server(asking(answers, asked))
    assert kind.label == label
    assert all(kind.recognised_by)
    assert len(asked) == questions


def test_the_recorded_genuine_server_is_an_a1111_of_1_9_or_later() -> None:
    answers = recorded_a1111()
    kind = detect_server(asking(answers))
    assert kind.label == "A1111 >= 1.9"
    assert kind.recognised_by == ("its flags hold nowebui and api_auth", "it lists schedules")
    assert [entry.model_dump(mode="json") for entry in kind.schedulers or ()] == answers["/sdapi/v1/schedulers"]
    assert not kind.takes_modules


def test_the_recorded_contract_alone_shows_the_two_fields() -> None:
    answers = recorded_a1111()
    del answers["/sdapi/v1/schedulers"]
    kind = detect_server(asking(answers))
    assert kind.label == "A1111 >= 1.9"
    assert {entry.label for entry in kind.schedulers or ()} == {
        *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform")
    }


def test_the_embedded_server_is_recognised_as_itself() -> None:
    with running_server() as server, WebUI(server.url) as webui:
        assert webui.kind.product is Product.EMBEDDED
        assert webui.kind.label == "embedded (not Stable Diffusion)"
        assert (webui.version().version or "").startswith("sdclient-")


@pytest.mark.parametrize("without", ["/sdapi/v1/options", "/sdapi/v1/cmd-flags"])
def test_sdnext_is_recognised_by_whatever_is_left(without: str) -> None:
    answers = {path: body for path, body in SDNEXT.items() if path != without}
    assert detect_server(asking(answers)).product is Product.SDNEXT


def test_sdnext_is_recognised_by_its_name_alone() -> None:
    answers = {"/sdapi/v1/version": SDNEXT["/sdapi/v1/version"]}
    assert detect_server(asking(answers)).recognised_by == ("it calls itself sd.next",)


@pytest.mark.parametrize("odd", [[], None, "words", 7, {"components": []}, {"components": {"schemas": {"Img2Img": 1}}}])
def test_odd_answers_leave_a_server_unknown_and_working(odd: Any) -> None:
    paths = ("options", "cmd-flags", "version")
    answers = {**{f"/sdapi/v1/{path}": odd for path in paths}, "/openapi.json": odd}
    kind = detect_server(asking(answers))
    assert kind.product is Product.UNKNOWN
    assert kind.schedulers is None


@pytest.mark.parametrize("listed", [[{"name": "Euler", "cls": "EulerDiscreteScheduler"}], {"karras": 1}, None])
def test_what_is_no_list_of_schedules_is_none(listed: Any) -> None:
    assert detect_server(asking({**A1111_NEW, "/sdapi/v1/schedulers": listed})).schedulers is None


def test_a_question_that_breaks_the_server_is_a_question_not_answered() -> None:
    def ask(path: str) -> Any:
        if path == "/sdapi/v1/cmd-flags":
            raise ServerFault("500")
        return asking(A1111_NEW)(path)

    kind = detect_server(ask)
    assert kind.product is Product.UNKNOWN
    assert kind.schedulers is not None


@pytest.mark.parametrize("error", [ServerUnreachable("gone"), Unauthorized("401", status=401)])
def test_a_server_that_does_not_work_is_not_called_unknown(error: Exception) -> None:
    def ask(_: str) -> Any:
        raise error

    with pytest.raises(type(error)):
        detect_server(ask)


@pytest.mark.parametrize(
    ("answers", "product", "expected"),
    [
        (SDNEXT, Product.SDNEXT, ServerVersion("2026-04-04", "0eb4a98e0")),
        ({"/sdapi/v1/version": {"app": "sd.next", "hash": "8b73cb6"}}, Product.SDNEXT, ServerVersion(None, "8b73cb6")),
        (A1111_NEW, Product.A1111, ServerVersion("v1.10.1", "82a973c04367123ae98bd9abdf80d9eda9b910e2")),
        (A1111_OLD, Product.A1111, ServerVersion()),
        ({"/internal/sysinfo": []}, Product.FORGE, ServerVersion()),
    ],
)
def test_the_version_is_told_where_it_can_be(answers: Answers, product: Product, expected: ServerVersion) -> None:
    assert find_version(asking(answers), product) == expected


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        (A1111_OLD, {"sampler_name": "DPM++ SDE Karras"}),
        (A1111_1_9_0, {"sampler_name": "DPM++ SDE", "scheduler": "Karras"}),
        (A1111_NEW, {"sampler_name": "DPM++ SDE", "scheduler": "Karras"}),
        (FORGE, {"sampler_name": "DPM++ SDE", "scheduler": "Karras"}),
        (REFORGE, {"sampler_name": "DPM++ SDE", "scheduler": "Karras"}),
        (SDNEXT, {"sampler_name": "DPM++ SDE", "override_settings": {"schedulers_sigma": "karras"}}),
    ],
)
@pytest.mark.parametrize("spelling", [("DPM++ SDE Karras", None), ("DPM++ SDE", "karras")])
def test_sampler_and_schedule_are_sent_as_the_server_wants_them(
    httpserver: HTTPServer, answers: Answers, sent: dict[str, Any], spelling: tuple[str, str | None]
) -> None:
    with WebUI(serve(httpserver, answers), retries=ONCE) as webui:
        fields = webui.dialect.fields(*spelling)
    assert {name: value for name, value in fields.items() if value is not None} == sent


def _generate(httpserver: HTTPServer, infotext: str, **fields: Any) -> dict[str, Any]:
    """Send an img2img to an SD.Next that writes this infotext; gives what arrived."""
    httpserver.expect_request("/sdapi/v1/img2img").respond_with_json(
        reply_body(sampler_name="DPM++ SDE", infotexts=[infotext], extra_generation_params={})
    )
    request = Img2ImgRequest(init_images=[png_bytes()], steps=20, seed=42, width=64, height=64, **fields)
    with WebUI(serve(httpserver, SDNEXT), retries=ONCE) as webui:
        webui.img2img(request)
    sent = [entry for entry, _ in httpserver.log if entry.path == "/sdapi/v1/img2img"][-1]
    answer: dict[str, Any] = json.loads(sent.get_data())
    return answer


def test_sdnext_gets_its_schedule_beside_the_users_own_settings(httpserver: HTTPServer) -> None:
    sent = _generate(
        httpserver,
        "Steps: 20, Sampler: DPM++ SDE, Sampler sigma: karras, Seed: 42, App: SD.Next",
        sampler_name="DPM++ SDE Karras",
        override_settings={"clip_skip": 2},
    )
    assert sent["sampler_name"] == "DPM++ SDE"
    assert "scheduler" not in sent
    assert sent["override_settings"] == {"clip_skip": 2, "schedulers_sigma": "karras"}


def test_sdnext_is_told_so_when_the_sampler_is_to_use_its_own_schedule(httpserver: HTTPServer) -> None:
    sent = _generate(
        httpserver, "Steps: 20, Sampler: DPM++ SDE, Seed: 42", sampler_name="DPM++ SDE", scheduler="Automatic"
    )
    assert sent["override_settings"] == {"schedulers_sigma": "default"}


def test_another_schedule_than_asked_for_is_noticed_on_sdnext(httpserver: HTTPServer) -> None:
    with pytest.raises(SettingSubstituted, match="'default' instead of 'karras'"):
        _generate(httpserver, "Steps: 20, Sampler: DPM++ SDE, Seed: 42", sampler_name="DPM++ SDE Karras")


def test_a_schedule_that_sdnext_lacks_is_refused_before_sending(httpserver: HTTPServer) -> None:
    with pytest.raises(UnknownSetting, match=r"'SGM Uniform'.*Karras"):
        _generate(httpserver, "", sampler_name="DPM++ SDE", scheduler="SGM Uniform")
    assert all(entry.path != "/sdapi/v1/img2img" for entry, _ in httpserver.log)


@pytest.mark.parametrize(
    ("answers", "names", "settings"),
    [
        (A1111_NEW, ("vae-ft-mse",), {"sd_vae": "vae-ft-mse.safetensors"}),
        (A1111_NEW, (), {"sd_vae": "None"}),
        (REFORGE, ("vae-ft-mse.safetensors",), {"sd_vae": "vae-ft-mse.safetensors"}),
        (
            FORGE,
            ("ae", "clip_l.safetensors"),
            {
                "forge_additional_modules": [
                    "/forge/models/VAE/ae.safetensors",
                    "/forge/models/text_encoder/clip_l.safetensors",
                ]
            },
        ),
        (FORGE, (), {"forge_additional_modules": []}),
    ],
)
def test_a_vae_is_asked_for_as_the_server_wants_it(
    httpserver: HTTPServer, answers: Answers, names: tuple[str, ...], settings: dict[str, Any]
) -> None:
    with WebUI(serve(httpserver, answers), retries=ONCE) as webui:
        assert webui.vae_settings(*names) == settings


def test_a_vae_that_is_not_there_is_refused_with_near_names(httpserver: HTTPServer) -> None:
    with WebUI(serve(httpserver, A1111_NEW), retries=ONCE) as webui:
        with pytest.raises(UnknownSetting, match=r"VAE 'vae-ft-mes'.*vae-ft-mse\.safetensors"):
            webui.vae_settings("vae-ft-mes")
        with pytest.raises(UnknownSetting, match="takes one"):
            webui.vae_settings("vae-ft-mse", "vae-ft-mse")
