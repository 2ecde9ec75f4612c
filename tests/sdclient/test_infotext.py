"""Infotext: parsed, formatted, and read out of image files."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError

from sdclient.errors import BadImage, OutputError
from sdclient.infotext import Infotext, embed_infotext, load_infotext, parse_infotext, read_infotext, write_infotext
from sdclient.models import Img2ImgRequest, Txt2ImgRequest
from sdcore.errors import SettingsError
from tests.support.webui import png_bytes

RECORDED = (
    "scratched metal surface\nNegative prompt: blurry\nSteps: 4, Sampler: DPM++ SDE, Schedule type: Karras, "
    "CFG scale: 7.0, Seed: 42, Size: 64x64, Model hash: aedc3ec63e, Model: random-v1, Denoising strength: 0.25, "
    "Version: 1.10.1"
)


def test_the_three_parts_are_told_apart() -> None:
    parsed = parse_infotext(RECORDED)
    assert (parsed.prompt, parsed.negative_prompt) == ("scratched metal surface", "blurry")
    assert parsed.settings["Sampler"] == "DPM++ SDE"
    assert parsed.settings["Schedule type"] == "Karras"
    assert parsed.settings["Size"] == "64x64"
    assert str(parsed) == RECORDED


def test_prompts_of_several_lines_and_quoted_values_survive() -> None:
    text = 'a, b: c\nsecond line\nNegative prompt: no\nnever\nSteps: 1, Seed: 2, Note: "a, \\"b\\": c", Size: 8x8'
    parsed = parse_infotext(text)
    assert parsed.prompt == "a, b: c\nsecond line"
    assert parsed.negative_prompt == "no\nnever"
    assert parsed.settings["Note"] == 'a, "b": c'
    assert str(parsed) == text


@pytest.mark.parametrize("text", ["", "only a prompt", "Steps: 4", "with colon: yes, and: two"])
def test_text_without_settings_is_a_prompt(text: str) -> None:
    assert parse_infotext(text) == Infotext(prompt=text)


def test_a_missing_prompt_is_empty() -> None:
    assert parse_infotext("Steps: 4, Sampler: Euler, Seed: 1").prompt == ""


line = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30).map(str.strip)
prompt = line.filter(lambda text: not text.startswith("Negative prompt:"))
value = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r"), min_size=1, max_size=20).filter(
    lambda text: text == text.strip()
)


@given(prompt, line, value, value)
def test_what_is_formatted_is_parsed_back(positive: str, negative: str, first: str, second: str) -> None:
    written = Infotext(positive, negative, {"Steps": "4", "Seed": "1", "Sampler": first, "Note": second})
    assert parse_infotext(str(written)) == written


def test_it_is_read_from_a_png_chunk() -> None:
    chunks = PngInfo()
    chunks.add_text("parameters", "焊盘, Steps: 1")
    buffer = io.BytesIO()
    Image.new("L", (2, 2)).save(buffer, "PNG", pnginfo=chunks)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        assert read_infotext(image) == "焊盘, Steps: 1"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    "comment", [b"UNICODE\0" + "Steps: 1 焊盘".encode("utf-16-be"), b"\0" * 8 + "Steps: 1 焊盘".encode()]
)
def test_it_is_read_from_an_exif_comment(kind: str, comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind, exif=exif)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        assert read_infotext(image) == "Steps: 1 焊盘"


def test_an_image_without_it_gives_nothing() -> None:
    assert read_infotext(Image.new("L", (2, 2))) == ""


def test_every_recorded_infotext_is_written_back_to_the_letter(webui_recordings: Path) -> None:
    texts = set()
    for path in (webui_recordings / "replies").glob("post_*.json"):
        body = json.loads(path.read_text(encoding="utf-8")).get("body")
        if isinstance(body, dict) and isinstance(body.get("info"), str) and body["info"].startswith("{"):
            texts.update(json.loads(body["info"])["infotexts"])
    assert len(texts) > 10
    for text in texts:
        assert str(parse_infotext(text)) == text


TEXT = (
    "scratched metal surface\nNegative prompt: blurry\nSteps: 4, Sampler: DPM++ SDE, Schedule type: Karras, "
    "CFG scale: 7.0, Seed: 42, Size: 64x96, Model hash: aedc3ec63e, Model: random-v1, Denoising strength: 0.3, "
    "Clip skip: 2, Version: 1.10.1"
)


def picture_file(kind: str, mode: str = "RGB", **how: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((24, 16), 80).convert(mode).save(buffer, kind, **how)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


FILES = {
    "PNG": picture_file("PNG"),
    "PNG grey": picture_file("PNG", "L"),
    "PNG palette": picture_file("PNG", "P"),
    "JPEG": picture_file("JPEG"),
    "JPEG progressive": picture_file("JPEG", progressive=True),
    "WebP": picture_file("WEBP"),
    "WebP lossless": picture_file("WEBP", lossless=True),
    "WebP alpha": picture_file("WEBP", "RGBA"),
    "WebP animated": picture_file("WEBP", save_all=True, append_images=[Image.new("RGB", (24, 16), "red")]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_gets_the_text_and_keeps_its_pixels(name: str) -> None:
    written = embed_infotext(FILES[name], TEXT)
    before, after = opened(FILES[name]), opened(written)
    assert read_infotext(after) == TEXT
    assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
    assert after.tobytes() == before.tobytes()
    assert getattr(after, "n_frames", 1) == getattr(before, "n_frames", 1)


@pytest.mark.parametrize("name", FILES)
def test_a_second_text_takes_the_place_of_the_first(name: str) -> None:
    once = embed_infotext(FILES[name], "焊盘\n" + TEXT)
    twice = embed_infotext(once, TEXT)
    assert read_infotext(opened(twice)) == TEXT
    assert twice == embed_infotext(FILES[name], TEXT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_other_metadata_stays(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:01 00:00:00"
    data = picture_file(kind, icc_profile=b"a colour profile", exif=exif)
    image = opened(embed_infotext(data, TEXT))
    assert image.info["icc_profile"] == b"a colour profile"
    assert image.getexif()[0x010F] == "camera"
    assert image.getexif().get_ifd(0x8769)[0x9003] == "2024:01:01 00:00:00"
    assert read_infotext(image) == TEXT


LITTLE_ENDIAN = b"Exif\0\0II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x010F, 2, 4, b"abc\0", 0)
"""An EXIF block with a camera's name, least significant byte first."""


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("text", [TEXT, "一个焊盘\n" + TEXT])
def test_a_block_of_little_endian_metadata_holds_the_text_too(kind: str, text: str) -> None:
    image = opened(embed_infotext(picture_file(kind, exif=LITTLE_ENDIAN), text))
    assert image.getexif().endian == "<"
    assert image.getexif()[0x010F] == "abc"
    assert read_infotext(image) == text


