"""txt2img: the genuine reply's shape, out of seeds alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sdclient.manifest.database import ENGINE
from sdclient.serve.classical_engine import texture
from tests.support.serve_api import Api, opened, pixels, recorded

BODY = {
    "prompt": "a plate",
    "sampler_name": "DPM++ SDE",
    "scheduler": "Karras",
    "steps": 3,
    "width": 64,
    "height": 64,
    "seed": 1,
    "batch_size": 2,
}


def txt2img(api: Api, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    answer = api.post("txt2img", {**BODY, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json(), json.loads(answer.json()["info"])


def test_the_reply_is_the_recorded_one_but_for_the_model(api: Api) -> None:
    genuine = recorded("replies/post_txt2img.json")["body"]
    reply, info = txt2img(api)
    assert reply["parameters"] == genuine["parameters"]
    wanted = json.loads(genuine["info"])
    assert set(info) == set(wanted)
    own = {"infotexts", "extra_generation_params", "job_timestamp", "version", "subseed", "all_subseeds"}
    for name in set(wanted) - own - {"sd_model_name", "sd_model_hash"}:
        assert info[name] == wanted[name], name
    assert info["extra_generation_params"] == {**wanted["extra_generation_params"], "Engine": ENGINE}
    assert [opened(image).size for image in reply["images"]] == [(64, 64), (64, 64)]
    for text, theirs in zip(info["infotexts"], wanted["infotexts"], strict=True):
        assert text.split(", Model hash")[0] == theirs.split(", Model hash")[0]
    assert opened(reply["images"][0]).info["parameters"] == info["infotexts"][0]


def test_a_seed_fixes_its_picture_alone_or_in_a_batch(api: Api) -> None:
    both, _ = txt2img(api)
    alone, _ = txt2img(api, seed=2, batch_size=1, prompt="another prompt")
    assert np.array_equal(pixels(both["images"][1]), pixels(alone["images"][0]))
    assert not np.array_equal(pixels(both["images"][0]), pixels(both["images"][1]))


def test_a_second_pass_gives_the_larger_size_and_says_so(api: Api) -> None:
    reply, info = txt2img(api, enable_hr=True, denoising_strength=0.3, hr_scale=1.5, hr_upscaler="Nearest")
    assert [opened(image).size for image in reply["images"]] == [(96, 96), (96, 96)]
    assert info["extra_generation_params"]["Hires upscale"] == 1.5
    assert info["extra_generation_params"]["Hires upscaler"] == "Nearest"
    assert info["denoising_strength"] == 0.3
    reply, _ = txt2img(api, enable_hr=True, denoising_strength=0.3, hr_resize_x=128)
    assert opened(reply["images"][0]).size == (128, 128)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"enable_hr": True}, "NoneType"),
        ({"enable_hr": True, "denoising_strength": 0.3, "hr_upscaler": "Nope"}, "could not find upscaler named Nope"),
        ({"steps": 0}, "division"),
        ({"width": 0}, "must be > 0"),
        ({"enable_hr": True, "denoising_strength": 0.3, "hr_scale": 10**6}, "Unable to allocate"),
    ],
)
def test_what_cannot_be_made_is_a_500(api: Api, fields: dict[str, Any], words: str) -> None:
    answer = api.post("txt2img", {**BODY, **fields})
    assert answer.status_code == 500
    assert words in answer.json()["errors"]


@pytest.mark.parametrize("size", [(8, 8), (64, 40), (1, 1)])
def test_a_texture_is_neither_flat_nor_clipped_away(size: tuple[int, int]) -> None:
    image = texture(size, (7,))
    assert image.size == size
    assert np.array_equal(np.asarray(image), np.asarray(texture(size, (7,))))
    if size[0] > 1:
        assert np.asarray(image).std() > 3
