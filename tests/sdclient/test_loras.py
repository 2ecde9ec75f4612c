"""LoRAs in prompts: named, looked up, and checked in the reply."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from sdclient.client import WebUI
from sdclient.errors import SettingSubstituted, UnknownSetting
from sdclient.loras import find_loras, lora_tag, loras_in, verify_loras, with_loras
from sdclient.models import GenerationInfo, GenerationReply, Img2ImgRequest
from tests.support.webui import png_bytes, reply_body


@pytest.mark.parametrize(
    ("text", "expected"),
    [("defects:0.8", "<lora:defects:0.8>"), ("defects", "<lora:defects:1>"), (" 焊盘 v2:-0.50", "<lora:焊盘 v2:-0.5>")],
)
def test_a_lora_is_asked_for_in_the_prompt(text: str, expected: str) -> None:
    assert lora_tag(text) == expected


@pytest.mark.parametrize("text", ["", ":0.8", "defects:", "defects:much", "defects:nan", "a:0.5:0.5", "<a>:1", "a,b"])
def test_what_cannot_be_asked_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected NAME or NAME:WEIGHT"):
        lora_tag(text)


def test_a_prompt_is_extended_once() -> None:
    assert with_loras("a pad", []) == "a pad"
    assert with_loras("", ["x"]) == "<lora:x:1>"
    once = with_loras("a pad", ["x:0.8", "y"])
    assert once == "a pad <lora:x:0.8> <lora:y:1>"
    assert with_loras(once, ["y", "x:0.8"]) == once


def test_names_are_found_in_prompts_in_all_forms() -> None:
    assert loras_in("a <lora:one:0.8:0.2> b <lyco:two> <lora:one:1> <hypernet:three:1>, <lora four>") == ["one", "two"]


def entry(name: str, alias: str | None = None, **metadata: str) -> dict[str, Any]:
    return {"name": name, "alias": alias or name, "path": f"/models/Lora/{name}.safetensors", "metadata": metadata}


def listing(server: HTTPServer, *entries: dict[str, Any]) -> None:
    server.expect_request("/sdapi/v1/loras").respond_with_json(list(entries))
    server.expect_request("/sdapi/v1/refresh-loras", method="POST").respond_with_json(None)


def test_listed_ones_are_found_by_name_and_by_alias_with_their_hash(httpserver: HTTPServer, webui: WebUI) -> None:
    listing(httpserver, entry("defects-v1", "defects", sshs_model_hash="ab" * 32), entry("plain"))
    assert find_loras(["defects", "plain"], webui.loras, webui.refresh_loras, server=webui.url) == {
        "defects": "ab" * 32
    }
    assert find_loras(["defects-v1"], webui.loras, webui.refresh_loras, server=webui.url) == {"defects-v1": "ab" * 32}
    assert find_loras([], webui.loras, webui.refresh_loras, server=webui.url) == {}


def test_an_alias_of_two_files_names_neither(httpserver: HTTPServer, webui: WebUI) -> None:
    listing(httpserver, entry("one", "defects"), entry("two", "Defects"))
    with pytest.raises(UnknownSetting, match="no LoRA 'defects'"):
        find_loras(["defects"], webui.loras, webui.refresh_loras, server=webui.url)


def test_a_server_is_made_to_look_again_before_one_counts_as_missing(httpserver: HTTPServer, webui: WebUI) -> None:
    httpserver.expect_oneshot_request("/sdapi/v1/loras").respond_with_json([])
    listing(httpserver, entry("defects"))
    assert find_loras(["defects"], webui.loras, webui.refresh_loras, server=webui.url) == {}
    asked = [(request.method, request.path.rpartition("/")[2]) for request, _ in httpserver.log]
    assert asked == [("GET", "loras"), ("POST", "refresh-loras"), ("GET", "loras")]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry("Defects-v2"), entry("faces")], "did you mean 'Defects-v2'"),
        ([entry("faces"), entry("anime")], "it has anime, faces; copy the file"),
        ([], "it has none; copy the file into its folder models/Lora"),
    ],
)
def test_a_missing_one_is_told_with_those_near(
    entries: list[dict[str, Any]], words: str, httpserver: HTTPServer, webui: WebUI
) -> None:
    listing(httpserver, *entries)
    with pytest.raises(UnknownSetting, match=f"no LoRA 'defects'; {words}"):
        find_loras(["defects"], webui.loras, webui.refresh_loras, server=webui.url)


def test_a_server_that_lists_none_at_all_is_told(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request("/sdapi/v1/options").respond_with_json({"samples_format": "png"})
    scripted.expect_request("/sdapi/v1/loras").respond_with_json({"detail": "Not Found"}, status=404)
    with pytest.raises(UnknownSetting, match="lists no LoRAs"):
        find_loras(["defects"], webui.loras, webui.refresh_loras, server=webui.url)


def info(**changes: Any) -> GenerationInfo:
    return GenerationReply.model_validate(reply_body(**changes)).info


def test_the_reply_must_tell_of_each() -> None:
    prompt = "a pad <lora:a, b:0.8> <lora:c:1>"
    text = "a pad\nSteps: 20, Sampler: Euler, Seed: 42, Lora hashes: " + json.dumps(
        "a b: 0123456789ab, c: ba9876543210"
    )
    verify_loras(prompt, info(extra_generation_params={"Lora hashes": "a b: 0123456789ab, c: ba9876543210"}))
    verify_loras(prompt, info(infotexts=[text]))
    with pytest.raises(SettingSubstituted, match="LoRA 'c' None instead of 'on'"):
        verify_loras(prompt, info(extra_generation_params={"Lora hashes": "a b: 0123456789ab"}))
    with pytest.raises(SettingSubstituted, match="LoRA 'a, b'"):
        verify_loras(prompt, info())


def test_the_recorded_reply_to_an_unknown_lora_is_seen_through(webui_recordings: Any) -> None:
    recorded = json.loads((webui_recordings / "replies" / "post_lora_missing.json").read_text(encoding="utf-8"))
    reply = GenerationReply.model_validate(recorded["body"])
    with pytest.raises(SettingSubstituted, match="LoRA 'nope'"):
        verify_loras(recorded["request"]["prompt"], reply.info)
    options = json.loads((webui_recordings / "replies" / "get_options.json").read_text(encoding="utf-8"))["body"]
    assert options["lora_add_hashes_to_infotext"] is True  # and so a genuine one tells, out of the box


@pytest.mark.parametrize(
    ("options", "flags", "reported"),
    [
        ({"lora_add_hashes_to_infotext": True}, {"no_hashing": False}, True),
        ({"lora_add_hashes_to_infotext": True}, None, True),
        ({"lora_add_hashes_to_infotext": True}, {"no_hashing": True}, False),
        ({"lora_add_hashes_to_infotext": False}, {"no_hashing": False}, False),
        ({}, {"no_hashing": False}, False),
    ],
)
def test_a_client_checks_where_the_server_tells(
    options: dict[str, Any], flags: dict[str, Any] | None, reported: bool, scripted: HTTPServer, webui: WebUI
) -> None:
    scripted.expect_request("/sdapi/v1/options").respond_with_json({"samples_format": "png", **options})
    answer, status = (flags, 200) if flags is not None else ({"detail": "Not Found"}, 404)
    scripted.expect_request("/sdapi/v1/cmd-flags").respond_with_json(answer, status=status)
    scripted.expect_request("/sdapi/v1/img2img").respond_with_json(reply_body())
    request = Img2ImgRequest(
        init_images=[png_bytes()],
        prompt="x <lora:nope:1>",
        sampler_name="Euler",
        steps=20,
        cfg_scale=7,
        denoising_strength=0.25,
        seed=42,
        width=64,
        height=64,
    )
    assert webui.tells_loras is reported
    if reported:
        with pytest.raises(SettingSubstituted, match="LoRA 'nope'"):
            webui.img2img(request)
        webui.img2img(request, verify=False)
    else:
        webui.img2img(request)
    plain = request.model_copy(update={"prompt": "x"})
    assert len(webui.img2img(plain).images) == 1
