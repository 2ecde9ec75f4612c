"""What requests about finished pictures send and refuse."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from sdclient.errors import BadImage
from sdclient.models import ExtrasBatchRequest, ExtrasSingleRequest, InterrogateRequest, NamedImage
from tests.support.webui import png_bytes


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def test_one_picture_is_sent_as_bare_base64(tmp_path: Path) -> None:
    path = tmp_path / "焊盘.png"
    path.write_bytes(png_bytes())
    sent = ExtrasSingleRequest(image=path, upscaler_1="Lanczos", upscaling_resize=3).payload()
    assert decoded(sent["image"]) == png_bytes()
    assert (sent["upscaler_1"], sent["upscaling_resize"]) == ("Lanczos", 3.0)


def test_pictures_of_a_batch_are_named_by_their_files_or_numbers(tmp_path: Path) -> None:
    path = tmp_path / "焊盘.png"
    path.write_bytes(png_bytes((8, 8)))
    request = ExtrasBatchRequest(
        images=[path, str(path), png_bytes(), Image.new("L", (4, 4)), NamedImage(name="x.png", data=png_bytes())]
    )
    sent = request.payload()
    assert "images" not in sent
    assert [image["name"] for image in sent["imageList"]] == ["焊盘.png", "焊盘.png", "3.png", "4.png", "x.png"]
    assert decoded(sent["imageList"][0]["data"]) == png_bytes((8, 8))
    assert decoded(sent["imageList"][2]["data"]) == png_bytes()
    assert decoded(sent["imageList"][3]["data"]).startswith(b"\x89PNG")
    assert all(isinstance(image, NamedImage) for image in request.images)


@pytest.mark.parametrize(
    "wrong",
    [
        {"upscaling_resize": 0},
        {"resize_mode": 7},
        {"gfpgan_visibility": 1.1},
        {"codeformer_weight": -0.1},
        {"upscaling_resize_w": 0},
        {"extras_upscaler_2_visibility": 2},
        {"upscaler": "Lanczos"},
    ],
    ids=str,
)
def test_what_the_server_refuses_or_ignores_is_refused_before_sending(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ExtrasSingleRequest(image=png_bytes(), **wrong)


@pytest.mark.parametrize("images", [[], "pad.png", b"bytes", None])
def test_a_batch_needs_a_list_with_a_picture(images: Any) -> None:
    with pytest.raises(ValidationError, match="images"):
        ExtrasBatchRequest(images=images)


def test_what_is_no_picture_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"nope\.png: cannot be read"):
        ExtrasSingleRequest(image=tmp_path / "nope.png")
    with pytest.raises(BadImage, match="not an image"):
        InterrogateRequest(image=b"")


def test_a_picture_is_put_into_words_by_clip_unless_said_otherwise() -> None:
    sent = InterrogateRequest(image=png_bytes()).payload()
    assert sent["model"] == "clip"
    assert decoded(sent["image"]) == png_bytes()
