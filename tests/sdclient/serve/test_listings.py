"""Lists contain what the server has, in the genuine server's format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdclient import models
from sdclient.manifest.database import ENGINE
from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.serve.bodies import (
    ExtrasBatchBody,
    ExtrasSingleBody,
    Img2ImgBody,
    InterrogateBody,
    PngInfoBody,
    Txt2ImgBody,
)
from sdclient.serve.engine import MODEL_NAME
from tests.support.serve_api import Api, as_base64, board_image, recorded, usual


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
def test_commands_to_an_idle_server_are_answered_as_recorded(api: Api, path: str) -> None:
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
    with running_server(EmbeddedServerOptions(api_auth="user:secret")) as server:
        api = Api(server.url)
        assert api.call("GET", "/sdapi/v1/upscalers").status_code == 401
        assert api.call("POST", "/sdapi/v1/skip", json={}).status_code == 401
        answer = api.call("GET", "/sdapi/v1/loras")
        expected = recorded("replies/ui_and_auth.json")["noauth_loras"]
        api.session.close()
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


@pytest.mark.parametrize(
    ("schema", "model"),
    [
        ("StableDiffusionProcessingImg2Img", Img2ImgBody),
        ("StableDiffusionProcessingTxt2Img", Txt2ImgBody),
        ("PNGInfoRequest", PngInfoBody),
        ("ExtrasSingleImageRequest", ExtrasSingleBody),
        ("ExtrasBatchImagesRequest", ExtrasBatchBody),
        ("InterrogateRequest", InterrogateBody),
    ],
)
def test_bodies_have_the_fields_types_and_defaults_of_the_contract(schema: str, model: Any) -> None:
    contract = recorded("openapi.json")["components"]["schemas"][schema]
    ours = model.model_json_schema()["properties"]
    assert set(ours) == set(contract["properties"])
    for name, wanted in contract["properties"].items():
        variants = ours[name].get("anyOf", [ours[name]])
        assert wanted["type"] in {variant["type"] for variant in variants}, name
        assert model.model_fields[name].is_required() == (name in contract.get("required", ())), name
        if not model.model_fields[name].is_required():
            assert model.model_fields[name].default == wanted.get("default"), name


@pytest.mark.parametrize("path", ["samplers", "schedulers"])
def test_lists_are_the_recorded_ones(api: Api, path: str) -> None:
    assert api.get(path) == recorded(f"replies/get_{path}.json")["body"]


@pytest.mark.parametrize("path", ["options", "cmd-flags"])
def test_trimmed_replies_hold_recorded_keys_of_the_recorded_types(api: Api, path: str) -> None:
    genuine, ours = recorded(f"replies/get_{path}.json")["body"], api.get(path)
    assert set(ours) <= set(genuine)
    for name, value in ours.items():
        if value is not None and genuine[name] is not None and (path, name) != ("cmd-flags", "port"):
            assert type(value) is type(genuine[name]), name


def test_idle_progress_is_the_recorded_one() -> None:
    with running_server() as server:  # a server of its own: other tests skip and interrupt the shared one
        api = Api(server.url)
        answer = api.get("progress")
        api.session.close()
    answer["state"]["job_timestamp"] = "0"
    assert answer == recorded("replies/get_progress_idle.json")["body"]


def test_the_reply_has_the_recorded_keys(api: Api) -> None:
    genuine = recorded("replies/post_img2img.json")["body"]
    reply, info = api.img2img(batch_size=2, n_iter=2, init_images=[as_base64(board_image())])
    assert set(reply) == set(genuine)
    assert reply["parameters"] == genuine["parameters"]
    wanted = json.loads(genuine["info"])
    assert set(info) == set(wanted)
    own = {"infotexts", "extra_generation_params", "job_timestamp", "version", "subseed", "all_subseeds"}
    for name in set(wanted) - own - {"sd_model_name", "sd_model_hash"}:
        assert info[name] == wanted[name], name


def test_the_models_list_has_the_recorded_shape(api: Api) -> None:
    (genuine,), (ours,) = recorded("replies/get_sd-models.json")["body"], api.get("sd-models")
    assert set(ours) == set(genuine)
    assert ours["title"] == f"{MODEL_NAME} [{ours['hash']}]" == api.get("options")["sd_model_checkpoint"]


def test_memory_reports_sizes_in_bytes_and_no_graphics_card(api: Api) -> None:
    memory = api.get("memory")
    assert memory["cuda"] == recorded("replies/get_memory.json")["body"]["cuda"]
    assert "error" in memory["ram"] or 0 < memory["ram"]["free"] <= memory["ram"]["total"]


def test_interrupting_nothing_answers_as_recorded(api: Api) -> None:
    answer = api.post("interrupt", None)
    assert (answer.status_code, answer.json()) == (200, recorded("replies/post_interrupt_idle.json")["body"])


def test_png_info_reads_an_infotext_as_recorded(api: Api) -> None:
    genuine = recorded("replies/post_png-info.json")["body"]
    (image, *_) = recorded("replies/post_img2img.json")["body"]["images"]
    assert api.post("png-info", {"image": image}).json() == genuine
    assert api.post("png-info", {"image": f"data:image/png;base64,{image}"}).json() == genuine


def test_png_info_of_an_image_without_text_is_as_recorded(api: Api) -> None:
    genuine = recorded("replies/post_png-info_plain.json")["body"]
    assert api.post("png-info", {"image": as_base64(board_image())}).json() == genuine


@pytest.mark.parametrize(("body", "name"), [({"image": "nope"}, "bad"), ({}, "missing"), ({"image": None}, "null")])
def test_png_info_refuses_as_recorded(api: Api, body: dict[str, Any], name: str) -> None:
    genuine = recorded(f"replies/post_png-info_{name}.json")
    answer = api.post("png-info", body)
    assert (answer.status_code, answer.json()) == (genuine["status"], genuine["body"])


def test_replies_fit_the_clients_models(api: Api) -> None:
    for sampler in api.get("samplers"):
        models.Sampler.model_validate(sampler)
    for scheduler in api.get("schedulers"):
        models.Scheduler.model_validate(scheduler)
    models.Options.model_validate(api.get("options"))
    models.Progress.model_validate(api.get("progress"))
    models.CmdFlags.model_validate(api.get("cmd-flags"))
    models.Memory.model_validate(api.get("memory"))
    models.SDModel.model_validate(api.get("sd-models")[0])
    reply = models.GenerationReply.model_validate(api.post("img2img", usual()).json())
    assert reply.info.extra_generation_params["Engine"] == ENGINE


def test_it_never_passes_for_stable_diffusion(api: Api) -> None:
    _, info = api.img2img()
    (model,) = api.get("sd-models")
    for words in (info["infotexts"][0], info["sd_model_name"], model["title"], model["filename"]):
        assert "not stable diffusion" in words.lower().replace("-", " ")
