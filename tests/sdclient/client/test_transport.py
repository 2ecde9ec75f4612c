"""When a failure is tried again, how long it waits, and that no job is ever doubled."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import sdclient
from sdclient.client import RetryPolicy, Timeouts, WebUI
from sdclient.client.generation_job import may_have_arrived
from sdclient.client.transport import NEVER, Retrier, is_transient, retry_after_s
from sdclient.errors import (
    ApiDisabled,
    BadImage,
    NotFound,
    RequestRejected,
    RequestTimedOut,
    ServerFault,
    ServerLoading,
    ServerOutOfMemory,
    ServerUnreachable,
    TooManyRequests,
    Unauthorized,
    UnknownSetting,
    WebUIError,
)
from sdclient.models import Img2ImgRequest
from sdclient.serve.app import EmbeddedServerOptions, running_server
from tests.support.webui import SAMPLERS, SCHEDULERS, png_bytes, reply_body

RETRY_REFUSED = ServerUnreachable("refused")
RESET = ServerUnreachable("reset", may_have_arrived=True)
PASSING = [
    RETRY_REFUSED,
    RESET,
    ServerLoading("502", status=502),
    ServerLoading("503", status=503),
    ServerLoading("504", status=504),
    TooManyRequests("429"),
    RequestTimedOut("connect", phase="connect"),
]
LASTING = [
    ServerLoading("silent"),
    ServerLoading("page without API", status=404),
    RequestTimedOut("read", phase="read"),
    Unauthorized("401", status=401),
    RequestRejected("422", status=422),
    ServerFault("500", status=500),
    ServerOutOfMemory("500", status=500),
    ApiDisabled("no API"),
]


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_what_may_pass_is_tried_again(error: WebUIError) -> None:
    assert is_transient(error)
    assert RetryPolicy().wait_s(1, error) is not None


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_what_lasts_is_not(error: WebUIError) -> None:
    assert not is_transient(error)
    assert RetryPolicy().wait_s(1, error) is None


def test_waits_grow_and_are_capped() -> None:
    policy = RetryPolicy(attempts=6, first_wait_s=1, factor=3, longest_wait_s=20, jitter_rate=0)
    assert [policy.wait_s(n, RETRY_REFUSED) for n in range(1, 7)] == [1, 3, 9, 20, 20, None]


@given(st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_jitter_adds_at_most_its_share_and_never_passes_the_cap(failures: int, jitter: float) -> None:
    policy = RetryPolicy(attempts=30, first_wait_s=0.5, factor=2, longest_wait_s=8, jitter_rate=0.25)
    plain, jittered = policy.wait_s(failures, RETRY_REFUSED), policy.wait_s(failures, RETRY_REFUSED, jitter)
    assert plain is not None
    assert jittered is not None
    assert plain <= jittered <= min(plain * 1.25, 8)


def test_the_server_may_say_how_long_to_wait_up_to_the_cap() -> None:
    policy = RetryPolicy(longest_wait_s=10)
    assert policy.wait_s(1, TooManyRequests("429", retry_after_s=7)) == 7
    assert policy.wait_s(1, TooManyRequests("429", retry_after_s=11)) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, datetime(2026, 10, 21, 7, 28, 0, tzinfo=timezone.utc)) == seconds


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"first_wait_s": -1}, {"factor": 0.5}, {"longest_wait_s": -1}])
def test_a_policy_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(**bad)


def test_calls_are_repeated_until_they_succeed_with_the_policys_waits() -> None:
    answers: list[Any] = [RETRY_REFUSED, ServerLoading("503", status=503), "done"]
    slept: list[float] = []

    def attempt() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    policy = RetryPolicy(attempts=3, first_wait_s=1, factor=2, jitter_rate=0)
    assert Retrier(policy, slept.append, lambda: 0.0).call(attempt) == "done"
    assert slept == [1, 2]


def test_the_last_failure_is_the_one_that_is_told() -> None:
    failures: list[WebUIError] = [ServerLoading("first", status=503), RETRY_REFUSED]

    def attempt() -> None:
        raise failures.pop(0)

    with pytest.raises(ServerUnreachable, match="refused"):
        Retrier(RetryPolicy(attempts=2), lambda _: None, lambda: 0.0).call(attempt)
    assert failures == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RETRY_REFUSED, False),
        (RESET, True),
        (RequestTimedOut("read", phase="read"), True),
        (RequestTimedOut("connect", phase="connect"), False),
        (ServerLoading("504", status=504), True),
        (TooManyRequests("429"), False),
    ],
)
def test_whether_a_job_may_be_running_after_a_failure(error: WebUIError, expected: bool) -> None:
    assert may_have_arrived(error) is expected


class OneJobAtATime:
    """A server that answers the first img2img too late, and counts how many jobs ran at once."""

    def __init__(self, server: HTTPServer, *, knows_tasks: bool = True) -> None:
        self.jobs: list[str] = []
        self.questions = 0
        self.still_running_for = 3
        self.release = threading.Event()
        server.expect_request("/sdapi/v1/samplers").respond_with_json(SAMPLERS)
        server.expect_request("/sdapi/v1/schedulers").respond_with_json(SCHEDULERS)
        server.expect_request("/sdapi/v1/img2img").respond_with_handler(self._img2img)
        if knows_tasks:
            server.expect_request("/internal/progress").respond_with_handler(self._internal)
        else:
            server.expect_request("/internal/progress").respond_with_json({"detail": "Not Found"}, status=404)
        server.expect_request("/sdapi/v1/progress").respond_with_handler(self._progress)

    def _img2img(self, request: Request) -> Response:
        self.jobs.append(json.loads(request.get_data())["force_task_id"])
        if len(self.jobs) == 1:
            self.release.wait(10)
        else:
            assert self.questions >= self.still_running_for, "a second job was sent while the first one ran"
        return Response(json.dumps(reply_body()), content_type="application/json")

    def _busy(self) -> bool:
        self.questions += 1
        return self.questions < self.still_running_for

    def _internal(self, request: Request) -> Response:
        assert json.loads(request.get_data())["id_task"] == self.jobs[0]
        return Response(json.dumps({"active": True, "queued": False, "completed": False}))  # even when it has failed

    def _progress(self, _: Request) -> Response:
        busy = self._busy()
        return Response(
            json.dumps({"progress": 0.5, "eta_relative": 1, "state": {"job": "Batch" * busy, "job_count": int(busy)}})
        )


@pytest.fixture
def threaded() -> Iterator[HTTPServer]:
    with HTTPServer(threaded=True) as server:
        yield server


@pytest.mark.parametrize("knows_tasks", [True, False])
def test_a_job_is_sent_again_only_when_the_server_no_longer_works_on_it(
    threaded: HTTPServer, knows_tasks: bool
) -> None:
    server = OneJobAtATime(threaded, knows_tasks=knows_tasks)
    slept: list[float] = []
    with WebUI(threaded.url_for(""), timeouts=Timeouts(generate_s=60)) as webui:
        webui._retrier = Retrier(RetryPolicy(attempts=2), slept.append, lambda: 0.0)
        request = Img2ImgRequest(
            init_images=[png_bytes()], sampler_name="Euler", steps=20, seed=42, width=64, height=64
        )
        result = webui.img2img(request, timeout_s=0.5)
    server.release.set()
    assert len(result.images) == 1
    assert len(server.jobs) == 2
    assert server.jobs[0] == server.jobs[1]
    assert server.questions == server.still_running_for
    assert len(slept) == 3  # twice between questions, once before sending again
    threaded.check_assertions()


def test_a_job_whose_fate_cannot_be_learnt_is_not_sent_again(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/sdapi/v1/img2img").respond_with_json({}, status=504)
    httpserver.expect_request("/internal/progress").respond_with_json({}, status=503)
    with WebUI(httpserver.url_for("")) as webui, pytest.raises(ServerLoading, match="504"):
        webui.img2img(Img2ImgRequest(init_images=[png_bytes()]))
    assert [request.path for request, _ in httpserver.log].count("/sdapi/v1/img2img") == 1


def test_questions_are_repeated_and_orders_are_not(httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/sdapi/v1/options").respond_with_json({}, status=503)
    httpserver.expect_ordered_request("/sdapi/v1/options").respond_with_json({"samples_format": "webp"})
    httpserver.expect_request("/sdapi/v1/interrupt").respond_with_json({}, status=503)
    with WebUI(httpserver.url_for(""), retries=RetryPolicy(first_wait_s=0)) as webui:
        assert webui.options().samples_format == "webp"
        with pytest.raises(ServerLoading):
            webui.interrupt()
    assert [request.path for request, _ in httpserver.log].count("/sdapi/v1/interrupt") == 1


def test_a_call_may_override_the_policy(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/sdapi/v1/options").respond_with_json({}, status=503)
    with WebUI(httpserver.url_for("")) as webui, pytest.raises(ServerLoading):
        webui.call("GET", "/sdapi/v1/options", retries=NEVER)
    assert len(httpserver.log) == 1


def test_any_other_call_goes_through_the_same_door(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/sdapi/v1/create/embedding", method="POST", json={"name": "x"}).respond_with_json(
        {"info": "created"}
    )
    httpserver.expect_request("/sdapi/v1/server-kill", method="POST").respond_with_data(b"", status=204)
    with WebUI(httpserver.url_for("")) as webui:
        assert webui.call("POST", "/sdapi/v1/create/embedding", json={"name": "x"}) == {"info": "created"}
        assert webui.call("POST", "/sdapi/v1/server-kill", json={}) is None


def test_waiting_for_a_server_that_is_starting(httpserver: HTTPServer) -> None:
    for _ in range(2):
        httpserver.expect_ordered_request("/sdapi/v1/samplers").respond_with_json({}, status=503)
    httpserver.expect_ordered_request("/sdapi/v1/samplers").respond_with_json(SAMPLERS)
    slept: list[float] = []
    with WebUI(httpserver.url_for("")) as webui:
        webui._retrier = Retrier(RetryPolicy(), slept.append)
        webui.wait_until_ready(timeout_s=60)
    assert len(slept) == 2


def test_waiting_ends_with_the_reason(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/sdapi/v1/samplers").respond_with_json({}, status=503)
    with WebUI(httpserver.url_for("")) as webui:
        webui._retrier = Retrier(RetryPolicy(), lambda _: None)
        with pytest.raises(ServerLoading):
            webui.wait_until_ready(timeout_s=5)


def test_a_wrong_password_is_not_waited_for(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/sdapi/v1/samplers").respond_with_json({}, status=401)
    with WebUI(httpserver.url_for("")) as webui, pytest.raises(Unauthorized):
        webui.wait_until_ready()
    assert len(httpserver.log) == 1


def test_the_public_face_is_what_all_says() -> None:
    for name in sdclient.__all__:
        assert getattr(sdclient, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        sdclient.nothing_like_it  # noqa: B018


REFUSED = "refused before it is sent"
ACCEPTED = "accepted"
MISSING = object()


def board() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


BOARD = board()
USUAL: dict[str, Any] = {
    "init_images": [BOARD],
    "prompt": "scratched metal surface",
    "sampler_name": "DPM++ SDE",
    "scheduler": "Karras",
    "steps": 4,
    "width": 64,
    "height": 64,
    "seed": 42,
}

TABLE: dict[str, tuple[dict[str, Any], Any]] = {
    "warm": ({}, ACCEPTED),
    "empty_body": (dict.fromkeys(USUAL, MISSING), REFUSED),
    "no_init_images": ({"init_images": MISSING}, REFUSED),
    "init_images_null": ({"init_images": None}, REFUSED),
    "init_images_empty": ({"init_images": []}, REFUSED),
    "init_images_str": ({"init_images": "pad.png"}, REFUSED),
    "init_images_badb64": ({"init_images": [b"!!! not base64 !!!"]}, REFUSED),
    "init_images_b64_nonimage": ({"init_images": [b"hello world"]}, REFUSED),
    "init_images_emptystr": ({"init_images": [b""]}, REFUSED),
    "init_images_two": ({"init_images": [BOARD, BOARD]}, REFUSED),
    "init_images_two_bs2": ({"init_images": [BOARD, BOARD], "batch_size": 2}, ACCEPTED),
    "mask_bad": ({"mask": b"xxxx"}, REFUSED),
    "sampler_unknown": ({"sampler_name": "Nope"}, REFUSED),
    "sampler_legacy": ({"sampler_name": "DPM++ SDE Karras", "scheduler": None}, ACCEPTED),
    "sampler_legacy_plus_sched": ({"sampler_name": "DPM++ SDE Karras", "scheduler": "Exponential"}, REFUSED),
    "sampler_lower": ({"sampler_name": "dpm++ sde"}, ACCEPTED),
    "sampler_alias": ({"sampler_name": "k_dpmpp_sde"}, ACCEPTED),
    "sampler_null": ({"sampler_name": None}, ACCEPTED),
    "sampler_missing": ({"sampler_name": MISSING, "scheduler": MISSING}, ACCEPTED),
    "sampler_index_only": ({"sampler_name": MISSING, "sampler_index": "Euler a"}, ACCEPTED),
    "sampler_int": ({"sampler_name": MISSING, "sampler_index": 3}, REFUSED),
    "sampler_empty": ({"sampler_name": ""}, REFUSED),
    "scheduler_unknown": ({"scheduler": "Nope"}, REFUSED),
    "scheduler_lower": ({"scheduler": "karras"}, ACCEPTED),
    "scheduler_automatic": ({"scheduler": "Automatic"}, ACCEPTED),
    "scheduler_null": ({"scheduler": None}, ACCEPTED),
    "script_unknown": ({"script_name": "nope"}, RequestRejected),
    "alwayson_unknown": ({"alwayson_scripts": {"nope": {"args": []}}}, RequestRejected),
    "alwayson_controlnet": ({"alwayson_scripts": {"ControlNet": {"args": []}}}, RequestRejected),
    "alwayson_selectable": ({"alwayson_scripts": {"Loopback": {"args": []}}}, RequestRejected),
    "alwayson_seed_ok": ({"alwayson_scripts": {"Seed": {"args": []}}}, ACCEPTED),
    "alwayson_sampler_ok": ({"alwayson_scripts": {"Sampler": {"args": []}}}, ACCEPTED),
    "alwayson_noargs": ({"alwayson_scripts": {"Seed": {}}}, ACCEPTED),
    "alwayson_list": ({"alwayson_scripts": []}, REFUSED),
    "extra_field": ({"nonsense": 1}, REFUSED),
    "steps_str": ({"steps": "four"}, REFUSED),
    "steps_numstr": ({"steps": "4"}, ACCEPTED),
    "steps_float": ({"steps": 4.7}, REFUSED),
    "seed_str": ({"seed": "abc"}, REFUSED),
    "seed_null": ({"seed": None}, REFUSED),
    "seed_float": ({"seed": 42.9}, REFUSED),
    "seed_big": ({"seed": 2**40}, ACCEPTED),
    "seed_huge": ({"seed": 2**70}, REFUSED),
    "seed_neg2": ({"seed": -2}, REFUSED),
    "seed_-1": ({"seed": -1}, ACCEPTED),
    "prompt_int": ({"prompt": 5}, REFUSED),
    "prompt_null": ({"prompt": None}, REFUSED),
    "prompt_missing": ({"prompt": MISSING}, ACCEPTED),
    "prompt_list": ({"prompt": ["a"]}, REFUSED),
    "denoise_1.5": ({"denoising_strength": 1.5}, REFUSED),
    "denoise_-1": ({"denoising_strength": -1}, REFUSED),
    "denoise_0": ({"denoising_strength": 0}, ACCEPTED),
    "denoise_1": ({"denoising_strength": 1}, ACCEPTED),
    "denoise_null": ({"denoising_strength": None}, REFUSED),
    "denoise_missing": ({"denoising_strength": MISSING}, ACCEPTED),
    "width_0": ({"width": 0}, REFUSED),
    "width_-64": ({"width": -64}, REFUSED),
    "width_65": ({"width": 65}, REFUSED),
    "width_7": ({"width": 7, "height": 7}, REFUSED),
    "width_8": ({"width": 8, "height": 8}, ACCEPTED),
    "width_72": ({"width": 72, "height": 56}, ACCEPTED),
    "wh_missing_src64": ({"width": MISSING, "height": MISSING, "steps": 1}, ACCEPTED),
    "n_iter_0": ({"n_iter": 0}, REFUSED),
    "n_iter_-1": ({"n_iter": -1}, REFUSED),
    "batch_0": ({"batch_size": 0}, REFUSED),
    "batch_-1": ({"batch_size": -1}, REFUSED),
    "batch_1e6": ({"batch_size": 10**6}, ServerOutOfMemory),
    "steps_0": ({"steps": 0}, REFUSED),
    "steps_-1": ({"steps": -1}, REFUSED),
    "steps_1": ({"steps": 1}, ACCEPTED),
    "cfg_1": ({"cfg_scale": 1}, ACCEPTED),
    "cfg_0": ({"cfg_scale": 0}, ACCEPTED),
    "resize_mode_9": ({"resize_mode": 9}, REFUSED),
    # Not among the odd requests, but in the table of the genuine server's answers:
    "truncated_png": ({"init_images": [BOARD[:-2000]]}, BadImage),
    "override_unknown": ({"override_settings": {"nope_setting": 1}}, ServerFault),
}
CALLS: dict[str, tuple[str, str, type[WebUIError]]] = {
    "get_img2img": ("GET", "/sdapi/v1/img2img", RequestRejected),
    "wrong_path": ("GET", "/sdapi/v1/nope", NotFound),
    "trailing_slash": ("GET", "/sdapi/v1/samplers/", RequestRejected),
    "root": ("GET", "/", NotFound),
    "internal_ping": ("GET", "/internal/ping", NotFound),
}
CANNOT_BE_SENT = {"json_list", "not_json", "no_ct"}
"""Bodies that are no JSON object: the client has no way to send one."""


@pytest.fixture(scope="module")
def webui() -> Iterator[WebUI]:
    with running_server() as server, WebUI(server.url, retries=RetryPolicy(attempts=1)) as client:
        yield client


def build(changes: dict[str, Any]) -> Img2ImgRequest:
    return Img2ImgRequest(**{name: value for name, value in {**USUAL, **changes}.items() if value is not MISSING})


@pytest.mark.parametrize("name", TABLE)
def test_each_odd_request_has_its_outcome(webui: WebUI, name: str) -> None:
    changes, outcome = TABLE[name]
    if outcome == ACCEPTED:
        assert len(webui.img2img(build(changes)).images) == changes.get("batch_size", 1)
    elif outcome == REFUSED:
        with pytest.raises((ValidationError, BadImage, UnknownSetting)) as caught:
            webui.img2img(build(changes))
        assert getattr(caught.value, "status", None) is None  # no reply: nothing was sent
    else:
        with pytest.raises(WebUIError) as failed:
            webui.img2img(build(changes))
        assert type(failed.value) is outcome
        assert failed.value.status is not None
        assert failed.value.server_words


@pytest.mark.parametrize("name", CALLS)
def test_each_odd_call_has_its_leaf(webui: WebUI, name: str) -> None:
    method, path, leaf = CALLS[name]
    with pytest.raises(WebUIError) as caught:
        webui.call(method, path)  # type: ignore[arg-type]
    assert type(caught.value) is leaf


@pytest.mark.parametrize(
    ("auth", "words"), [(None, "it wants a name and password"), (("user", "wrong"), "name or password is wrong")]
)
def test_a_missing_and_a_wrong_password(
    auth: tuple[str, str] | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SDCLIENT_AUTH", raising=False)
    with running_server(EmbeddedServerOptions(api_auth="user:right")) as server:
        with WebUI(server.url, auth=auth) as client, pytest.raises(Unauthorized, match=words):
            client.options()
        with WebUI(server.url, auth=("user", "right")) as client:
            assert client.options().samples_format == "png"


def test_the_table_leaves_no_recording_out(webui_recordings: Path) -> None:
    names = set(json.loads((webui_recordings / "bad_requests.json").read_text(encoding="utf-8")))
    assert names == (set(TABLE) | set(CALLS) | CANNOT_BE_SENT) - {"truncated_png", "override_unknown"}
