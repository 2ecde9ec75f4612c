"""Odd requests, answered as the genuine server was recorded to answer them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import requests

from tests.support.serve_api import Api, as_base64, board_image, recorded, usual

IMAGE = as_base64(board_image())
BODIES: dict[str, Any] = {
    "warm": usual(),
    "empty_body": {},
    "no_init_images": usual(init_images=...),
    "init_images_null": usual(init_images=None),
    "init_images_empty": usual(init_images=[]),
    "init_images_str": usual(init_images=IMAGE),
    "init_images_badb64": usual(init_images=["!!! not base64 !!!"]),
    "init_images_b64_nonimage": usual(init_images=[base64.b64encode(b"hello world").decode()]),
    "init_images_emptystr": usual(init_images=[""]),
    "init_images_two": usual(init_images=[IMAGE, IMAGE]),
    "init_images_two_bs2": usual(init_images=[IMAGE, IMAGE], batch_size=2),
    "mask_bad": usual(mask="xxxx"),
    "sampler_unknown": usual(sampler_name="Nope"),
    "sampler_legacy": usual(sampler_name="DPM++ SDE Karras", scheduler=...),
    "sampler_legacy_plus_sched": usual(sampler_name="DPM++ SDE Karras", scheduler="Exponential"),
    "sampler_lower": usual(sampler_name="dpm++ sde"),
    "sampler_alias": usual(sampler_name="k_dpmpp_sde"),
    "sampler_null": usual(sampler_name=None),
    "sampler_missing": usual(sampler_name=..., scheduler=...),
    "sampler_index_only": usual(sampler_name=..., sampler_index="Euler a"),
    "sampler_int": usual(sampler_name=..., sampler_index=3),
    "sampler_empty": usual(sampler_name=""),
    "scheduler_unknown": usual(scheduler="Nope"),
    "scheduler_lower": usual(scheduler="karras"),
    "scheduler_automatic": usual(scheduler="Automatic"),
    "scheduler_null": usual(scheduler=None),
    "script_unknown": usual(script_name="nope"),
    "alwayson_unknown": usual(alwayson_scripts={"nope": {"args": []}}),
    "alwayson_controlnet": usual(alwayson_scripts={"ControlNet": {"args": []}}),
    "alwayson_selectable": usual(alwayson_scripts={"Loopback": {"args": []}}),
    "alwayson_seed_ok": usual(alwayson_scripts={"Seed": {"args": []}}),
    "alwayson_sampler_ok": usual(alwayson_scripts={"Sampler": {"args": []}}),
    "alwayson_noargs": usual(alwayson_scripts={"Seed": {}}),
    "alwayson_list": usual(alwayson_scripts=[]),
    "extra_field": usual(nonsense=1),
    "steps_str": usual(steps="four"),
    "steps_numstr": usual(steps="4"),
    "steps_float": usual(steps=4.7),
    "seed_str": usual(seed="abc"),
    "seed_null": usual(seed=None),
    "seed_float": usual(seed=42.9),
    "seed_big": usual(seed=2**40),
    "seed_huge": usual(seed=2**70),
    "seed_neg2": usual(seed=-2),
    "seed_-1": usual(seed=-1),
    "prompt_int": usual(prompt=5),
    "prompt_null": usual(prompt=None),
    "prompt_missing": usual(prompt=..., negative_prompt=...),
    "prompt_list": usual(prompt=["a"]),
    "denoise_1.5": usual(denoising_strength=1.5),
    "denoise_-1": usual(denoising_strength=-1),
    "denoise_0": usual(denoising_strength=0),
    "denoise_1": usual(denoising_strength=1),
    "denoise_null": usual(denoising_strength=None),
    "denoise_missing": usual(denoising_strength=...),
    "width_0": usual(width=0),
    "width_-64": usual(width=-64),
    "width_65": usual(width=65),
    "width_7": usual(width=7, height=7),
    "width_8": usual(width=8, height=8),
    "width_72": usual(width=72, height=56),
    "wh_missing_src64": usual(width=..., height=..., steps=1),
    "n_iter_0": usual(n_iter=0),
    "n_iter_-1": usual(n_iter=-1),
    "batch_0": usual(batch_size=0),
    "batch_-1": usual(batch_size=-1),
    "batch_1e6": usual(batch_size=10**6),
    "steps_0": usual(steps=0),
    "steps_-1": usual(steps=-1),
    "steps_1": usual(steps=1),
    "cfg_1": usual(cfg_scale=1),
    "cfg_0": usual(cfg_scale=0),
    "resize_mode_9": usual(resize_mode=9),
    "json_list": [],
}
OTHER_CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "not_json": ("POST", "/sdapi/v1/img2img", {"data": "{bad", "headers": {"Content-Type": "application/json"}}),
    "no_ct": (
        "POST",
        "/sdapi/v1/img2img",
        {"data": json.dumps(usual()), "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ),
    "get_img2img": ("GET", "/sdapi/v1/img2img", {}),
    "wrong_path": ("GET", "/sdapi/v1/nope", {}),
    "trailing_slash": ("GET", "/sdapi/v1/samplers/", {}),
    "root": ("GET", "/", {}),
    "internal_ping": ("GET", "/internal/ping", {}),
}
DRAWN_SEED = {"seed_null", "seed_-1"}


def ask(api: Api, name: str) -> requests.Response:
    if name in BODIES:
        return api.post("img2img", BODIES[name])
    method, path, options = OTHER_CALLS[name]
    return api.call(method, path, **options)


def test_every_recorded_request_is_replayed() -> None:
    assert set(recorded("bad_requests.json")) == set(BODIES) | set(OTHER_CALLS)


@pytest.mark.parametrize("name", [*BODIES, *OTHER_CALLS])
def test_status_and_body_are_the_recorded_ones(api: Api, name: str) -> None:
    expected = recorded("bad_requests.json")[name]
    answer = ask(api, name)
    assert answer.status_code == expected["status"]
    if expected["body"] not in (None, ""):
        assert answer.json() == expected["body"]
    assert answer.headers.get("content-type") == expected.get("content-type")


def test_successes_report_what_was_recorded(api: Api) -> None:
    summaries = {name: recorded("bad_requests.json")[name]["summary"] for name in BODIES}
    succeeded = [name for name, summary in summaries.items() if summary is not None]
    assert len(succeeded) > 40
    for name in succeeded:
        check_success(name, ask(api, name).json(), summaries[name])


def check_success(name: str, reply: dict[str, Any], expected: dict[str, Any]) -> None:
    info = json.loads(reply["info"])
    assert len(reply["images"]) == expected["n_images"], name
    assert info["sampler_name"] == expected["info.sampler"], name
    extra = dict(info["extra_generation_params"])
    assert extra.pop("Engine") == "classical, not Stable Diffusion"
    assert extra == expected["extra"], name
    assert (info["steps"], [info["width"], info["height"]]) == (expected["steps"], expected["wh"]), name
    assert (info["prompt"], info["denoising_strength"]) == (expected["prompt"], expected["denoise"]), name
    parameters = {key: reply["parameters"][key] for key in expected["params"]}
    assert parameters == expected["params"], name
    if name not in DRAWN_SEED:
        assert info["all_seeds"] == expected["all_seeds"], name
        assert _common(info["infotexts"][0]) == _common(expected["infotext0"]), name


def _common(infotext: str) -> list[str]:
    """The infotext without the model and the engine."""
    own = ("Model", "Engine", "Version")
    engine = 'Engine: "classical, not Stable Diffusion"'
    return [part for part in infotext.replace(engine, "Engine: own").split(", ") if not part.startswith(own)]


@pytest.mark.parametrize("body", [None, 5, "text", [1]])
def test_a_body_that_is_no_object_is_refused(api: Api, body: Any) -> None:
    answer = api.post("img2img", body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]


def test_an_unknown_override_is_a_key_error(api: Api) -> None:
    answer = api.post("img2img", usual(override_settings={"nope_setting": 1}))
    assert answer.status_code == 500
    assert answer.json() == recorded("replies/post_override_unknown.json")["body"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data:image/png", "init_dataurl_bad"),
        (f"data:application/octet-stream;base64,{IMAGE}", "init_dataurl_octet"),
        ("http://127.0.0.1:1/a.png", "init_http_local"),
        ("http://localhost/a.png", "init_http_name"),
        (IMAGE.replace("+", "-").replace("/", "_"), "init_b64_urlsafe"),
        (IMAGE[: len(IMAGE) // 2 // 4 * 4], "init_truncated_png"),
    ],
)
def test_unreadable_sources_fail_as_recorded(api: Api, source: str, name: str) -> None:
    expected = recorded("variants.json")[name]
    answer = api.post("img2img", usual(init_images=[source]))
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])