def test_fill_bytes_between_a_jpegs_segments_are_passed_over() -> None:
    table = FILES["JPEG"].index(b"\xff\xdb")
    padded = FILES["JPEG"][:table] + b"\xff\xff" + FILES["JPEG"][table:]
    written = opened(embed_infotext(padded, TEXT))
    assert read_infotext(written) == TEXT
    assert written.tobytes() == opened(padded).tobytes()


def test_what_follows_a_pngs_end_stays() -> None:
    written = embed_infotext(FILES["PNG"] + b"appended", TEXT)
    assert written.endswith(b"appended")
    assert read_infotext(opened(written)) == TEXT


def test_a_png_that_ends_in_the_middle_of_a_chunk_is_refused() -> None:
    with pytest.raises(BadImage):
        embed_infotext(FILES["PNG"][:-10], TEXT)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)


@given(texts)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP"])
def test_any_text_comes_back_to_the_letter(name: str, text: str) -> None:
    assert read_infotext(opened(embed_infotext(FILES[name], text))) == text


def test_a_pil_image_becomes_png() -> None:
    image = Image.effect_noise((8, 8), 50)
    written = opened(embed_infotext(image, load_infotext(TEXT)))
    assert written.format == "PNG"
    assert written.tobytes() == image.tobytes()
    assert read_infotext(written) == TEXT


