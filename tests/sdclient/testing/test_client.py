"""Our client against every fault: the right leaf, tried again where that is safe, and no job doubled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sdclient.client import RetryPolicy, Timeouts, WebUI
from sdclient.client.transport import NEVER, Retrier
from sdclient.errors import (
    BadImage,
    IncompleteReply,
    ModelProducedNaN,
    RequestRejected,
    RequestTimedOut,
    ServerFault,
    ServerLoading,
    ServerOutOfMemory,
    ServerUnreachable,
    SettingSubstituted,
    Unauthorized,
    WebUIError,
)
from sdclient.testing import Held, WebUIServer
from tests.support.requests_to_testing import request

LONG_ENOUGH_S = 1.0
"""A time-out that a job which is not held up never meets, also on a busy machine."""


@pytest.fixture
def webui(webui_server: WebUIServer) -> Iterator[WebUI]:
    """A client that knows the server's samplers already, so that only the job itself meets what is planned."""
    with webui_server.client() as client:
        assert client.dialect
        yield client


def images_made(server: WebUIServer) -> list[int]:
    return [job.images for job in server.jobs]


def test_refused_connections_are_tried_again(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.refuse(times=2)
    assert len(webui.img2img(request()).images) == 1
    assert images_made(webui_server) == [1]
    webui_server.faults.assert_all_used()


def test_a_server_that_stays_away_is_unreachable(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.refuse(times=3)
    with pytest.raises(ServerUnreachable, match="nothing answers there") as caught:
        webui.img2img(request())
    assert caught.value.may_have_arrived is False
    assert webui_server.jobs == ()
    webui_server.faults.assert_all_used()


@pytest.mark.parametrize(("after", "made"), [(False, [1]), (True, [1, 1])])
def test_a_broken_connection_is_tried_again_once_the_job_has_ended(
    webui_server: WebUIServer, webui: WebUI, after: bool, made: list[int]
) -> None:
    webui_server.faults.reset(after=after)
    assert len(webui.img2img(request()).images) == 1
    assert images_made(webui_server) == made
    webui_server.assert_no_job_doubled()
    asked = [seen.path for seen in webui_server.requests if seen.path == "/internal/progress"]
    assert len(asked) == 1


def test_without_retries_a_broken_connection_says_that_the_job_may_run(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.reset(after=True)
    with pytest.raises(ServerUnreachable, match="closed the connection") as caught:
        webui.img2img(request(), retries=NEVER)
    assert caught.value.may_have_arrived is True


@pytest.mark.parametrize("code", [502, 503, 504])
@pytest.mark.parametrize("after", [False, True])
def test_what_a_gateway_answers_is_tried_again(webui_server: WebUIServer, webui: WebUI, code: int, after: bool) -> None:
    webui_server.faults.status(code, after=after)
    assert len(webui.img2img(request()).images) == 1
    assert images_made(webui_server) == [1, 1] if after else [1]
    webui_server.assert_no_job_doubled()


def test_a_gateways_limit_is_waited_for(webui_server: WebUIServer, webui: WebUI) -> None:
    slept: list[float] = []
    webui._retrier = Retrier(RetryPolicy(), slept.append)
    webui_server.faults.status(429, retry_after_s=5)
    assert webui.img2img(request()).images
    assert slept == [5]


@pytest.mark.parametrize(
    ("fault", "arguments", "leaf"),
    [
        ("out_of_memory", {}, ServerOutOfMemory),
        ("nan", {}, ModelProducedNaN),
        ("status", {"code": 500}, ServerFault),
        ("status", {"code": 401}, Unauthorized),
        ("status", {"code": 422}, RequestRejected),
        ("status", {"code": 500, "body": {"detail": "Invalid encoded image"}}, BadImage),
    ],
)
def test_what_lasts_is_told_by_its_leaf_and_not_tried_again(
    webui_server: WebUIServer, webui: WebUI, fault: str, arguments: dict[str, Any], leaf: type[WebUIError]
) -> None:
    getattr(webui_server.faults, fault)(**arguments)
    with pytest.raises(WebUIError) as caught:
        webui.img2img(request())
    assert type(caught.value) is leaf
    assert [seen.path for seen in webui_server.requests].count("/sdapi/v1/img2img") == 1
    assert webui.img2img(request()).images


@pytest.mark.parametrize(
    ("changes", "setting", "asked", "used"),
    [
        ({"sampler": "Euler"}, "sampler", "DPM++ SDE", "Euler"),
        ({"scheduler": "Exponential"}, "scheduler", "Karras", "Exponential"),
        ({"seed": 8}, "seeds", [7], [8]),
        ({"steps": 3}, "steps", 4, 3),
        ({"width": 72}, "size", "64x64", "72x64"),
        ({"height": 56}, "size", "64x64", "64x56"),
    ],
)
def test_a_substitution_is_an_error_that_names_both(
    webui_server: WebUIServer, webui: WebUI, changes: dict[str, Any], setting: str, asked: object, used: object
) -> None:
    webui_server.faults.substitute(**changes)
    with pytest.raises(SettingSubstituted) as caught:
        webui.img2img(request())
    assert (caught.value.setting, caught.value.asked, caught.value.used) == (setting, asked, used)
    webui_server.faults.substitute(**changes)
    assert webui.img2img(request(), verify=False).images
    webui_server.faults.assert_all_used()


def test_missing_images_are_counted(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.short_reply(missing=1)
    with pytest.raises(IncompleteReply) as caught:
        webui.img2img(request(batch_size=2))
    assert (caught.value.asked, caught.value.got) == (2, 1)


def test_half_a_reply_is_never_taken_for_a_whole_one(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.truncate()
    with pytest.raises(ServerUnreachable, match="middle of the answer"):
        webui.img2img(request(), retries=NEVER)
    assert images_made(webui_server) == [1]


class _ReleasesWhenAsleep:
    """The client's sleep: lets the held job go on, so that the next question finds it nearer its end."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.slept: list[float] = []

    def __call__(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self.held.release()


def test_a_job_that_takes_too_long_is_waited_for_and_not_doubled(webui_server: WebUIServer, webui: WebUI) -> None:
    held = webui_server.faults.delay()
    sleep = _ReleasesWhenAsleep(held)
    webui._retrier = Retrier(RetryPolicy(attempts=2), sleep)
    assert webui.img2img(request(), timeout_s=LONG_ENOUGH_S).images
    assert images_made(webui_server) == [1, 1]
    assert len(sleep.slept) >= 2
    webui_server.assert_no_job_doubled()


def test_a_job_that_waits_behind_another_is_not_doubled_either(webui_server: WebUIServer, webui: WebUI) -> None:
    """The first client's job holds the server; the second one's time-out comes while its own is still queued."""
    held = webui_server.faults.delay()
    with webui_server.client() as other:
        other._retrier = Retrier(NEVER)
        with pytest.raises(RequestTimedOut, match="still be working on it"):
            other.img2img(request(seed=1), timeout_s=0.3)
        sleep = _ReleasesWhenAsleep(held)
        webui._retrier = Retrier(RetryPolicy(attempts=2), sleep)
        assert webui.img2img(request(seed=2), timeout_s=LONG_ENOUGH_S).images
    webui_server.assert_no_job_doubled()


def test_a_late_reply_is_a_job_done_so_it_may_be_sent_again(webui_server: WebUIServer, webui: WebUI) -> None:
    with webui_server.faults.delay(after=True):
        policy = RetryPolicy(attempts=2, first_wait_s=0)
        assert webui.img2img(request(), timeout_s=LONG_ENOUGH_S, retries=policy).images
    assert images_made(webui_server) == [1, 1]
    webui_server.assert_no_job_doubled()


def test_a_job_whose_fate_nobody_knows_is_not_sent_again(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.reset(after=True)
    webui_server.faults.status(503, on="progress")
    with pytest.raises(ServerUnreachable):
        webui.img2img(request())
    assert images_made(webui_server) == [1]
    webui_server.faults.assert_all_used()


def test_a_silent_server_counts_as_loading(webui_server: WebUIServer) -> None:
    silent = webui_server.client(timeouts=Timeouts(read_s=0.3))
    with webui_server.faults.delay(on="options"), silent, pytest.raises(ServerLoading, match="still be loading"):
        silent.options()


def test_questions_survive_faults_that_pass(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.reset(on="options")
    webui_server.faults.status(503, on="options")
    assert webui.options().samples_format == "png"
    webui_server.faults.assert_all_used()


def test_orders_are_not_repeated(webui_server: WebUIServer, webui: WebUI) -> None:
    webui_server.faults.reset(on="options", after=True)
    with pytest.raises(ServerUnreachable):
        webui.set_options({"samples_format": "webp"})
    assert webui.options().samples_format == "webp"


def test_txt2img_meets_the_same_faults(webui_server: WebUIServer, webui: WebUI) -> None:
    from sdclient.models import Txt2ImgRequest

    webui_server.faults.reset(after=True)
    webui_server.faults.substitute(sampler="Euler")
    asked = Txt2ImgRequest(prompt="pad", width=64, height=64, steps=2, seed=1, sampler_name="DDIM")
    with pytest.raises(SettingSubstituted):
        webui.txt2img(asked)
    assert webui.txt2img(asked).images
    assert images_made(webui_server) == [1, 1, 1]
