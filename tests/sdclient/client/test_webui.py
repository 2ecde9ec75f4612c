"""The client against a scripted server: what it sends, what it accepts, what it refuses."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sdclient import errors
from sdclient.client import RetryPolicy, Timeouts, WebUI
from sdclient.client.generation_job import JobState, job_state
from sdclient.errors import (
    ApiDisabled,
    BadImage,
    IncompleteReply,
    ModelProducedNaN,
    NotAWebUI,
    NotFound,
    RequestRejected,
    RequestTimedOut,
    ServerFault,
    ServerLoading,
    ServerOutOfMemory,
    ServerUnreachable,
    SettingSubstituted,
    Unauthorized,
    UnexpectedReply,
    UnknownSetting,
    WebUIError,
)
from sdclient.models import (
    ADetailerUnit,
    ControlNetUnit,
    ExtrasBatchRequest,
    ExtrasSingleRequest,
    GenerationReply,
    Img2ImgRequest,
    InternalProgressRequest,
    InterrogateRequest,
    Txt2ImgRequest,
    alwayson,
)
from tests.support.server_doubles import FORGE, SDNEXT, recorded_a1111, serve
from tests.support.webui import png_bytes, reply_body

IMG2IMG = "/sdapi/v1/img2img"


def plain_request(**changes: Any) -> Img2ImgRequest:
    values = {"init_images": [png_bytes()], "sampler_name": "Euler", "steps": 20, "seed": 42, "width": 64, "height": 64}
    return Img2ImgRequest(**{**values, **changes})


def sent_json(server: HTTPServer) -> dict[str, Any]:
    return json.loads([request for request, _ in server.log if request.path == IMG2IMG][-1].get_data())


def test_an_image_comes_back_with_its_seed_and_infotext(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG, method="POST").respond_with_json(reply_body(images=2))
    result = webui.img2img(plain_request(batch_size=2))
    assert [image.seed for image in result.images] == [42, 43]
    assert result.images[1].infotext.endswith("Seed: 43")
    assert result.images[0].format == "PNG"
    assert result.images[0].pil().size == (64, 64)


def test_every_setting_is_sent_and_the_source_as_bare_base64(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(reply_body())
    source = png_bytes((64, 64), "L")
    webui.img2img(plain_request(init_images=[source]))
    sent = sent_json(scripted)
    assert base64.b64decode(sent["init_images"][0]) == source
    assert (sent["width"], sent["height"], sent["denoising_strength"], sent["steps"]) == (64, 64, 0.25, 20)
    assert None not in sent.values()


@pytest.mark.parametrize("as_kind", [str, Path, Path.read_bytes])
def test_a_source_may_be_a_path_or_bytes(tmp_path: Path, as_kind: Any) -> None:
    path = tmp_path / "焊盘.png"
    path.write_bytes(png_bytes())
    assert base64.b64decode(plain_request(init_images=[as_kind(path)]).payload()["init_images"][0]) == png_bytes()


def test_the_joint_sampler_name_is_sent_as_two_fields(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(
        reply_body(sampler_name="DPM++ SDE", extra_generation_params={"Schedule type": "Karras"})
    )
    webui.img2img(plain_request(sampler_name="DPM++ SDE Karras"))
    sent = sent_json(scripted)
    assert (sent["sampler_name"], sent["scheduler"]) == ("DPM++ SDE", "Karras")


def test_the_joint_name_is_kept_for_a_server_from_before_schedulers(httpserver: HTTPServer, webui: WebUI) -> None:
    httpserver.expect_request("/sdapi/v1/samplers").respond_with_json([{"name": "DPM++ SDE Karras", "aliases": []}])
    httpserver.expect_request("/sdapi/v1/schedulers").respond_with_json({"detail": "Not Found"}, status=404)
    httpserver.expect_request(IMG2IMG).respond_with_json(reply_body(sampler_name="DPM++ SDE Karras"))
    webui.img2img(plain_request(sampler_name="DPM++ SDE", scheduler="karras"))
    assert sent_json(httpserver)["sampler_name"] == "DPM++ SDE Karras"
    assert "scheduler" not in sent_json(httpserver)


@pytest.mark.parametrize(
    ("asked", "info", "setting"),
    [
        ({}, {"sampler_name": "DPM++ 2M"}, "sampler"),
        ({"scheduler": "Karras"}, {}, "scheduler"),
        ({"scheduler": "Karras"}, {"extra_generation_params": {"Schedule type": "Exponential"}}, "scheduler"),
        ({}, {"steps": 19}, "steps"),
        ({}, {"cfg_scale": 1.0}, "cfg scale"),
        ({}, {"denoising_strength": 0.75}, "denoising strength"),
        ({}, {"all_seeds": [7]}, "seeds"),
        ({"override_settings": {"sd_model_checkpoint": "other.safetensors [f00]"}}, {}, "model"),
    ],
)
def test_a_silent_substitution_is_an_error_that_names_both_values(
    scripted: HTTPServer, webui: WebUI, asked: dict[str, Any], info: dict[str, Any], setting: str
) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(reply_body(**info))
    with pytest.raises(SettingSubstituted) as caught:
        webui.img2img(plain_request(**asked))
    assert caught.value.setting == setting
    assert str(caught.value.asked) in str(caught.value)
    assert str(caught.value.used) in str(caught.value)


def test_another_size_than_asked_is_an_error(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(reply_body(size=(64, 56)))
    with pytest.raises(SettingSubstituted, match="size '64x56' instead of '64x64'"):
        webui.img2img(plain_request())


@pytest.mark.parametrize("size", [(96, 80), (64, 64)], ids=["the source's", "the one asked, as with a blank mask"])
def test_repainting_the_masked_area_gives_the_sources_size(
    scripted: HTTPServer, webui: WebUI, size: tuple[int, int]
) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(reply_body(size=size))
    request = plain_request(init_images=[png_bytes((96, 80))], mask=png_bytes((96, 80)), inpaint_full_res=True)
    assert webui.img2img(request).images[0].pil().size == size


def test_repainting_the_masked_area_gives_no_other_size(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(reply_body(size=(80, 96)))
    with pytest.raises(SettingSubstituted, match="size '80x96' instead of '64x64 or 96x80'"):
        webui.img2img(plain_request(init_images=[png_bytes((96, 80))], mask=png_bytes((96, 80))))


def test_the_model_asked_for_by_its_title_counts_as_used(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(reply_body())
    webui.img2img(plain_request(override_settings={"sd_model_checkpoint": "model.safetensors [abc123]"}))


def test_an_interrupted_job_is_noticed_by_counting_images_not_seeds(scripted: HTTPServer, webui: WebUI) -> None:
    body = reply_body(images=3)
    body["images"] = body["images"][:1]
    scripted.expect_request(IMG2IMG).respond_with_json(body)
    with pytest.raises(IncompleteReply, match="1 of 3") as caught:
        webui.img2img(plain_request(n_iter=3))
    assert (caught.value.asked, caught.value.got) == (3, 1)


def test_a_grid_in_front_and_extras_behind_are_left_out(scripted: HTTPServer, webui: WebUI) -> None:
    body = reply_body(images=2, index_of_first_image=1, infotexts=["grid", "first", "second"])
    grid = base64.b64encode(png_bytes((128, 64))).decode()
    extra = base64.b64encode(png_bytes((8, 8))).decode()
    body["images"] = [grid, *body["images"], extra]
    scripted.expect_request(IMG2IMG).respond_with_json(body)
    result = webui.img2img(plain_request(batch_size=2))
    assert [(image.seed, image.infotext) for image in result.images] == [(42, "first"), (43, "second")]


def test_an_unknown_sampler_is_refused_before_anything_is_sent(scripted: HTTPServer, webui: WebUI) -> None:
    with pytest.raises(UnknownSetting, match=r"'Euler b'.*Euler a"):
        webui.img2img(plain_request(sampler_name="Euler b"))
    assert all(request.path != IMG2IMG for request, _ in scripted.log)


def test_unknown_fields_and_impossible_values_are_refused_when_the_request_is_built() -> None:
    for changes in [
        {"denoise": 1},
        {"width": 65},
        {"steps": 0},
        {"denoising_strength": 1.5},
        {"seed": -2},
        {"n_iter": 0},
    ]:
        with pytest.raises(ValidationError):
            plain_request(**changes)
    with pytest.raises(ValidationError):
        Img2ImgRequest(init_images=[])


def test_half_a_surrogate_pair_goes_out_and_comes_back(scripted: HTTPServer, webui: WebUI) -> None:
    """JSON can say it, UTF-8 cannot; a prompt pasted out of a damaged text may hold one."""
    scripted.expect_request(IMG2IMG, method="POST").respond_with_data(
        '{"text": "\\ud83d", "nan": NaN}', content_type="application/json"
    )
    answer = webui.call("POST", IMG2IMG, json={"prompt": "\ud83d 焊盘"})
    assert sent_json(scripted) == {"prompt": "\ud83d 焊盘"}
    assert answer["text"] == "\ud83d"
    assert math.isnan(answer["nan"])


def test_a_request_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        plain_request().steps = 5  # type: ignore[misc]


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("not an image")
    with pytest.raises(BadImage, match=r"notes\.png"):
        plain_request(init_images=[path])


@pytest.mark.parametrize(
    ("status", "body", "leaf", "words"),
    [
        (401, {"error": "HTTPException", "detail": "Not authenticated", "errors": ""}, Unauthorized, "SDCLIENT_AUTH"),
        (404, {"error": "HTTPException", "detail": "Init image not found", "errors": ""}, BadImage, "Init image"),
        (
            422,
            {"error": "HTTPException", "detail": "Script 'nope' not found", "body": "", "errors": ""},
            RequestRejected,
            "Script 'nope' not found",
        ),
        (
            422,
            {
                "detail": [
                    {"loc": ["body", "steps"], "msg": "value is not a valid integer", "type": "type_error.integer"}
                ]
            },
            RequestRejected,
            "body.steps: value is not a valid integer",
        ),
        (500, {"error": "HTTPException", "detail": "Invalid encoded image", "errors": ""}, BadImage, "Invalid"),
        (500, {"error": "OSError", "detail": "", "errors": "image file is truncated"}, BadImage, "truncated"),
        (500, {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory."}, ServerOutOfMemory, "batch"),
        (
            500,
            {"error": "MemoryError", "detail": "", "errors": "Unable to allocate 45.8 GiB"},
            ServerOutOfMemory,
            "45.8",
        ),
        (
            500,
            {"error": "NansException", "detail": "", "errors": "A tensor with NaNs was produced in VAE."},
            ModelProducedNaN,
            "--no-half-vae",
        ),
        (500, {"error": "ZeroDivisionError", "detail": "", "errors": "integer division"}, ServerFault, "Zero"),
        (503, {}, ServerLoading, "not ready"),
        (405, {"detail": "Method Not Allowed"}, RequestRejected, "Method Not Allowed"),
    ],
)
def test_each_answer_becomes_the_leaf_that_says_what_to_do(
    scripted: HTTPServer, webui: WebUI, status: int, body: dict[str, Any], leaf: type[WebUIError], words: str
) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(body, status=status)
    with pytest.raises(leaf) as caught:
        webui.img2img(plain_request())
    assert type(caught.value) is leaf
    assert words in str(caught.value)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)


def test_a_validation_error_names_its_field(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(
        {"detail": [{"loc": ["body", "seed"], "msg": "value is not a valid integer", "type": "type_error.integer"}]},
        status=422,
    )
    with pytest.raises(RequestRejected) as caught:
        webui.img2img(plain_request())
    assert caught.value.field == "seed"


def test_image_data_in_the_servers_words_is_elided(scripted: HTTPServer, webui: WebUI) -> None:
    data = base64.b64encode(png_bytes((64, 64), "RGB", (1, 2, 3)) * 3).decode()
    scripted.expect_request(IMG2IMG).respond_with_json(
        {"error": "ValueError", "detail": "", "errors": data}, status=500
    )
    with pytest.raises(ServerFault, match="<image data>") as caught:
        webui.img2img(plain_request())
    assert data[:100] not in str(caught.value)


def test_nothing_listening_says_how_to_start_the_webui(unused_tcp_port: int) -> None:
    with WebUI(f"http://127.0.0.1:{unused_tcp_port}") as webui, pytest.raises(ServerUnreachable, match="--api"):
        webui.samplers()


@pytest.fixture
def unused_tcp_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_webui_without_its_api_says_what_to_add(httpserver: HTTPServer, webui: WebUI) -> None:
    httpserver.expect_request("/internal/ping").respond_with_json({})
    httpserver.expect_request("/").respond_with_data("<html>gradio</html>")
    for path in ("/sdapi/v1/options", "/sdapi/v1/samplers"):
        httpserver.expect_request(path).respond_with_json({"detail": "Not Found"}, status=404)
    with pytest.raises(ApiDisabled, match=r"--api.*webui-user\.bat.*webui-user\.sh"):
        webui.options()


def test_a_page_without_an_api_yet_is_still_loading(httpserver: HTTPServer, webui: WebUI) -> None:
    httpserver.expect_request("/").respond_with_data('<meta property="og:url" content="https://gradio.app/" />')
    for path in ("/sdapi/v1/options", "/sdapi/v1/samplers", "/internal/ping"):
        httpserver.expect_request(path).respond_with_json({"detail": "Not Found"}, status=404)
    with pytest.raises(ServerLoading, match="wait a minute"):
        webui.options()


def test_another_program_at_the_address_is_told_apart(httpserver: HTTPServer, webui: WebUI) -> None:
    httpserver.expect_request("/").respond_with_data("<html>a printer</html>")
    for path in ("/sdapi/v1/options", "/sdapi/v1/samplers", "/internal/ping"):
        httpserver.expect_request(path).respond_with_data("gone", status=404)
    with pytest.raises(NotAWebUI, match="7860"):
        webui.options()


def test_a_call_that_an_old_server_lacks_is_not_found(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request("/sdapi/v1/memory").respond_with_json({"detail": "Not Found"}, status=404)
    with pytest.raises(NotFound, match="/sdapi/v1/memory"):
        webui.memory()


def test_html_instead_of_json_is_not_a_webui(httpserver: HTTPServer, webui: WebUI) -> None:
    httpserver.expect_request("/sdapi/v1/options").respond_with_data("<html></html>")
    with pytest.raises(NotAWebUI):
        webui.options()


def test_a_reply_of_another_shape_names_the_place(httpserver: HTTPServer, webui: WebUI) -> None:
    httpserver.expect_request("/sdapi/v1/samplers").respond_with_json([{"label": "Euler"}])
    with pytest.raises(UnexpectedReply, match=r"0\.name"):
        webui.samplers()


def hang(server: HTTPServer, path: str) -> None:
    """Answer only when the test is over."""
    import threading

    release = threading.Event()

    def wait(_: Request) -> Response:
        release.wait(5)
        return Response("{}")

    server.expect_request(path).respond_with_handler(wait)
    server.release = release  # type: ignore[attr-defined]


def test_a_silent_server_is_said_to_be_loading(httpserver: HTTPServer) -> None:
    hang(httpserver, "/sdapi/v1/options")
    with WebUI(httpserver.url_for(""), timeouts=Timeouts(read_s=0.1)) as webui, pytest.raises(ServerLoading):
        webui.options()
    httpserver.release.set()  # type: ignore[attr-defined]


def test_a_generation_that_takes_too_long_says_that_it_may_still_run(scripted: HTTPServer) -> None:
    hang(scripted, IMG2IMG)
    with (
        WebUI(scripted.url_for(""), timeouts=Timeouts(generate_s=0.1), retries=RetryPolicy(attempts=1)) as webui,
        pytest.raises(RequestTimedOut, match="still be working") as caught,
    ):
        webui.img2img(plain_request())
    assert caught.value.phase == "read"
    scripted.release.set()  # type: ignore[attr-defined]


def test_credentials_are_sent_but_never_shown(httpserver: HTTPServer) -> None:
    address = httpserver.url_for("").replace("http://", "http://inspector:s3cret@")
    httpserver.expect_request("/sdapi/v1/options").respond_with_json(
        {"detail": "Incorrect username or password", "error": "HTTPException"}, status=401
    )
    with WebUI(address) as webui, pytest.raises(Unauthorized, match="wrong") as caught:
        webui.options()
    assert [request.authorization.username for request, _ in httpserver.log if request.authorization] == ["inspector"]
    assert "s3cret" not in f"{caught.value}{webui!r}{webui.url}"


def test_credentials_come_from_the_environment(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCLIENT_AUTH", "name:with:colons")
    monkeypatch.setenv("SDCLIENT_URL", httpserver.url_for(""))
    httpserver.expect_request("/sdapi/v1/options").respond_with_json({})
    with WebUI() as webui:
        webui.options()
    assert httpserver.log[0][0].authorization.password == "with:colons"
    monkeypatch.setenv("SDCLIENT_AUTH", "nocolon")
    with pytest.raises(errors.SettingsError, match="SDCLIENT_AUTH"):
        WebUI()


def test_the_default_address_is_the_webuis_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDCLIENT_URL", raising=False)
    assert WebUI().url == "http://127.0.0.1:7860"


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://host:99999", "://"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(errors.SettingsError, match="address"):
        WebUI(url)


def test_a_system_proxy_is_bypassed_for_loopback(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    httpserver.expect_request("/sdapi/v1/options").respond_with_json({"samples_format": "png"})
    with WebUI(httpserver.url_for("")) as webui:
        assert webui.options().samples_format == "png"


def test_calls_about_the_server_are_typed(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request("/sdapi/v1/options", method="GET").respond_with_json({"samples_format": "jpg", "other": 1})
    scripted.expect_request("/sdapi/v1/options", method="POST", json={"samples_format": "png"}).respond_with_json(None)
    scripted.expect_request("/sdapi/v1/interrupt", method="POST").respond_with_json({})
    scripted.expect_request("/sdapi/v1/sd-models").respond_with_json([{"title": "m [1]", "model_name": "m"}])
    scripted.expect_request("/sdapi/v1/memory").respond_with_json(
        {"ram": {"free": 1.5}, "cuda": {"error": "unavailable"}}
    )
    scripted.expect_request("/sdapi/v1/cmd-flags").respond_with_json({"api": True, "port": "7860"})
    scripted.expect_request("/sdapi/v1/progress").respond_with_json(
        {"progress": 0.5, "eta_relative": 2.0, "state": {"job": "Batch 1 out of 1"}, "current_image": None}
    )
    scripted.expect_request("/sdapi/v1/png-info", method="POST").respond_with_json({"info": "x", "items": {}})
    assert webui.options().samples_format == "jpg"
    assert webui.options().model_extra == {"other": 1}
    webui.set_options({"samples_format": "png"})
    webui.interrupt()
    assert webui.sd_models()[0].model_name == "m"
    assert webui.memory().cuda == {"error": "unavailable"}
    assert webui.cmd_flags().api is True
    assert webui.progress().state.job == "Batch 1 out of 1"
    assert webui.png_info(png_bytes()).info == "x"


def test_txt2img_is_checked_like_img2img(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request("/sdapi/v1/txt2img", method="POST").respond_with_json(reply_body(denoising_strength=None))
    request = Txt2ImgRequest(prompt="铜箔", sampler_name="k_euler", steps=20, seed=42, width=64, height=64)
    result = webui.txt2img(request)
    assert result.request.sampler_name == "Euler"
    assert result.images[0].seed == 42
    with pytest.raises(SettingSubstituted, match="steps"):
        webui.txt2img(request.model_copy(update={"steps": 21}))
    with pytest.raises(SettingSubstituted, match="size"):
        webui.txt2img(request.model_copy(update={"width": 128}))


@pytest.mark.parametrize(
    ("unit", "reported"),
    [
        (ControlNetUnit(model="canny"), 'ControlNet 0: "Module: canny"'),
        (ADetailerUnit(ad_model="face_yolov8n.pt"), "ADetailer model: face_yolov8n.pt"),
    ],
)
def test_an_extension_that_did_nothing_is_an_error(
    scripted: HTTPServer, webui: WebUI, unit: Any, reported: str
) -> None:
    worked = "Steps: 20, Sampler: Euler, Seed: 42"
    scripted.expect_oneshot_request(IMG2IMG).respond_with_json(reply_body(infotexts=[worked]))
    scripted.expect_oneshot_request(IMG2IMG).respond_with_json(reply_body(infotexts=[f"{worked}, {reported}"]))
    with pytest.raises(SettingSubstituted, match="server's log"):
        webui.img2img(plain_request(alwayson_scripts=alwayson(unit)))
    assert len(webui.img2img(plain_request(alwayson_scripts=alwayson(unit))).images) == 1


def test_a_unit_that_is_switched_off_is_not_looked_for(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request(IMG2IMG).respond_with_json(reply_body())
    units = alwayson(ControlNetUnit(enabled=False), ADetailerUnit(ad_model="None"))
    assert len(webui.img2img(plain_request(alwayson_scripts=units)).images) == 1


def test_the_size_of_a_second_pass_is_left_to_the_server(scripted: HTTPServer, webui: WebUI) -> None:
    scripted.expect_request("/sdapi/v1/txt2img").respond_with_json(reply_body(size=(96, 96), denoising_strength=0.4))
    request = Txt2ImgRequest(
        steps=20, seed=42, width=64, height=64, enable_hr=True, hr_scale=1.5, denoising_strength=0.4
    )
    assert webui.txt2img(request).images[0].pil().size == (96, 96)
    with pytest.raises(SettingSubstituted, match="denoising strength"):
        webui.txt2img(request.model_copy(update={"denoising_strength": 0.5}))


def test_all_recorded_replies_of_img2img_are_parsed_without_loss(webui_recordings: Path) -> None:
    parsed = 0
    for path in sorted((webui_recordings / "replies").glob("post_*.json")):
        body = json.loads(path.read_text(encoding="utf-8")).get("body")
        if not isinstance(body, dict) or "info" not in body or "parameters" not in body or "images" not in body:
            continue
        reply = GenerationReply.model_validate(body)
        info = json.loads(body["info"])
        assert json.loads(reply.info.model_dump_json()) | info == json.loads(reply.info.model_dump_json())
        assert [base64.b64encode(image).decode() for image in reply.images or ()] == body["images"]
        parsed += 1
    assert parsed > 20


def test_the_request_has_every_field_of_the_recorded_contract(webui_recordings: Path) -> None:
    contract = json.loads((webui_recordings / "openapi.json").read_text(encoding="utf-8"))
    properties = contract["components"]["schemas"]["StableDiffusionProcessingImg2Img"]["properties"]
    fields = Img2ImgRequest.model_fields
    assert set(fields) == set(properties)
    differing = {"denoising_strength", "init_images"}  # ours is safer; ours is required
    payload = plain_request().model_dump(mode="json")
    for name, spec in properties.items():
        if name not in differing and name not in {"seed", "sampler_name", "steps", "width", "height"}:
            assert payload[name] == spec.get("default"), name


def test_each_recorded_refusal_is_refused_here_or_mapped_to_an_error(webui_recordings: Path) -> None:
    """No recorded answer of 400 and more may pass for anything but a leaf of our tree with the server's words."""
    from sdclient.client.transport import error_from_reply

    recorded = json.loads((webui_recordings / "bad_requests.json").read_text(encoding="utf-8"))
    refused = {name: entry for name, entry in recorded.items() if entry["status"] >= 400}
    for name, entry in refused.items():
        error = error_from_reply(entry["status"], entry["body"], "http://server", has_credentials=False)
        assert error.status == entry["status"], name
        assert type(error) is not WebUIError, name
    assert len(refused) > 30


