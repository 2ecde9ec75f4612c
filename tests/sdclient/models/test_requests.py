"""What requests about finished images send and refuse."""

from __future__ import annotations

import ast
import base64
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from sdclient import models
from sdclient.errors import BadImage
from sdclient.models import (
    ADetailerUnit,
    ControlNetUnit,
    ExtrasBatchRequest,
    ExtrasSingleRequest,
    Img2ImgRequest,
    InterrogateRequest,
    NamedImage,
    Request,
    Txt2ImgRequest,
    alwayson,
)
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


def test_units_become_the_entries_of_their_scripts() -> None:
    entries = alwayson(
        ControlNetUnit(module="canny", model="control_v11p_sd15_canny [d14c016b]", image=png_bytes(), weight=0.5),
        ADetailerUnit(ad_model="face_yolov8n.pt", ad_denoising_strength=0.3),
        ControlNetUnit(module="depth_midas", enabled=False),
    )
    assert entries == {
        "ControlNet": {
            "args": [
                {
                    "enabled": True,
                    "module": "canny",
                    "model": "control_v11p_sd15_canny [d14c016b]",
                    "image": base64.b64encode(png_bytes()).decode(),
                    "weight": 0.5,
                },
                {"enabled": False, "module": "depth_midas"},
            ]
        },
        "ADetailer": {"args": [True, False, {"ad_model": "face_yolov8n.pt", "ad_denoising_strength": 0.3}]},
    }
    assert json.loads(json.dumps(entries)) == entries


def test_no_units_make_no_entries() -> None:
    assert alwayson() == {}


def test_adetailer_may_work_on_the_source_itself() -> None:
    assert alwayson(ADetailerUnit(ad_model="x.pt"), skip_img2img=True)["ADetailer"]["args"][:2] == [True, True]


def test_a_request_sends_them() -> None:
    request = Img2ImgRequest(init_images=[png_bytes()], alwayson_scripts=alwayson(ADetailerUnit(ad_model="x.pt")))
    assert request.payload()["alwayson_scripts"]["ADetailer"]["args"][2] == {"ad_model": "x.pt"}


def test_only_what_was_given_is_sent_even_when_it_is_the_default() -> None:
    assert ControlNetUnit().payload() == {"enabled": True}
    assert ControlNetUnit(weight=1.0, image=None).payload() == {"enabled": True, "weight": 1.0}
    assert ADetailerUnit(ad_model="x.pt", ad_steps=28).payload() == {"ad_model": "x.pt", "ad_steps": 28}


def test_the_mask_goes_by_the_name_that_forge_knows_too() -> None:
    sent = ControlNetUnit(image=png_bytes(), mask=png_bytes((8, 8)), advanced_weighting=[1, 0.5]).payload()
    assert base64.b64decode(sent["mask_image"]) == png_bytes((8, 8))
    assert "mask" not in sent
    assert sent["advanced_weighting"] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"weight": 2.1}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"guidance_start": -0.1}, "guidance_start"),
        ({"guidance_start": 0.6, "guidance_end": 0.5}, "guidance_start 0.6 is after guidance_end 0.5"),
        ({"resize_mode": "Inner Fit"}, "resize_mode"),
        ({"control_mode": 0}, "control_mode"),
        ({"mask": png_bytes()}, "mask needs image"),
        ({"lowvram": True}, "lowvram"),
    ],
)
def test_a_controlnet_unit_refuses_what_the_extension_refuses_only_in_its_log(
    wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        ControlNetUnit(**wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ad_confidence": 30}, "ad_confidence"),
        ({"ad_mask_k": -1}, "ad_mask_k"),
        ({"ad_steps": 0}, "ad_steps"),
        ({"ad_noise_multiplier": 0.4}, "ad_noise_multiplier"),
        ({"ad_clip_skip": 13}, "ad_clip_skip"),
        ({"ad_mask_merge_invert": "merge"}, "ad_mask_merge_invert"),
        ({"ad_mask_min_ratio": 0.5, "ad_mask_max_ratio": 0.1}, "ad_mask_min_ratio 0.5 is above"),
        ({"ad_mask_k_largest": 1}, "ad_mask_k_largest"),
    ],
)
def test_an_adetailer_unit_refuses_what_the_extension_refuses_only_in_its_log(
    wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        ADetailerUnit(ad_model="x.pt", **wrong)


def test_a_unit_that_is_at_its_limits_is_accepted() -> None:
    ControlNetUnit(weight=2, guidance_start=0.5, guidance_end=0.5)
    ADetailerUnit(ad_model="x.pt", ad_confidence=1, ad_mask_min_ratio=1, ad_dilate_erode=-4, ad_clip_skip=12)


def test_what_was_not_given_is_left_to_the_server() -> None:
    sent = Txt2ImgRequest(prompt="a pad").payload()
    assert sent["prompt"] == "a pad"
    assert sent["enable_hr"] is False
    assert "denoising_strength" not in sent
    assert None not in sent.values()


def test_a_second_pass_is_sent_with_its_settings() -> None:
    sent = Txt2ImgRequest(enable_hr=True, denoising_strength=0.3, hr_upscaler="Latent", hr_resize_x=1024).payload()
    assert (sent["enable_hr"], sent["denoising_strength"], sent["hr_upscaler"], sent["hr_resize_x"]) == (
        True,
        0.3,
        "Latent",
        1024,
    )


def test_a_second_pass_without_a_strength_is_refused_before_sending() -> None:
    with pytest.raises(ValidationError, match="enable_hr needs denoising_strength"):
        Txt2ImgRequest(enable_hr=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"denoising_strength": 1.5},
        {"hr_scale": 0},
        {"hr_scale": float("nan")},
        {"cfg_scale": float("inf")},
        {"hr_resize_x": -8},
        {"hr_second_pass_steps": -1},
        {"width": 65},
        {"steps": 0},
        {"seed": -2},
        {"init_images": []},
        {"no_such_field": 1},
    ],
    ids=str,
)
def test_what_the_server_would_fail_on_or_ignore_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Txt2ImgRequest(**wrong)


def test_lists_are_held_as_tuples_and_requests_cannot_be_changed() -> None:
    styles = ["macro"]
    request = Txt2ImgRequest(styles=styles, script_args=[1, None])
    styles.append("other")
    assert request.styles == ("macro",)
    assert request.payload()["script_args"] == [1, None]
    with pytest.raises(ValidationError, match="frozen"):
        request.steps = 3  # type: ignore[misc]


REQUESTS = [
    kind
    for kind in vars(models).values()
    if isinstance(kind, type) and issubclass(kind, Request) and kind is not Request
]


def is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_each_field_of_a_request_says_what_it_means(kind: type[Request]) -> None:
    statements = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(statements, ast.ClassDef)
    assert ast.get_docstring(statements)
    silent = [
        ast.unparse(line.target)
        for line, below in zip(statements.body, [*statements.body[1:], ast.Pass()], strict=True)
        if isinstance(line, ast.AnnAssign) and not is_text(below)
    ]
    assert not silent


def test_the_requests_are_found() -> None:
    assert {models.Img2ImgRequest, models.ControlNetUnit, models.InternalProgressRequest} <= set(REQUESTS)
