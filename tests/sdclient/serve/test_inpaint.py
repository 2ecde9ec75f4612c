"""Masks of img2img requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.serve_api import Api, as_base64, board_image, opened, pixels, recorded

BOX = (16, 24, 40, 48)


def mask(size: tuple[int, int] = (64, 64), box: tuple[int, ...] = BOX) -> Image.Image:
    image = Image.new("L", size, 0)
    image.paste(255, box)
    return image


def repaint(api: Api, image: Image.Image, **fields: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """The result with a high strength, and `extra_generation_params`."""
    request = {"denoising_strength": 0.9, "mask_blur": 0, "inpaint_full_res": False, "inpainting_fill": 1}
    reply, info = api.img2img(mask=as_base64(image), **{**request, **fields})
    return pixels(reply["images"][0]), info["extra_generation_params"]


def inside(box: tuple[int, ...] = BOX, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    where = np.zeros(shape, bool)
    where[box[1] : box[3], box[0] : box[2]] = True
    return where


@pytest.mark.parametrize("full_res", [False, True])
@pytest.mark.parametrize("fill", [0, 1, 2, 3, 9])
def test_without_blur_the_outside_is_kept_to_the_pixel(api: Api, full_res: bool, fill: int) -> None:
    result, _ = repaint(api, mask(), inpaint_full_res=full_res, inpainting_fill=fill)
    changed = (result != np.asarray(board_image())).any(axis=2)
    assert not changed[~inside()].any()
    assert changed[inside()].mean() > 0.9


def test_inverting_keeps_the_inside(api: Api) -> None:
    result, extra = repaint(api, mask(), inpainting_mask_invert=1)
    changed = (result != np.asarray(board_image())).any(axis=2)
    assert not changed[inside()].any()
    assert changed[~inside()].mean() > 0.9
    assert extra["Mask mode"] == "Inpaint not masked"


def test_blur_reaches_beyond_the_edge(api: Api) -> None:
    sharp, _ = repaint(api, mask())
    soft, extra = repaint(api, mask(), mask_blur=4)
    source = np.asarray(board_image())
    assert (soft != source)[~inside()].any()
    assert not (soft != source)[:8].any()
    assert (sharp != soft).any()
    assert extra["Mask blur"] == 4


def test_blur_can_go_one_way(api: Api) -> None:
    result, _ = repaint(api, mask(), mask_blur=None, mask_blur_x=6, mask_blur_y=0)
    changed = (result != np.asarray(board_image())).any(axis=2)
    assert not changed[: BOX[1]].any()
    assert not changed[BOX[3] :].any()
    assert changed[BOX[1] : BOX[3], : BOX[0]].any()


def test_the_area_of_the_mask_is_returned_at_the_sources_size(api: Api) -> None:
    large = board_image(200, 120)
    reply, info = api.img2img(
        init_images=[as_base64(large)],
        mask=as_base64(mask((200, 120), (60, 40, 100, 90))),
        mask_blur=0,
        inpaint_full_res=True,
        denoising_strength=0.9,
    )
    assert opened(reply["images"][0]).size == (200, 120)
    assert (info["width"], info["height"]) == (64, 64)
    changed = (pixels(reply["images"][0]) != np.asarray(large)).any(axis=2)
    assert not changed[~inside((60, 40, 100, 90), (120, 200))].any()


def test_a_blank_mask_means_no_mask_at_full_resolution(api: Api) -> None:
    blank = Image.new("L", (64, 64), 0)
    plain, _ = api.img2img(denoising_strength=0.9)
    result, extra = repaint(api, blank, inpaint_full_res=True)
    assert np.array_equal(result, pixels(plain["images"][0]))
    assert "Inpaint area" not in extra
    kept, _ = repaint(api, blank)
    assert np.array_equal(kept, np.asarray(board_image()))


def test_a_white_mask_changes_everything(api: Api) -> None:
    plain, _ = api.img2img(denoising_strength=0.9)
    result, _ = repaint(api, Image.new("L", (64, 64), 255))
    assert np.array_equal(result, pixels(plain["images"][0]))


def test_colour_and_transparency_are_read_as_black_and_white(api: Api) -> None:
    grey, _ = repaint(api, mask())
    colour, _ = repaint(api, mask().convert("RGB"))
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    clear.paste((1, 2, 3, 255), BOX)
    assert np.array_equal(grey, colour)
    assert np.array_equal(grey, repaint(api, clear)[0])


def test_a_mask_of_another_size_is_scaled(api: Api) -> None:
    small, _ = repaint(api, mask((32, 32), tuple(side // 2 for side in BOX)))
    assert not (small != np.asarray(board_image())).any(axis=2)[:16].any()
    assert (small != np.asarray(board_image())).any(axis=2)[inside()].mean() > 0.8


def test_filling_removes_the_defect(api: Api) -> None:
    ground = Image.new("RGB", (64, 64), (180, 180, 180))
    ground.paste((0, 0, 0), BOX)
    reply, _ = api.img2img(
        init_images=[as_base64(ground)],
        mask=as_base64(mask()),
        mask_blur=0,
        inpaint_full_res=False,
        inpainting_fill=0,
        denoising_strength=0,
    )
    assert (pixels(reply["images"][0]) == 180).all()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("mask", {"mask_blur": 4, "inpaint_full_res": True, "inpaint_full_res_padding": 8}),
        ("mask_wholepic", {}),
        ("mask_invert", {"mask_blur": 4, "inpainting_mask_invert": 1}),
        ("mask_fill0", {"mask_blur": 4, "inpainting_fill": 0}),
        ("mask_fill3", {"mask_blur": 4, "inpainting_fill": 3}),
        ("mask_fill9", {"mask_blur": None, "inpainting_fill": 9}),
        ("include_init", {"mask_blur": None, "inpaint_full_res": True, "inpainting_fill": 0}),
    ],
)
def test_the_reply_reports_about_the_mask_what_was_recorded(api: Api, name: str, fields: dict[str, Any]) -> None:
    expected = dict(recorded("variants.json")[name]["summary"]["extra"])
    _, extra = repaint(api, mask(), denoising_strength=0.25, **fields)
    assert {key: value for key, value in extra.items() if key != "Engine"} == expected


def test_a_blank_mask_reports_only_its_blur(api: Api) -> None:
    expected = recorded("variants.json")["mask_allblack_full"]["summary"]["extra"]
    _, extra = repaint(api, Image.new("L", (64, 64), 0), denoising_strength=0.25, mask_blur=4, inpaint_full_res=True)
    assert {key: value for key, value in extra.items() if key != "Engine"} == expected
