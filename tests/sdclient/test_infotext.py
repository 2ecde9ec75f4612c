"""Infotext: parsed, formatted, and read out of image files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdclient.infotext import Infotext, parse_infotext, read_infotext

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
