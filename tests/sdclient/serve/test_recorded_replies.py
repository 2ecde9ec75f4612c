"""Whole recorded requests, sent again as they were; the reply must tell the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.serve_api import SHARED, Api, opened, recorded

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
    told, expected = json.loads(body["info"]), json.loads(wanted["info"])
    assert describe(body, told) == describe(wanted, expected)
    assert without_options(body["parameters"]) == without_options(wanted["parameters"])


def describe(reply: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """What of a reply does not hang on the model, on drawn numbers, or on options that had leaked."""
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
    """The recorded server writes options it took out of an infotext into the echo."""
    return {key: value for key, value in parameters.items() if key != "override_settings"}


def test_scripts_are_refused_rather_than_ignored(api: Api) -> None:
    for name in ("script_loopback", "script_args_short"):
        request = recorded(f"replies/post_{name}.json")["request"]
        answer = api.post("img2img", request)
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"Script '{request['script_name']}' not found"