ONCE = RetryPolicy(attempts=1)


@pytest.mark.parametrize("call", ["interrupt", "skip", "unload_checkpoint", "reload_checkpoint", "refresh_vae"])
def test_an_empty_204_is_no_error(httpserver: HTTPServer, call: str) -> None:
    path = f"/sdapi/v1/{call.replace('_', '-')}"
    httpserver.expect_oneshot_request(path, method="POST").respond_with_data("", status=204)
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        getattr(webui, call)()
    httpserver.check_assertions()


LISTS = {
    "sd_models": "sd-models",
    "sd_vaes": "sd-vae",
    "upscalers": "upscalers",
    "latent_upscale_modes": "latent-upscale-modes",
    "realesrgan_models": "realesrgan-models",
    "face_restorers": "face-restorers",
    "loras": "loras",
    "embeddings": "embeddings",
    "hypernetworks": "hypernetworks",
    "prompt_styles": "prompt-styles",
    "scripts": "scripts",
    "script_info": "script-info",
    "extensions": "extensions",
    "samplers": "samplers",
    "schedulers": "schedulers",
}


@pytest.mark.parametrize(("method", "path"), LISTS.items())
def test_every_recorded_list_comes_typed_and_whole(httpserver: HTTPServer, method: str, path: str) -> None:
    answers = recorded_a1111()
    with WebUI(serve(httpserver, answers), retries=ONCE) as webui:
        typed = getattr(webui, method)()
    plain = [entry.model_dump(mode="json") for entry in typed] if isinstance(typed, tuple) else typed.model_dump()
    assert json.loads(json.dumps(plain)) == _with_defaults(answers[f"/sdapi/v1/{path}"], json.loads(json.dumps(plain)))


