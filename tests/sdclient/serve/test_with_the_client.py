"""Our own client against our own server: what one says, the other understands."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sdclient.client import WebUI
from sdclient.errors import RequestRejected, ServerFault, Unauthorized, UnknownSetting
from sdclient.infotext import ENGINE_KEY
from sdclient.manifest.database import ENGINE
from sdclient.models import Img2ImgRequest
from sdclient.serve.app import running_server
from sdclient.serve.engine import MODEL_NAME, SAMPLERS
from tests.support.serve_api import picture


@pytest.fixture(scope="module")
def webui() -> Iterator[WebUI]:
    with running_server() as server, WebUI(server.url) as client:
        yield client


def request(**fields: object) -> Img2ImgRequest:
    return Img2ImgRequest.model_validate(
        {"init_images": [picture()], "width": 64, "height": 64, "steps": 4, "seed": 1, **fields}
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
    assert np.array_equal(np.asarray(image.pil()), np.asarray(picture()))


def test_names_and_scripts_the_server_lacks_are_errors(webui: WebUI) -> None:
    with pytest.raises(UnknownSetting):
        webui.img2img(request(sampler_name="Nope"))
    with pytest.raises(RequestRejected, match="Script 'nope' not found"):
        webui.img2img(request(script_name="nope"))


def test_an_unknown_override_is_an_error(webui: WebUI) -> None:
    with pytest.raises((ServerFault, RequestRejected), match="nope_setting"):
        webui.img2img(request(override_settings={"nope_setting": 1}))


def test_a_password_is_asked_for() -> None:
    with running_server(api_auth="user:secret") as server:
        with WebUI(server.url, auth=("user", "secret")) as right:
            assert right.img2img(request()).images
        with WebUI(server.url) as wrong, pytest.raises(Unauthorized):
            wrong.img2img(request())