def test_a_file_is_written_in_place_or_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "异物" / "3.jpg"
    path.parent.mkdir()
    path.write_bytes(FILES["JPEG"])
    assert write_infotext(path, TEXT) == path
    assert str(load_infotext(path)) == TEXT
    copy = write_infotext(str(path), "other\n" + TEXT, tmp_path / "new" / "4.jpg")
    assert load_infotext(copy).prompt.startswith("other")
    assert str(load_infotext(path)) == TEXT
    assert [file.name for file in path.parent.iterdir()] == ["3.jpg"]


def test_a_pil_image_needs_a_path_to_be_written_to() -> None:
    with pytest.raises(SettingsError, match="path is missing"):
        write_infotext(Image.new("L", (2, 2)), TEXT)


def test_a_name_for_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"1\.JPG: its name says another format than the image's own, PNG"):
        write_infotext(Image.new("L", (2, 2)), TEXT, tmp_path / "1.JPG")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"1\.png: cannot be written"):
        write_infotext(png_bytes(), TEXT, tmp_path / "file" / "1.png")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_a_text_that_no_file_can_hold_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="NUL character or a lone surrogate"):
        embed_infotext(png_bytes(), text)


def test_formats_that_hold_no_infotext_are_refused() -> None:
    with pytest.raises(BadImage, match="BMP cannot carry infotext"):
        embed_infotext(picture_file("BMP"), TEXT)


