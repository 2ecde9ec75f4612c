"""What img2img and txt2img reply."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdclient.infotext import parse_infotext, read_infotext
from sdclient.manifest.database import ENGINE
from sdclient.serve.classical_engine import texture
from tests.support.serve_api import Api, as_base64, board_image, opened, pixels, recorded, usual


def test_strength_zero_gives_the_source_itself(api: Api) -> None:
    reply, _ = api.img2img(denoising_strength=0)
    assert np.array_equal(pixels(reply["images"][0]), np.asarray(board_image()))


def test_seeds_count_up_over_batches_and_each_determines_its_image(api: Api) -> None:
    reply, info = api.img2img(batch_size=2, n_iter=2, seed=10)
    assert info["all_seeds"] == [10, 11, 12, 13]
    assert [parse_infotext(text).settings["Seed"] for text in info["infotexts"]] == ["10", "11", "12", "13"]
    assert len(set(reply["images"])) == 4
    alone, _ = api.img2img(seed=12)
    assert alone["images"][0] == reply["images"][2]


@pytest.mark.parametrize("seed", [-1, None])
def test_an_open_seed_is_drawn_and_reported(api: Api, seed: int | None) -> None:
    first, second = api.img2img(seed=seed)[1], api.img2img(seed=seed)[1]
    assert first["seed"] == first["all_seeds"][0] >= 0
    assert first["seed"] != second["seed"]


def test_a_variation_seed_changes_the_image_and_holds_the_seed(api: Api) -> None:
    plain, _ = api.img2img()
    varied, info = api.img2img(subseed=5, subseed_strength=0.3, batch_size=2)
    assert info["all_seeds"] == [42, 42]
    assert info["all_subseeds"] == [5, 6]
    assert plain["images"][0] not in varied["images"]
    assert "Variation seed: 5, Variation seed strength: 0.3" in info["infotexts"][0]


def test_every_png_carries_its_infotext(api: Api) -> None:
    reply, info = api.img2img(batch_size=2)
    texts = [opened(image).info["parameters"] for image in reply["images"]]
    assert texts == info["infotexts"]
    assert 'Engine: "classical, not Stable Diffusion"' in texts[0]


@pytest.mark.parametrize(("wanted", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_the_format_follows_the_option_and_keeps_the_infotext(api: Api, wanted: str, kind: str) -> None:
    reply, info = api.img2img(override_settings={"samples_format": wanted}, prompt="表面のきず 😀")
    image = opened(reply["images"][0])
    assert image.format == kind
    assert read_infotext(image) == info["infotexts"][0]
    assert api.get("options")["samples_format"] == "png"


def test_an_unknown_format_fails(api: Api) -> None:
    answer = api.post("img2img", usual(override_settings={"samples_format": "xyz"}))
    assert (answer.status_code, answer.json()["detail"]) == (500, "Invalid image format")


def test_infotext_is_left_out_when_the_option_says_so(api: Api) -> None:
    reply, _ = api.img2img(override_settings={"enable_pnginfo": False})
    assert opened(reply["images"][0]).info == {}


def test_saving_several_puts_a_grid_first(api: Api) -> None:
    reply, info = api.img2img(batch_size=2, n_iter=2, save_images=True)
    assert [opened(image).size for image in reply["images"]] == [(128, 128)] + 4 * [(64, 64)]
    assert info["index_of_first_image"] == 1
    assert len(info["infotexts"]) == 5
    assert np.array_equal(pixels(reply["images"][0])[64:, :64], pixels(reply["images"][3]))


def test_saving_one_makes_no_grid(api: Api) -> None:
    reply, info = api.img2img(save_images=True)
    assert (len(reply["images"]), info["index_of_first_image"]) == (1, 0)


def test_images_can_be_left_out_of_the_reply(api: Api) -> None:
    reply, info = api.img2img(send_images=False)
    assert reply["images"] == []
    assert len(info["infotexts"]) == 1


def test_the_source_is_echoed_only_on_request(api: Api) -> None:
    source, mask = as_base64(board_image()), as_base64(Image.new("L", (64, 64), 255))
    quiet, _ = api.img2img(init_images=[source], mask=mask)
    assert quiet["parameters"]["init_images"] is quiet["parameters"]["mask"] is None
    loud, _ = api.img2img(init_images=[source], mask=mask, include_init_images=True)
    assert (loud["parameters"]["init_images"], loud["parameters"]["mask"]) == ([source], mask)


def test_two_sources_make_one_image_each(api: Api) -> None:
    other = board_image().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    reply, _ = api.img2img(init_images=[as_base64(board_image()), as_base64(other)], batch_size=2, denoising_strength=0)
    assert np.array_equal(pixels(reply["images"][0]), np.asarray(board_image()))
    assert np.array_equal(pixels(reply["images"][1]), np.asarray(other))


def test_sizes_are_rounded_down_to_eight(api: Api) -> None:
    reply, info = api.img2img(width=71, height=65)
    assert opened(reply["images"][0]).size == (64, 64)
    assert (info["width"], info["height"]) == (71, 65)


def test_an_unknown_checkpoint_is_dropped_and_a_known_one_taken(api: Api) -> None:
    title = api.get("options")["sd_model_checkpoint"]
    for name in ("doesnotexist", title):
        _, info = api.img2img(override_settings={"sd_model_checkpoint": name})
        assert info["sd_model_name"] == title.split(" ")[0]


def test_clip_skip_is_reported_while_it_is_overridden(api: Api) -> None:
    _, info = api.img2img(override_settings={"CLIP_stop_at_last_layers": 2, "add_model_name_to_info": False})
    settings = parse_infotext(info["infotexts"][0]).settings
    assert (info["clip_skip"], settings["Clip skip"]) == (2, "2")
    assert "Model" not in settings
    assert api.img2img()[1]["clip_skip"] == 1


def source_of(api: Api, image: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    """What the engine gets of an image, seen at strength 0."""
    text = as_base64(image, kind, **options)
    reply, _ = api.img2img(init_images=[text], denoising_strength=0)
    return pixels(reply["images"][0])


def test_transparency_is_flattened_on_white(api: Api) -> None:
    image = board_image().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert (source_of(api, image) == 255).all()


def test_the_background_colour_is_an_option(api: Api) -> None:
    clear = as_base64(Image.new("RGBA", (64, 64), (9, 9, 9, 0)))
    reply, _ = api.img2img(
        init_images=[clear], denoising_strength=0, override_settings={"img2img_background_color": "#ff0000"}
    )
    assert (pixels(reply["images"][0]) == (255, 0, 0)).all()


def test_sixteen_bit_comes_back_near_white(api: Api) -> None:
    deep = Image.fromarray(np.full((64, 64), 20_000, np.uint16))
    assert deep.mode.startswith("I;16")
    assert (source_of(api, deep) == 255).all()


def test_exif_rotation_is_applied(api: Api) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = source_of(api, board_image(), exif=exif)
    assert np.array_equal(turned, np.asarray(board_image().rotate(180)))


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA"])
def test_other_modes_are_read(api: Api, mode: str) -> None:
    image = board_image().convert(mode)
    assert np.array_equal(source_of(api, image), np.asarray(image.convert("RGB")))


def test_one_pixel_is_enough(api: Api) -> None:
    assert (source_of(api, Image.new("RGB", (1, 1), (10, 20, 30))) == (10, 20, 30)).all()


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_other_formats_are_read(api: Api, kind: str) -> None:
    grey = Image.new("L", (64, 64), 100)
    assert abs(source_of(api, grey, kind) - 100).max() <= 2


def test_base64_may_lack_padding_and_hold_line_breaks(api: Api) -> None:
    text = as_base64(board_image()).rstrip("=")
    wrapped = "\n".join(text[i : i + 60] for i in range(0, len(text), 60))
    reply, _ = api.img2img(init_images=[wrapped], denoising_strength=0)
    assert np.array_equal(pixels(reply["images"][0]), np.asarray(board_image()))


def wide() -> Image.Image:
    """Red, green and blue side by side."""
    image = Image.new("RGB", (192, 64), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 64, 64))
    image.paste((0, 0, 255), (128, 0, 192, 64))
    return image


@pytest.mark.parametrize(
    ("mode", "left", "middle", "top"),
    [
        (0, (255, 0, 0), (0, 255, 0), (0, 255, 0)),
        (1, (0, 255, 0), (0, 255, 0), (0, 255, 0)),
        (2, (255, 0, 0), (0, 255, 0), (0, 255, 0)),
        (3, (255, 0, 0), (0, 255, 0), (0, 255, 0)),
    ],
)
def test_resize_modes_stretch_crop_and_fill(
    api: Api, mode: int, left: tuple[int, ...], middle: tuple[int, ...], top: tuple[int, ...]
) -> None:
    reply, _ = api.img2img(init_images=[as_base64(wide())], denoising_strength=0, resize_mode=mode)
    result = pixels(reply["images"][0])
    assert result.shape == (64, 64, 3)
    assert tuple(result[32, 2]) == left
    assert tuple(result[32, 32]) == middle
    assert tuple(result[1, 32]) == top


def test_filling_keeps_the_whole_image_and_repeats_its_edge(api: Api) -> None:
    tall = Image.new("RGB", (64, 64), (0, 0, 0))
    tall.paste((200, 100, 50), (0, 0, 64, 4))
    reply, _ = api.img2img(init_images=[as_base64(tall)], denoising_strength=0, resize_mode=2, width=64, height=128)
    result = pixels(reply["images"][0])
    assert (result[:36] == (200, 100, 50)).all()
    assert (result[36:] == 0).all()


@pytest.mark.parametrize("fields", [{"width": 10**6, "height": 10**6}, {"n_iter": 10**9}])
def test_more_than_the_memory_holds_is_refused_at_once(api: Api, fields: dict[str, int]) -> None:
    answer = api.post("img2img", usual(**fields))
    assert (answer.status_code, answer.json()["error"]) == (500, "MemoryError")


@pytest.mark.parametrize("field", ["width", "steps", "batch_size", "n_iter", "cfg_scale", "resize_mode"])
def test_null_where_a_number_is_needed_never_takes_the_server_down(api: Api, field: str) -> None:
    assert api.post("img2img", usual(**{field: None})).status_code in (200, 500)
    assert api.post("img2img", usual()).status_code == 200


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


def test_a_seed_fixes_its_image_alone_or_in_a_batch(api: Api) -> None:
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
def test_a_request_that_cannot_be_met_is_a_500(api: Api, fields: dict[str, Any], words: str) -> None:
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
