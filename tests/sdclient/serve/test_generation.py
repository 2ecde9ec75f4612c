"""Whole recorded requests, sent again as they were; the reply must have the same content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sdclient.client import WebUI
from sdclient.errors import RequestRejected, ServerFault, Unauthorized, UnknownSetting
from sdclient.infotext import ENGINE_KEY
from sdclient.manifest.database import ENGINE
from sdclient.models import Img2ImgRequest
from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.serve.engine import MODEL_NAME, SAMPLERS
from tests.support.serve_api import SHARED, Api, board_image, opened, recorded

NOT_SUPPORTED = {
    "script_loopback": "there are no selectable scripts here; naming one is refused with 422",
    "script_args_short": "the same",
}
WITH_REQUEST = sorted(
    path.stem.removeprefix("post_")
    for path in (SHARED / "replies").glob("post_*.json")
    if "request" in json.loads(path.read_text(encoding="utf-8"))
)


@pytest.mark.parametrize("name", [name for name in WITH_REQUEST if name not in NOT_SUPPORTED])
def test_a_recorded_request_gets_the_recorded_reply(api: Api, name: str) -> None:
    genuine = recorded(f"replies/post_{name}.json")
    answer = api.post("img2img", genuine["request"])
    assert answer.status_code == genuine["status"]
    body = answer.json()
    if genuine["status"] != 200:
        assert body == genuine["body"]
        return
    wanted = genuine["body"]
    found, expected = json.loads(body["info"]), json.loads(wanted["info"])
    assert describe(body, found) == describe(wanted, expected)
    assert without_options(body["parameters"]) == without_options(wanted["parameters"])


def describe(reply: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """What of a reply does not depend on the model, on drawn numbers, or on options that had leaked."""
    extra = {key: value for key, value in info["extra_generation_params"].items() if key != "Engine"}
    own = ("sampler_name", "all_seeds", "all_prompts", "steps", "width", "height", "batch_size", "cfg_scale")
    return {
        "sizes": [opened(image).size for image in reply["images"]],
        "first": info["index_of_first_image"],
        "infotexts": len(info["infotexts"]),
        "extra": extra,
        **{key: info[key] for key in own},
    }


def without_options(parameters: dict[str, Any]) -> dict[str, Any]:
    """The recorded server also echoes options that it read from an infotext."""
    return {key: value for key, value in parameters.items() if key != "override_settings"}


def test_scripts_are_refused_rather_than_ignored(api: Api) -> None:
    for name in ("script_loopback", "script_args_short"):
        request = recorded(f"replies/post_{name}.json")["request"]
        answer = api.post("img2img", request)
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"Script '{request['script_name']}' not found"


@pytest.fixture(scope="module")
def webui() -> Iterator[WebUI]:
    with running_server() as server, WebUI(server.url) as client:
        yield client


def request(**fields: object) -> Img2ImgRequest:
    return Img2ImgRequest.model_validate(
        {"init_images": [board_image()], "width": 64, "height": 64, "steps": 4, "seed": 1, **fields}
    )


def test_every_listed_sampler_passes_the_clients_echo_check(webui: WebUI) -> None:
    for sampler in SAMPLERS:
        result = webui.img2img(request(sampler_name=sampler.name))
        assert result.info.sampler_name == sampler.name


def test_a_joint_name_is_resolved(webui: WebUI) -> None:
    result = webui.img2img(request(sampler_name="DPM++ SDE Karras", batch_size=2, n_iter=2))
    assert [image.seed for image in result.images] == [1, 2, 3, 4]
    assert result.info.extra_generation_params["Schedule type"] == "Karras"
    assert result.info.extra_generation_params[ENGINE_KEY] == ENGINE
    assert result.info.sd_model_name == MODEL_NAME


def test_strength_zero_brings_the_source_back(webui: WebUI) -> None:
    (image,) = webui.img2img(request(denoising_strength=0)).images
    assert np.array_equal(np.asarray(image.pil()), np.asarray(board_image()))


def test_names_and_scripts_the_server_lacks_are_errors(webui: WebUI) -> None:
    with pytest.raises(UnknownSetting):
        webui.img2img(request(sampler_name="Nope"))
    with pytest.raises(RequestRejected, match="Script 'nope' not found"):
        webui.img2img(request(script_name="nope"))


def test_an_unknown_override_is_an_error(webui: WebUI) -> None:
    with pytest.raises((ServerFault, RequestRejected), match="nope_setting"):
        webui.img2img(request(override_settings={"nope_setting": 1}))


def test_a_password_is_required() -> None:
    with running_server(EmbeddedServerOptions(api_auth="user:secret")) as server:
        with WebUI(server.url, auth=("user", "secret")) as right:
            assert right.img2img(request()).images
        with WebUI(server.url) as wrong, pytest.raises(Unauthorized):
            wrong.img2img(request())