def test_a_text_too_long_for_a_jpeg_is_refused_and_fits_a_png() -> None:
    with pytest.raises(BadImage, match="too long for a JPEG"):
        embed_infotext(FILES["JPEG"], "x" * 33_000)
    assert len(read_infotext(opened(embed_infotext(FILES["PNG"], "x" * 33_000)))) == 33_000


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused(name: str) -> None:
    data = FILES[name]
    for cut in (data[:20], data[: len(data) // 2]):
        with pytest.raises(BadImage):
            embed_infotext(cut, TEXT)


def test_recorded_images_carry_the_text_that_their_reply_tells(webui_recordings: Path) -> None:
    seen = set()
    for path in (webui_recordings / "replies").glob("post_*.json"):
        body = json.loads(path.read_text(encoding="utf-8")).get("body")
        if not (isinstance(body, dict) and isinstance(body.get("info"), str) and body.get("images")):
            continue
        if path.stem == "post_script_loopback":
            continue  # that script's reply tells its first text for every image
        info = json.loads(body["info"])
        for image, text in zip(body["images"], info["infotexts"], strict=False):
            data = base64.b64decode(image)
            assert str(load_infotext(data)) == text
            seen.add(opened(data).format)
            request = Img2ImgRequest.from_infotext(data, init_images=[png_bytes()])
            assert (request.steps, request.seed >= 0) == (info["steps"], True)
            assert request.sampler_name == info["sampler_name"]
            assert str(load_infotext(embed_infotext(data, text))) == text
            assert opened(embed_infotext(data, text)).tobytes() == opened(data).tobytes()
    assert {"PNG", "JPEG"} <= seen


def test_the_request_that_made_an_image_is_read() -> None:
    request = Img2ImgRequest.from_infotext(embed_infotext(FILES["WebP"], TEXT), init_images=[png_bytes()])
    assert (request.prompt, request.negative_prompt) == ("scratched metal surface", "blurry")
    assert (request.steps, request.sampler_name, request.scheduler) == (4, "DPM++ SDE", "Karras")
    assert (request.cfg_scale, request.seed, request.width, request.height) == (7.0, 42, 64, 96)
    assert request.denoising_strength == 0.3
    assert request.override_settings == {"sd_model_checkpoint": "random-v1 [aedc3ec63e]", "CLIP_stop_at_last_layers": 2}
    assert request.mask_blur is None
    assert request.init_images == (png_bytes(),)


@pytest.mark.parametrize(
    ("labels", "model"),
    [
        ("Model: random-v1", "random-v1"),
        ("Model hash: 912817b742", "912817b742"),
        ("Model hash: 912817b742, Model: random-v1", "random-v1 [912817b742]"),
    ],
)
def test_the_model_is_asked_for_by_what_the_text_tells(labels: str, model: str) -> None:
    request = Txt2ImgRequest.from_infotext(f"Steps: 4, Sampler: Euler, Seed: 1, {labels}")
    assert request.override_settings == {"sd_model_checkpoint": model, "CLIP_stop_at_last_layers": 1}


def test_an_old_joint_sampler_name_stays() -> None:
    request = Txt2ImgRequest.from_infotext("a pad\nSteps: 20, Sampler: DPM++ SDE Karras, CFG scale: 7, Seed: 1")
    assert (request.sampler_name, request.scheduler) == ("DPM++ SDE Karras", None)


MASKED = "Steps: 4, Sampler: Euler, CFG scale: 7.0, Seed: 1, Size: 64x64"


@pytest.mark.parametrize(
    ("labels", "blur", "fill", "only_masked", "padding", "invert"),
    [
        ("Mask blur: 4", 4, 1, False, 0, 0),
        ("Mask blur: 4, Inpaint area: Only masked, Masked area padding: 8", 4, 1, True, 8, 0),
        ("Mask blur: 4, Masked content: fill", 4, 0, False, 0, 0),
        ("Mask blur: 4, Masked content: latent nothing", 4, 3, False, 0, 0),
        ("Mask mode: Inpaint not masked, Mask blur: 4", 4, 1, False, 0, 1),
        ("Masked content: latent noise", 0, 2, False, 0, 0),
    ],
)
def test_the_masks_settings_are_those_the_text_says_or_leaves_out(
    labels: str, blur: int, fill: int, only_masked: bool, padding: int, invert: int
) -> None:
    request = Img2ImgRequest.from_infotext(f"{MASKED}, {labels}", init_images=[png_bytes()], mask=png_bytes())
    assert (request.mask_blur, request.inpainting_fill, request.inpaint_full_res) == (blur, fill, only_masked)
    assert (request.inpaint_full_res_padding, request.inpainting_mask_invert) == (padding, invert)
    assert request.mask == png_bytes()


def test_with_a_mask_and_no_word_about_it_the_servers_silence_is_read() -> None:
    request = Img2ImgRequest.from_infotext(MASKED, init_images=[png_bytes()], mask=png_bytes())
    assert (request.mask_blur, request.inpainting_fill, request.inpaint_full_res) == (0, 1, False)


@pytest.mark.parametrize(
    "name", ["mask", "mask_fill0", "mask_fill3", "mask_invert", "mask_wholepic", "mask_allblack", "subseed", "tiling"]
)
def test_a_recorded_request_is_found_again_from_its_text(webui_recordings: Path, name: str) -> None:
    recording = json.loads((webui_recordings / "replies" / f"post_{name}.json").read_text(encoding="utf-8"))
    text = json.loads(recording["body"]["info"])["infotexts"][0]
    asked = {name: value for name, value in recording["request"].items() if name not in ("init_images", "mask")}
    mask = png_bytes() if "mask" in recording["request"] else None
    request = Img2ImgRequest.from_infotext(text, init_images=[png_bytes()], mask=mask)
    found = request.model_dump(include=set(asked))
    assert found == asked


def test_hires_fix_is_found_by_its_labels() -> None:
    request = Txt2ImgRequest.from_infotext(
        "Steps: 20, Sampler: Euler, Seed: 1, Size: 512x512, Denoising strength: 0.4, Hires upscale: 1.5, "
        "Hires steps: 10, Hires upscaler: R-ESRGAN 4x+"
    )
    assert (request.enable_hr, request.denoising_strength, request.hr_scale) == (True, 0.4, 1.5)
    assert (request.hr_second_pass_steps, request.hr_upscaler) == (10, "R-ESRGAN 4x+")
    assert Txt2ImgRequest.from_infotext(MASKED + ", Denoising strength: 0.4").enable_hr is False


def test_the_text_of_another_call_gives_what_both_have_in_common() -> None:
    hires = "Steps: 2, Sampler: Euler, Seed: 1, Denoising strength: 0.4, Hires upscale: 1.5"
    assert Img2ImgRequest.from_infotext(hires, init_images=[png_bytes()]).denoising_strength == 0.4
    assert Txt2ImgRequest.from_infotext(f"{MASKED}, Mask blur: 4").seed == 1


def test_what_the_caller_says_counts_more_than_the_text() -> None:
    request = Img2ImgRequest.from_infotext(TEXT, init_images=[png_bytes()], seed=7, batch_size=2)
    assert (request.seed, request.batch_size, request.steps) == (7, 2, 4)


def test_face_restoration_is_asked_for_with_its_model() -> None:
    request = Txt2ImgRequest.from_infotext("Steps: 2, Sampler: Euler, Seed: 1, Face restoration: GFPGAN")
    assert request.restore_faces is True
    assert request.override_settings == {"face_restoration_model": "GFPGAN", "CLIP_stop_at_last_layers": 1}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("Steps: many, Seed: 1, Size: 64x64", "Steps: 'many' is not a whole number"),
        ("Steps: 4, Seed: 1.5, Size: 64x64", r"Seed: '1\.5' is not a whole number"),
        ("Steps: 4, Seed: 1, CFG scale: x", "CFG scale: 'x' is not a number"),
        ("Steps: 4, Seed: 1, CFG scale: nan", "CFG scale: 'nan' cannot be asked for: .*finite"),
        ("Steps: 4, Seed: 1, Size: 64", "Size: '64' is not a size"),
        ("Steps: 4, Seed: 1, Size: 65x64", "Size: '65x64' cannot be asked for: .*multiple of 8"),
        ("Steps: 0, Seed: 1, Size: 64x64", "Steps: '0' cannot be asked for"),
        ("Steps: 4, Seed: 1, Denoising strength: 1.5", r"Denoising strength: '1\.5' cannot be asked for"),
        ("Steps: 4, Seed: 1, Tiling: perhaps", "Tiling: 'perhaps' is not True or False"),
        ("Steps: 4, Seed: 1, Clip skip: two", "Clip skip: 'two' is not a whole number"),
        (
            "Steps: 4, Seed: 1, First pass size: 0x0",
            "First pass size: '0x0' is not a size such as .*; give firstphase_width=...",
        ),
        ("Steps: 4, Seed: 1, Hires upscale: 2", "settings cannot be asked for: .*enable_hr needs denoising_strength"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(labels: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Txt2ImgRequest.from_infotext(f"a pad\n{labels}")


def test_an_unknown_way_to_fill_a_mask_is_named() -> None:
    with pytest.raises(SettingsError, match="Masked content: 'cheese' is unknown; expected one of fill, original"):
        Img2ImgRequest.from_infotext("Steps: 4, Seed: 1, Masked content: cheese", init_images=[png_bytes()])


def test_a_label_that_is_not_asked_about_does_no_harm() -> None:
    text = "Steps: many, Seed: 1, Size: x, Hires upscale: y, First pass size: 0x0, Clip skip: z"
    request = Img2ImgRequest.from_infotext(
        text, init_images=[png_bytes()], steps=3, width=64, height=64, override_settings=None
    )
    assert (request.steps, request.seed, request.width, request.override_settings) == (3, 1, 64, None)


def test_the_callers_own_mistake_is_not_blamed_on_the_text() -> None:
    with pytest.raises(ValidationError, match="steps"):
        Txt2ImgRequest.from_infotext(TEXT, steps=0)
    with pytest.raises(ValidationError, match="no_such_field"):
        Txt2ImgRequest.from_infotext(TEXT, no_such_field=0)


def test_an_image_without_infotext_is_named(tmp_path: Path) -> None:
    path = tmp_path / "3.png"
    path.write_bytes(png_bytes())
    with pytest.raises(SettingsError, match=r"3\.png: carries no infotext"):
        load_infotext(path)
    with pytest.raises(SettingsError, match="the image: carries no infotext"):
        Txt2ImgRequest.from_infotext(Image.new("L", (2, 2)))
    with pytest.raises(BadImage, match=r"4\.png: cannot be read"):
        load_infotext(tmp_path / "4.png")


def test_words_without_settings_are_refused_with_a_hint_at_paths() -> None:
    with pytest.raises(SettingsError, match=r"holds no settings.*pathlib\.Path"):
        load_infotext("pad.png")
    with pytest.raises(SettingsError, match="holds no settings"):
        load_infotext(Infotext("only words"))


names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12)
prompts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=20).filter(
    lambda text: not text.startswith("Negative prompt:")
)
floats = st.floats(min_value=0, max_value=30, allow_subnormal=False)
rates = st.floats(min_value=0, max_value=1)
sizes = st.integers(1, 256).map(lambda count: count * 8)
options = st.fixed_dictionaries(
    {"CLIP_stop_at_last_layers": st.integers(1, 12)},
    optional={
        "sd_model_checkpoint": st.one_of(names, st.from_regex(r"[a-z]{1,8} \[[0-9a-f]{10}\]", fullmatch=True)),
        "eta_noise_seed_delta": st.integers(0, 99999),
        "sd_vae": names,
        "randn_source": st.sampled_from(["GPU", "CPU", "NV"]),
    },
)
shared = {
    "prompt": prompts,
    "negative_prompt": prompts,
    "steps": st.integers(1, 150),
    "sampler_name": names,
    "seed": st.integers(0, 2**32),
    "cfg_scale": floats,
    "width": sizes,
    "height": sizes,
    "override_settings": options,
}
sometimes = {
    "scheduler": names,
    "tiling": st.booleans(),
    "eta": floats,
    "s_churn": floats,
    "refiner_checkpoint": names,
    "refiner_switch_at": rates,
}
variation = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"subseed": st.integers(0, 2**32), "subseed_strength": st.floats(min_value=0.01, max_value=1)}
    ),
)
masks = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "mask": st.just(png_bytes()),
            "mask_blur": st.integers(0, 64),
            "inpainting_fill": st.integers(0, 3),
            "inpainting_mask_invert": st.integers(0, 1),
            "inpaint_full_res": st.booleans(),
            "inpaint_full_res_padding": st.integers(0, 256),
        }
    ),
)
second_passes = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"enable_hr": st.just(True), "denoising_strength": rates},
        optional={
            "hr_scale": st.floats(min_value=1, max_value=4),
            "hr_upscaler": names,
            "hr_second_pass_steps": st.integers(0, 50),
            "hr_resize_x": sizes,
            "hr_resize_y": sizes,
            "hr_sampler_name": names,
            "hr_prompt": names,
        },
    ),
)


@given(st.fixed_dictionaries({**shared, "denoising_strength": rates}, optional=sometimes), variation, masks)
@settings(max_examples=150, deadline=None)
def test_a_request_for_img2img_comes_back_from_its_text(
    fields: dict[str, Any], varied: dict[str, Any], masked: dict[str, Any]
) -> None:
    request = Img2ImgRequest(init_images=[png_bytes()], **fields, **varied, **masked)
    text = str(request.to_infotext())
    again = Img2ImgRequest.from_infotext(text, init_images=[png_bytes()], mask=masked.get("mask"))
    assert again == request


@given(st.fixed_dictionaries(shared, optional=sometimes), variation, second_passes)
@settings(max_examples=150, deadline=None)
def test_a_request_for_txt2img_comes_back_from_an_image(
    fields: dict[str, Any], varied: dict[str, Any], passes: dict[str, Any]
) -> None:
    request = Txt2ImgRequest(**fields, **varied, **passes)
    assert Txt2ImgRequest.from_infotext(embed_infotext(FILES["JPEG"], request.to_infotext())) == request
