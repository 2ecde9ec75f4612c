"""Enlarging and interrogating, pixel by pixel and word by word as recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.serve_api import Api, as_base64, board_image, opened, pixels, recorded


def reply(name: str) -> dict[str, Any]:
    found: dict[str, Any] = recorded(f"replies/post_extra_{name}.json")
    return found


def recorded_source() -> str:
    """Upscaler "None" sent the recorded source back as it was."""
    return str(reply("none")["body"]["image"])


REQUESTS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"upscaler_1": "None"},
    "lanczos": {"upscaler_1": "Lanczos", "upscaling_resize": 2.0},
    "mode1": {"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 50},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_an_enlarged_image_is_the_recorded_one(api: Api, name: str) -> None:
    expected = reply(name)
    answer = api.post("extra-single-image", {"image": recorded_source(), **REQUESTS[name]})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == set(expected["body"])
    assert body["html_info"] == expected["body"]["html_info"]
    assert np.array_equal(pixels(body["image"]), pixels(expected["body"]["image"]))
    assert opened(body["image"]).info == opened(expected["body"]["image"]).info


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("badimg", {"image": "nope"}),
        ("noimg", {}),
        ("mode7", {"resize_mode": 7}),
        ("scale0", {"upscaling_resize": 0}),
        ("unknown", {"image": as_base64(board_image()), "upscaler_1": "Nope"}),
    ],
)
def test_refusals_are_the_recorded_ones(api: Api, name: str, body: dict[str, Any]) -> None:
    expected = reply(name)
    answer = api.post("extra-single-image", body)
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("upscaling_resize_w", 0, "ensure this value is greater than or equal to 1"),
        ("gfpgan_visibility", 2, "ensure this value is less than or equal to 1"),
        ("upscaler_1", None, "none is not an allowed value"),
    ],
)
def test_values_out_of_the_contract_are_refused(api: Api, field: str, value: Any, words: str) -> None:
    answer = api.post("extra-single-image", {"image": as_base64(board_image()), field: value})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", field]
    assert answer.json()["detail"][0]["msg"] == words


def test_nearest_repeats_pixels(api: Api) -> None:
    answer = api.post("extra-single-image", {"image": as_base64(board_image()), "upscaler_1": "Nearest"})
    expected = board_image().resize((128, 128), Image.Resampling.NEAREST)
    assert np.array_equal(pixels(answer.json()["image"]), np.asarray(expected))


def test_two_upscalers_are_blended(api: Api) -> None:
    body = {
        "image": as_base64(board_image()),
        "upscaler_1": "Nearest",
        "upscaler_2": "Lanczos",
        "extras_upscaler_2_visibility": 1.0,
    }
    answer = api.post("extra-single-image", body).json()
    expected = board_image().resize((128, 128), Image.Resampling.LANCZOS)
    assert np.array_equal(pixels(answer["image"]), np.asarray(expected))
    assert "Postprocess upscaler 2: Lanczos" in answer["html_info"]


def test_a_batch_keeps_its_order(api: Api) -> None:
    images = [board_image(16, 16), board_image(24, 16)]
    files = [{"data": as_base64(image), "name": f"{number}.png"} for number, image in enumerate(images)]
    answer = api.post("extra-batch-images", {"imageList": files, "upscaler_1": "Lanczos"})
    assert answer.status_code == 200
    assert [opened(image).size for image in answer.json()["images"]] == [(32, 32), (48, 32)]
    assert api.post("extra-batch-images", {"imageList": []}).json() == {"html_info": "", "images": []}


@pytest.mark.parametrize(
    ("body", "place"),
    [({}, ["body", "imageList"]), ({"imageList": [{"name": "a.png"}]}, ["body", "imageList", 0, "data"])],
)
def test_a_batch_without_images_is_refused(api: Api, body: dict[str, Any], place: list[Any]) -> None:
    answer = api.post("extra-batch-images", body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0] == {"loc": place, "msg": "field required", "type": "value_error.missing"}


def test_what_would_not_fit_and_faces_are_refused(api: Api) -> None:
    huge = {"image": as_base64(board_image()), "upscaler_1": "Lanczos", "upscaling_resize": 10**5}
    assert api.post("extra-single-image", huge).json()["error"] == "MemoryError"
    faces = {"image": as_base64(board_image()), "codeformer_visibility": 1}
    assert "no face restorer" in api.post("extra-single-image", faces).json()["errors"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("clip", {"image": as_base64(board_image()), "model": "clip"}),
        ("bad", {"image": as_base64(board_image()), "model": "nope"}),
        ("empty", {"image": ""}),
        ("noimg", {"image": None}),
    ],
)
def test_interrogate_answers_as_recorded(api: Api, name: str, body: dict[str, Any]) -> None:
    expected = recorded(f"replies/post_interrogate_{name}.json")
    answer = api.post("interrogate", body)
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])
