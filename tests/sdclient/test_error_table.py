"""Every odd request that was recorded: refused before it is sent, mapped to its leaf, or rightly accepted.

The names are those of the recordings; the server is the embedded one, whose answers are held to the recordings by
tests/sdclient/serve/test_recorded_requests.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sdclient.client import RetryPolicy, WebUI
from sdclient.errors import (
    BadImage,
    NotFound,
    RequestRejected,
    ServerFault,
    ServerOutOfMemory,
    Unauthorized,
    UnknownSetting,
    WebUIError,
)
from sdclient.models import Img2ImgRequest
from sdclient.serve.app import running_server

REFUSED = "refused before it is sent"
ACCEPTED = "accepted"
MISSING = object()


def board() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


BOARD = board()
USUAL: dict[str, Any] = {
    "init_images": [BOARD],
    "prompt": "scratched metal surface",
    "sampler_name": "DPM++ SDE",
    "scheduler": "Karras",
    "steps": 4,
    "width": 64,
    "height": 64,
    "seed": 42,
}

TABLE: dict[str, tuple[dict[str, Any], Any]] = {
    "warm": ({}, ACCEPTED),
    "empty_body": (dict.fromkeys(USUAL, MISSING), REFUSED),
    "no_init_images": ({"init_images": MISSING}, REFUSED),
    "init_images_null": ({"init_images": None}, REFUSED),
    "init_images_empty": ({"init_images": []}, REFUSED),
    "init_images_str": ({"init_images": "pad.png"}, REFUSED),
    "init_images_badb64": ({"init_images": [b"!!! not base64 !!!"]}, REFUSED),
    "init_images_b64_nonimage": ({"init_images": [b"hello world"]}, REFUSED),
    "init_images_emptystr": ({"init_images": [b""]}, REFUSED),
    "init_images_two": ({"init_images": [BOARD, BOARD]}, REFUSED),
    "init_images_two_bs2": ({"init_images": [BOARD, BOARD], "batch_size": 2}, ACCEPTED),
    "mask_bad": ({"mask": b"xxxx"}, REFUSED),
    "sampler_unknown": ({"sampler_name": "Nope"}, REFUSED),
    "sampler_legacy": ({"sampler_name": "DPM++ SDE Karras", "scheduler": None}, ACCEPTED),
    "sampler_legacy_plus_sched": ({"sampler_name": "DPM++ SDE Karras", "scheduler": "Exponential"}, REFUSED),
    "sampler_lower": ({"sampler_name": "dpm++ sde"}, ACCEPTED),
    "sampler_alias": ({"sampler_name": "k_dpmpp_sde"}, ACCEPTED),
    "sampler_null": ({"sampler_name": None}, ACCEPTED),
    "sampler_missing": ({"sampler_name": MISSING, "scheduler": MISSING}, ACCEPTED),
    "sampler_index_only": ({"sampler_name": MISSING, "sampler_index": "Euler a"}, ACCEPTED),
    "sampler_int": ({"sampler_name": MISSING, "sampler_index": 3}, REFUSED),
    "sampler_empty": ({"sampler_name": ""}, REFUSED),
    "scheduler_unknown": ({"scheduler": "Nope"}, REFUSED),
    "scheduler_lower": ({"scheduler": "karras"}, ACCEPTED),
    "scheduler_automatic": ({"scheduler": "Automatic"}, ACCEPTED),
    "scheduler_null": ({"scheduler": None}, ACCEPTED),
    "script_unknown": ({"script_name": "nope"}, RequestRejected),
    "alwayson_unknown": ({"alwayson_scripts": {"nope": {"args": []}}}, RequestRejected),
    "alwayson_controlnet": ({"alwayson_scripts": {"ControlNet": {"args": []}}}, RequestRejected),
    "alwayson_selectable": ({"alwayson_scripts": {"Loopback": {"args": []}}}, RequestRejected),
    "alwayson_seed_ok": ({"alwayson_scripts": {"Seed": {"args": []}}}, ACCEPTED),
    "alwayson_sampler_ok": ({"alwayson_scripts": {"Sampler": {"args": []}}}, ACCEPTED),
    "alwayson_noargs": ({"alwayson_scripts": {"Seed": {}}}, ACCEPTED),
    "alwayson_list": ({"alwayson_scripts": []}, REFUSED),
    "extra_field": ({"nonsense": 1}, REFUSED),
    "steps_str": ({"steps": "four"}, REFUSED),
    "steps_numstr": ({"steps": "4"}, ACCEPTED),
    "steps_float": ({"steps": 4.7}, REFUSED),
    "seed_str": ({"seed": "abc"}, REFUSED),
    "seed_null": ({"seed": None}, REFUSED),
    "seed_float": ({"seed": 42.9}, REFUSED),
    "seed_big": ({"seed": 2**40}, ACCEPTED),
    "seed_huge": ({"seed": 2**70}, REFUSED),
    "seed_neg2": ({"seed": -2}, REFUSED),
    "seed_-1": ({"seed": -1}, ACCEPTED),
    "prompt_int": ({"prompt": 5}, REFUSED),
    "prompt_null": ({"prompt": None}, REFUSED),
    "prompt_missing": ({"prompt": MISSING}, ACCEPTED),
    "prompt_list": ({"prompt": ["a"]}, REFUSED),
    "denoise_1.5": ({"denoising_strength": 1.5}, REFUSED),
    "denoise_-1": ({"denoising_strength": -1}, REFUSED),
    "denoise_0": ({"denoising_strength": 0}, ACCEPTED),
    "denoise_1": ({"denoising_strength": 1}, ACCEPTED),
    "denoise_null": ({"denoising_strength": None}, REFUSED),
    "denoise_missing": ({"denoising_strength": MISSING}, ACCEPTED),
    "width_0": ({"width": 0}, REFUSED),
    "width_-64": ({"width": -64}, REFUSED),
    "width_65": ({"width": 65}, REFUSED),
    "width_7": ({"width": 7, "height": 7}, REFUSED),
    "width_8": ({"width": 8, "height": 8}, ACCEPTED),
    "width_72": ({"width": 72, "height": 56}, ACCEPTED),
    "wh_missing_src64": ({"width": MISSING, "height": MISSING, "steps": 1}, ACCEPTED),
    "n_iter_0": ({"n_iter": 0}, REFUSED),
    "n_iter_-1": ({"n_iter": -1}, REFUSED),
    "batch_0": ({"batch_size": 0}, REFUSED),
    "batch_-1": ({"batch_size": -1}, REFUSED),
    "batch_1e6": ({"batch_size": 10**6}, ServerOutOfMemory),
    "steps_0": ({"steps": 0}, REFUSED),
    "steps_-1": ({"steps": -1}, REFUSED),
    "steps_1": ({"steps": 1}, ACCEPTED),
    "cfg_1": ({"cfg_scale": 1}, ACCEPTED),
    "cfg_0": ({"cfg_scale": 0}, ACCEPTED),
    "resize_mode_9": ({"resize_mode": 9}, REFUSED),
    # Not among the odd requests, but in the table of the genuine server's answers:
    "truncated_png": ({"init_images": [BOARD[:-2000]]}, BadImage),
    "override_unknown": ({"override_settings": {"nope_setting": 1}}, ServerFault),
}
CALLS: dict[str, tuple[str, str, type[WebUIError]]] = {
    "get_img2img": ("GET", "/sdapi/v1/img2img", RequestRejected),
    "wrong_path": ("GET", "/sdapi/v1/nope", NotFound),
    "trailing_slash": ("GET", "/sdapi/v1/samplers/", RequestRejected),
    "root": ("GET", "/", NotFound),
    "internal_ping": ("GET", "/internal/ping", NotFound),
}
CANNOT_BE_SENT = {"json_list", "not_json", "no_ct"}
"""Bodies that are no JSON object: the client has no way to send one."""


@pytest.fixture(scope="module")
def webui() -> Iterator[WebUI]:
    with running_server() as server, WebUI(server.url, retries=RetryPolicy(attempts=1)) as client:
        yield client


def build(changes: dict[str, Any]) -> Img2ImgRequest:
    return Img2ImgRequest(**{name: value for name, value in {**USUAL, **changes}.items() if value is not MISSING})


@pytest.mark.parametrize("name", TABLE)
def test_each_odd_request_has_its_outcome(webui: WebUI, name: str) -> None:
    changes, outcome = TABLE[name]
    if outcome == ACCEPTED:
        assert len(webui.img2img(build(changes)).images) == changes.get("batch_size", 1)
    elif outcome == REFUSED:
        with pytest.raises((ValidationError, BadImage, UnknownSetting)) as caught:
            webui.img2img(build(changes))
        assert getattr(caught.value, "status", None) is None  # no reply: nothing was sent
    else:
        with pytest.raises(WebUIError) as failed:
            webui.img2img(build(changes))
        assert type(failed.value) is outcome
        assert failed.value.status is not None
        assert failed.value.server_words


@pytest.mark.parametrize("name", CALLS)
def test_each_odd_call_has_its_leaf(webui: WebUI, name: str) -> None:
    method, path, leaf = CALLS[name]
    with pytest.raises(WebUIError) as caught:
        webui.call(method, path)  # type: ignore[arg-type]
    assert type(caught.value) is leaf


@pytest.mark.parametrize(
    ("auth", "words"), [(None, "it wants a name and password"), (("user", "wrong"), "name or password is wrong")]
)
def test_a_missing_and_a_wrong_password(
    auth: tuple[str, str] | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SDCLIENT_AUTH", raising=False)
    with running_server(api_auth="user:right") as server:
        with WebUI(server.url, auth=auth) as client, pytest.raises(Unauthorized, match=words):
            client.options()
        with WebUI(server.url, auth=("user", "right")) as client:
            assert client.options().samples_format == "png"


def test_the_table_leaves_no_recording_out(webui_recordings: Path) -> None:
    names = set(json.loads((webui_recordings / "bad_requests.json").read_text(encoding="utf-8")))
    assert names == (set(TABLE) | set(CALLS) | CANNOT_BE_SENT) - {"truncated_png", "override_unknown"}