def _with_defaults(recorded: Any, typed: Any) -> Any:
    """The recording, with the fields added that our types give a default for."""
    if isinstance(recorded, dict):
        return {**{key: typed[key] for key in typed.keys() - recorded.keys()}} | {
            key: _with_defaults(value, typed[key]) for key, value in recorded.items()
        }
    if isinstance(recorded, list):
        assert len(recorded) == len(typed)
        return [_with_defaults(*pair) for pair in zip(recorded, typed, strict=True)]
    return recorded


def test_a_list_that_a_server_lacks_says_so(httpserver: HTTPServer) -> None:
    with WebUI(serve(httpserver, FORGE), retries=ONCE) as webui, pytest.raises(NotFound, match="sd-vae"):
        webui.sd_vaes()


PNG = base64.b64encode(png_bytes()).decode()


@pytest.mark.parametrize(
    ("path", "reply", "call", "sent", "got"),
    [
        (
            "/sdapi/v1/extra-single-image",
            {"html_info": "<p></p>", "image": PNG},
            lambda webui: webui.extras(ExtrasSingleRequest(image=png_bytes(), upscaler_1="Lanczos")).image,
            {"upscaler_1": "Lanczos", "image": PNG},
            png_bytes(),
        ),
        (
            "/sdapi/v1/extra-batch-images",
            {"html_info": "<p></p>", "images": [PNG, PNG]},
            lambda webui: webui.extras_batch(ExtrasBatchRequest(images=[png_bytes(), png_bytes()])).images,
            {"imageList": [{"data": PNG, "name": "1.png"}, {"data": PNG, "name": "2.png"}]},
            (png_bytes(), png_bytes()),
        ),
        (
            "/sdapi/v1/interrogate",
            {"caption": "a green board"},
            lambda webui: webui.interrogate(InterrogateRequest(image=png_bytes())).caption,
            {"image": PNG, "model": "clip"},
            "a green board",
        ),
        (
            "/sdapi/v1/png-info",
            {"info": "Steps: 4", "items": {}, "parameters": {}},
            lambda webui: webui.png_info(png_bytes()).info,
            {"image": PNG},
            "Steps: 4",
        ),
        (
            "/internal/progress",
            {"active": True, "queued": False, "completed": False, "progress": 0.5, "eta": 1.5},
            lambda webui: webui.task_progress(InternalProgressRequest(id_task="mine", live_preview=False)).progress,
            {"id_task": "mine", "live_preview": False},
            0.5,
        ),
        ("/sdapi/v1/options", None, lambda webui: webui.set_options({"tiling": True}), {"tiling": True}, None),
    ],
)
def test_a_call_sends_and_reads_its_typed_payload(
    httpserver: HTTPServer, path: str, reply: Any, call: Callable[[WebUI], Any], sent: dict[str, Any], got: Any
) -> None:
    httpserver.expect_oneshot_request(path, method="POST").respond_with_json(reply)
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        assert call(webui) == got
    arrived = json.loads(httpserver.log[-1][0].get_data())
    assert {key: arrived[key] for key in sent} == sent


