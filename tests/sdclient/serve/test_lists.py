"""Lists hold what the server really has, in the genuine server's shape."""

from __future__ import annotations

import pytest

from sdclient import models
from sdclient.serve.app import running_server
from tests.support.serve_api import Api, recorded


@pytest.mark.parametrize("path", ["sd-vae", "loras", "embeddings", "prompt-styles", "hypernetworks", "extensions"])
def test_empty_lists_are_the_recorded_ones(api: Api, path: str) -> None:
    assert api.get(path) == recorded(f"replies/get_{path}.json")["body"]


@pytest.mark.parametrize("path", ["face-restorers", "realesrgan-models"])
def test_what_needs_a_model_is_not_listed(api: Api, path: str) -> None:
    assert api.get(path) == []


def test_latent_upscale_modes_are_the_recorded_ones(api: Api) -> None:
    assert api.get("latent-upscale-modes") == recorded("replies/get_latent-upscale-modes.json")["body"]


def test_upscalers_are_those_of_the_recorded_ones_that_need_no_model(api: Api) -> None:
    genuine = recorded("replies/get_upscalers.json")["body"]
    assert api.get("upscalers") == [entry for entry in genuine if entry["name"] in ("None", "Lanczos", "Nearest")]


def test_scripts_are_a_part_of_the_recorded_ones(api: Api) -> None:
    genuine = recorded("replies/get_scripts.json")["body"]
    ours = api.get("scripts")
    assert ours == {"txt2img": ["sampler", "seed"], "img2img": ["sampler", "seed"]}
    assert all(set(ours[call]) <= set(genuine[call]) for call in ours)
    described = recorded("replies/get_script-info.json")["body"]
    assert api.get("script-info") == [entry for entry in described if entry["name"] in ("sampler", "seed")]


@pytest.mark.parametrize(
    "path",
    [
        "skip",
        "refresh-checkpoints",
        "refresh-vae",
        "refresh-embeddings",
        "refresh-loras",
        "reload-checkpoint",
        "unload-checkpoint",
    ],
)
def test_orders_to_an_idle_server_are_answered_as_recorded(api: Api, path: str) -> None:
    expected = recorded(f"replies/post_{path}_idle.json")
    answer = api.post(path, None)
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


def test_forges_call_is_not_there(api: Api) -> None:
    expected = recorded("replies/get_sd-modules.json")
    answer = api.call("GET", "/sdapi/v1/sd-modules")
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


def test_lists_fit_the_clients_models(api: Api) -> None:
    assert {models.Upscaler.model_validate(entry).scale for entry in api.get("upscalers")} == {4.0}
    models.ScriptsList.model_validate(api.get("scripts"))
    assert [len(models.ScriptInfo.model_validate(entry).args) for entry in api.get("script-info")] == [3, 6, 3, 6]
    assert models.Embeddings.model_validate(api.get("embeddings")).loaded == {}


def test_with_a_password_only_the_loras_stay_open() -> None:
    with running_server(api_auth="user:secret") as server:
        api = Api(server.url)
        assert api.call("GET", "/sdapi/v1/upscalers").status_code == 401
        assert api.call("POST", "/sdapi/v1/skip", json={}).status_code == 401
        answer = api.call("GET", "/sdapi/v1/loras")
        expected = recorded("replies/ui_and_auth.json")["noauth_loras"]
        api.session.close()
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])
