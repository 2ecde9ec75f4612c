"""The clock of a benchmark's server: work is what holds the queue lock, idle is the rest from first job to last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from timed_servers import ClockedServer, WorkClock, WorkTimes, clock_of

from sdclient.client import WebUI
from sdclient.errors import NotFound
from sdclient.models import Img2ImgRequest
from sdclient.serve import generation
from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.serve.jobs import JobBoard
from sdcore.web import listen, url_of
from tests.support.serve_api import board_image


def ticking(*seconds: float) -> WorkClock:
    moments: Iterator[float] = iter(seconds)
    return WorkClock(clock=lambda: next(moments))


def test_without_a_job_nothing_has_passed() -> None:
    assert WorkClock().read() == WorkTimes(0, 0.0, 0.0)
    assert WorkClock().read().idle_rate == 0.0


def test_time_before_the_first_job_and_after_the_last_does_not_count() -> None:
    clock = ticking(100, 103)
    with clock.held():
        assert clock.read().jobs == 0  # it has not ended
    assert clock.read() == WorkTimes(1, 3.0, 0.0)


def test_gaps_between_jobs_are_idle() -> None:
    clock = ticking(10, 13, 14, 20)
    for _ in range(2):
        with clock.held():
            pass
    assert clock.read() == WorkTimes(2, 9.0, 1.0)
    assert clock.read().idle_rate == pytest.approx(0.1)


def test_a_job_that_fails_was_work_too() -> None:
    clock = ticking(0, 2)
    with pytest.raises(ZeroDivisionError), clock.held():
        raise ZeroDivisionError
    assert clock.read() == WorkTimes(1, 2.0, 0.0)


def test_a_job_counts_from_getting_the_lock_to_letting_go_of_it() -> None:
    board = JobBoard()
    clock = board.lock = WorkClock()
    with board.turn(count=1):
        assert clock.read().jobs == 0
    assert clock.read().jobs == 1


@contextmanager
def clocked_server(**options: float) -> Iterator[str]:
    """Run one; gives its address."""
    with listen("127.0.0.1", 0) as bound:
        server = ClockedServer(bound, EmbeddedServerOptions(**options))
        with server.in_background(bound, "clocked"):
            yield url_of(bound)


def test_images_are_encoded_after_the_jobs_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs_ended = []
    encode = generation.encode_image
    with clocked_server() as url, WebUI(url) as webui:

        def look(*arguments: object) -> str:
            jobs_ended.append(clock_of(url).jobs)
            return encode(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(generation, "encode_image", look)
        webui.img2img(Img2ImgRequest(init_images=[board_image()], width=64, height=64, steps=1, batch_size=2))
    assert jobs_ended == [1, 1]


def test_the_clock_can_be_read() -> None:
    with clocked_server(job_ms=20) as url:
        with WebUI(url) as webui:
            webui.img2img(Img2ImgRequest(init_images=[board_image()], width=64, height=64, steps=1))
            assert "/sdclient/clock" not in webui.call("GET", "/openapi.json")["paths"]
        shown = clock_of(url)
    assert shown.jobs == 1
    assert shown.busy_s >= 0.02
    assert shown.idle_s == shown.idle_rate == 0


def test_a_server_of_the_product_has_no_clock() -> None:
    with running_server() as server, WebUI(server.url) as webui:
        for path in ("/sdclient/clock", "/sdapi/v1/clock"):
            with pytest.raises(NotFound):
                webui.call("GET", path)
