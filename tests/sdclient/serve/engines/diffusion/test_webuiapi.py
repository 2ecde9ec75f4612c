"""Another client, `webuiapi` 0.9.17, against the engine and as it is: what works with a WebUI works here."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import webuiapi
from PIL import Image

from sdclient.serve.app import running_server
from sdclient.serve.diffusion_engine import DiffusionEngine
from tests.support.engines import SIZE_PX, drawn

SIZE = {"width": SIZE_PX, "height": SIZE_PX}


@pytest.fixture(scope="module")
def api(engine: DiffusionEngine) -> Iterator[Any]:
    with running_server(engine=engine, api_auth="name:secret") as server:
        address = urlsplit(server.url)
        client = webuiapi.WebUIApi(host=address.hostname, port=address.port, sampler="DPM++ SDE", scheduler="Karras")
        client.set_auth("name", "secret")
        client.session.trust_env = False
        yield client
        client.session.close()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def test_img2img_makes_seeded_siblings_of_a_class(api: Any) -> None:
    result = api.img2img(
        images=[drawn("open", 1)], prompt="photo, open", denoising_strength=0.4, steps=6, seed=7, batch_size=2, **SIZE
    )
    assert len(result.images) == 2
    assert (result.info["all_seeds"], result.info["sampler_name"]) == ([7, 8], "DPM++ SDE")
    told = result.info["extra_generation_params"]
    assert (told["Class"], told["Schedule type"], told["Denoising strength"]) == ("open", "Karras", 0.4)
    assert told["Engine"] == "diffusion model 'boards' of own pictures, not Stable Diffusion"
    assert result.info["sd_model_name"] == "boards-32px-not-stable-diffusion"
    again = api.img2img(
        images=[drawn("open", 1)], prompt="photo, open", denoising_strength=0.4, steps=6, seed=8, **SIZE
    )
    assert np.abs(pixels(again.image) - pixels(result.images[1])).max() <= 1


def test_txt2img_needs_no_source(api: Any) -> None:
    result = api.txt2img(prompt="裂纹", steps=3, seed=1, cfg_scale=2, **SIZE)
    assert result.image.size == (SIZE_PX, SIZE_PX)
    assert result.info["extra_generation_params"]["Class"] == "裂纹"
    enlarged = api.txt2img(
        prompt="裂纹",
        steps=3,
        seed=1,
        enable_hr=True,
        hr_scale=2,
        denoising_strength=0.5,
        hr_upscaler="Nearest",
        **SIZE,
    )
    assert enlarged.image.size == (2 * SIZE_PX, 2 * SIZE_PX)


@pytest.mark.parametrize("full_res", [True, False])
def test_inpainting_keeps_what_is_black_to_the_pixel(api: Any, full_res: bool) -> None:
    source, mask = drawn("open", 2), Image.new("L", (SIZE_PX, SIZE_PX), 0)
    mask.paste(255, (10, 10, 26, 26))
    result = api.img2img(
        images=[source],
        mask_image=mask,
        mask_blur=0,
        inpainting_fill=1,
        inpaint_full_res=full_res,
        inpaint_full_res_padding=4,
        prompt="open",
        denoising_strength=0.8,
        steps=5,
        seed=3,
        **SIZE,
    )
    change = np.abs(pixels(result.image) - pixels(source)).max(axis=2)
    inside = np.asarray(mask) > 0
    assert change[~inside].max() == 0
    assert change[inside].mean() > 2


def test_each_sampler_it_lists_is_used_as_asked(api: Any) -> None:
    names = api.util_get_sampler_names()
    assert {"Euler", "Euler a", "DPM++ 2M", "DPM++ SDE"} <= set(names)
    assert api.util_get_scheduler_names()
    images = {}
    for name in names:
        result = api.img2img(
            images=[drawn("open", 3)], prompt="open", sampler_name=name, denoising_strength=0.6, steps=4, seed=5, **SIZE
        )
        assert result.info["sampler_name"] == name
        images[name] = pixels(result.image)
    assert np.abs(images["Euler"] - images["Euler a"]).max() > 0


def test_it_tells_its_model_options_and_flags(api: Any) -> None:
    (model,) = api.get_sd_models()
    assert model["title"] == api.util_get_current_model() == api.get_options()["sd_model_checkpoint"]
    assert model["filename"].endswith("diffusion_pytorch_model.safetensors")
    assert api.get_cmd_flags()["api"] is True
    assert api.get_memory()["ram"]
    assert api.get_loras() == []


def test_the_infotext_can_be_read_back(api: Any) -> None:
    result = api.img2img(images=[drawn("open", 1)], prompt="open", denoising_strength=0.3, steps=4, seed=9, **SIZE)
    read = api.png_info(result.image)
    assert "Class: open" in str(read.info)
    assert "Seed: 9" in str(read.info)


def test_progress_counts_steps_and_an_interrupt_ends_the_job_between_two(api: Any) -> None:
    outcome: list[Any] = []

    def run() -> None:
        outcome.append(
            api.img2img(
                images=[drawn("open", 1)], prompt="open", denoising_strength=1, steps=400, n_iter=50, seed=1, **SIZE
            )
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = threading.Thread(target=run)
        job.start()
        seen: list[dict[str, Any]] = []
        deadline = time.monotonic() + 60
        while job.is_alive() and time.monotonic() < deadline:
            seen.append(api.get_progress())
            if 0 < seen[-1]["state"]["sampling_step"] < 400:
                break
        api.interrupt()
        job.join(60)
    running = seen[-1]
    assert 0 < running["state"]["sampling_step"] < 400
    assert running["state"]["sampling_steps"] == 400
    assert 0 < running["progress"] < 1
    assert 1 <= len(outcome[0].images) < 50
    assert len(outcome[0].info["all_seeds"]) == 50