def test_waiting_jobs_are_listed(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/internal/pending-tasks").respond_with_json({"size": 1, "tasks": ["task(a)"]})
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        assert webui.pending_tasks().tasks == ("task(a)",)


def test_what_sdnext_lists_as_schedules_is_said_to_be_something_else(httpserver: HTTPServer) -> None:
    with WebUI(serve(httpserver, SDNEXT), retries=ONCE) as webui:
        with pytest.raises(UnexpectedReply, match=r"schedulers.*label"):
            webui.schedulers()
        assert [entry.label for entry in webui.dialect.schedulers or ()][:2] == ["Automatic", "Karras"]


@pytest.mark.parametrize(
    ("task", "job_count", "state"),
    [
        ({"active": True, "queued": False, "completed": False}, 1, JobState.WORKING),
        ({"active": True, "queued": False, "completed": False}, 0, JobState.ENDED),
        ({"active": False, "queued": True, "completed": False}, 1, JobState.WORKING),
        ({"active": False, "queued": True, "completed": False}, 0, JobState.UNSURE),
        ({"active": False, "queued": False, "completed": True}, 1, JobState.ENDED),
        ({"active": False, "queued": False, "completed": False, "paused": False}, 1, JobState.WORKING),
        ({"active": False, "queued": False, "completed": False, "paused": False}, 0, JobState.ENDED),
    ],
)
def test_a_job_is_over_when_nothing_runs_or_it_is_completed(
    httpserver: HTTPServer, task: dict[str, Any], job_count: int, state: JobState
) -> None:
    httpserver.expect_request("/internal/progress").respond_with_json(task)
    httpserver.expect_request("/sdapi/v1/progress").respond_with_json({"state": {"job": "", "job_count": job_count}})
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        assert job_state(webui._connection, "task(mine)") is state
