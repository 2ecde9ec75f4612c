"""When a failure is tried again, how long it waits, and that no job is ever doubled."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import sdclient
from sdclient.client import RetryPolicy, Timeouts, WebUI
from sdclient.client.generation_job import may_have_arrived
from sdclient.client.transport import NEVER, Retrier, is_transient, retry_after_s
from sdclient.errors import (
    ApiDisabled,
    RequestRejected,
    RequestTimedOut,
    ServerFault,
    ServerLoading,
    ServerOutOfMemory,
    ServerUnreachable,
    TooManyRequests,
    Unauthorized,
    WebUIError,
)
from sdclient.models import Img2ImgRequest
from tests.support.webui import SAMPLERS, SCHEDULERS, png_bytes, reply_body

REFUSED = ServerUnreachable("refused")
RESET = ServerUnreachable("reset", may_have_arrived=True)
PASSING = [
    REFUSED,
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
    assert [policy.wait_s(n, REFUSED) for n in range(1, 7)] == [1, 3, 9, 20, 20, None]


@given(st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_chance_adds_at_most_its_share_and_never_passes_the_cap(failures: int, chance: float) -> None:
    policy = RetryPolicy(attempts=30, first_wait_s=0.5, factor=2, longest_wait_s=8, jitter_rate=0.25)
    plain, jittered = policy.wait_s(failures, REFUSED), policy.wait_s(failures, REFUSED, chance)
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
    answers: list[Any] = [REFUSED, ServerLoading("503", status=503), "done"]
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
    failures: list[WebUIError] = [ServerLoading("first", status=503), REFUSED]

    def attempt() -> None:
        raise failures.pop(0)

    with pytest.raises(ServerUnreachable, match="refused"):
        Retrier(RetryPolicy(attempts=2), lambda _: None, lambda: 0.0).call(attempt)
    assert failures == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (REFUSED, False),
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
