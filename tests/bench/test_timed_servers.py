"""The server's own clock: work is what holds the queue lock, idle is the rest between the first job and the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sdclient.client import WebUI
from sdclient.errors import NotFound, Unauthorized
from sdclient.models import Img2ImgRequest
from sdclient.serve import generation
from sdclient.serve.app import running_server
from sdclient.serve.jobs import JobBoard
from sdclient.serve.work_clock import WorkClock, WorkTimes
from tests.support.serve_api import picture


def ticking(*seconds: float) -> WorkClock:
    moments: Iterator[float] = iter(seconds)
    return WorkClock(clock=lambda: next(moments))


def test_without_a_job_nothing_has_passed() -> None:
    assert WorkClock().read() == WorkTimes(0, 0.0, 0.0)
    assert WorkClock().read().idle_rate == 0.0


def test_time_before_the_first_job_and_after_the_last_does_not_count() -> None:
    clock = ticking(100, 103)
    with clock.job():
        assert clock.read().jobs == 0  # it has not ended
    assert clock.read() == WorkTimes(1, 3.0, 0.0)


def test_gaps_between_jobs_are_idle() -> None:
    clock = ticking(10, 13, 14, 20)
    for _ in range(2):
        with clock.job():
            pass
    assert clock.read() == WorkTimes(2, 9.0, 1.0)
    assert clock.read().idle_rate == pytest.approx(0.1)


def test_a_job_that_fails_was_work_too() -> None:
    clock = ticking(0, 2)
    with pytest.raises(ZeroDivisionError), clock.job():
        raise ZeroDivisionError
    assert clock.read() == WorkTimes(1, 2.0, 0.0)


def test_a_job_counts_from_getting_the_lock_to_letting_go_of_it() -> None:
    board = JobBoard()
    with board.turn(count=1):
        assert board.clock.read().jobs == 0
    assert board.clock.read().jobs == 1


def test_images_are_encoded_after_the_jobs_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs_ended = []
    encode = generation.encode_image
    with running_server() as server, WebUI(server.url) as webui:

        def look(*arguments: object) -> str:
            jobs_ended.append(webui.call("GET", "/sdclient/clock")["jobs"])
            return encode(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(generation, "encode_image", look)
        webui.img2img(Img2ImgRequest(init_images=[picture()], width=64, height=64, steps=1, batch_size=2))
    assert jobs_ended == [1, 1]


def test_the_clock_can_be_read_and_keeps_to_the_password() -> None:
    with running_server(api_auth="user:secret", job_ms=20) as server:
        with WebUI(server.url, auth=("user", "secret")) as webui:
            webui.img2img(Img2ImgRequest(init_images=[picture()], width=64, height=64, steps=1))
            shown = webui.call("GET", "/sdclient/clock")
        with WebUI(server.url) as stranger, pytest.raises(Unauthorized):
            stranger.call("GET", "/sdclient/clock")
    assert shown["jobs"] == 1
    assert shown["busy_s"] >= 0.02
    assert shown["idle_s"] == shown["idle_rate"] == 0


def test_the_contract_does_not_name_it() -> None:
    with running_server() as server, WebUI(server.url) as webui:
        assert "/sdclient/clock" not in webui.call("GET", "/openapi.json")["paths"]
        with pytest.raises(NotFound):
            webui.call("GET", "/sdapi/v1/clock")
