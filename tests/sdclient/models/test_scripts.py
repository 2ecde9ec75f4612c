"""The typed arguments of ControlNet and ADetailer, as the server wants them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

from sdclient.models import ADetailerUnit, ControlNetUnit, Img2ImgRequest, alwayson
from tests.support.webui import png_bytes


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
