"""Progress of one's own job, and stopping it without stopping anybody else's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sdclient.client import JobProgress, WebUI
from sdclient.models import Img2ImgRequest
from sdclient.models._base import to_base64
from tests.support.webui import SAMPLERS, SCHEDULERS, png_bytes, reply_body


class SlowServer:
    """Answers img2img once `answers` questions about progress were asked."""

    def __init__(self, server: HTTPServer, internal: list[dict[str, Any]] | None, state: dict[str, Any]) -> None:
        self.internal = internal
        self.asked: list[dict[str, Any]] = []
        self.interrupted = 0
        self.enough = threading.Event()
        server.expect_request("/sdapi/v1/samplers").respond_with_json(SAMPLERS)
        server.expect_request("/sdapi/v1/schedulers").respond_with_json(SCHEDULERS)
        server.expect_request("/sdapi/v1/img2img").respond_with_handler(self._img2img)
        server.expect_request("/internal/progress").respond_with_handler(self._internal)
        server.expect_request("/sdapi/v1/progress").respond_with_json(state)
        server.expect_request("/sdapi/v1/interrupt", method="POST").respond_with_handler(self._interrupt)

    def _img2img(self, _: Request) -> Response:
        assert self.enough.wait(10)
        return Response(json.dumps(reply_body()), content_type="application/json")

    def _internal(self, request: Request) -> Response:
        self.asked.append(json.loads(request.get_data()))
        if self.internal is None:
            self.enough.set()
            return Response(json.dumps({"detail": "Not Found"}), status=404)
        answer = self.internal[min(len(self.asked), len(self.internal)) - 1]
        if len(self.asked) >= len(self.internal):
            self.enough.set()
        return Response(json.dumps(answer))

    def _interrupt(self, _: Request) -> Response:
        self.interrupted += 1
        return Response("{}")


@pytest.fixture
def threaded() -> Iterator[HTTPServer]:
    with HTTPServer(threaded=True) as server:
        yield server


IDLE = {"progress": 0, "eta_relative": 0, "state": {"job": "", "job_count": 0, "sampling_step": 0}}
BUSY = {
    "progress": 0.4,
    "eta_relative": 3.5,
    "state": {"job": "Batch 1 out of 1", "job_count": 1, "sampling_step": 2, "sampling_steps": 5},
}


def generate(webui: WebUI, **changes: Any) -> list[JobProgress]:
    seen: list[JobProgress] = []
    request = Img2ImgRequest(init_images=[png_bytes()], steps=20, seed=42, width=64, height=64)
    result = webui.img2img(request, on_progress=seen.append, poll_s=0.01, **changes)
    assert len(result.images) == 1
    return seen


def test_a_job_is_followed_from_queue_to_end(threaded: HTTPServer) -> None:
    preview = "data:image/png;base64," + to_base64(png_bytes())
    server = SlowServer(
        threaded,
        [
            {"active": False, "queued": True, "completed": False, "progress": None},
            {"active": True, "queued": False, "progress": 0.25, "eta": 9.0, "live_preview": preview},
            {"active": True, "queued": False, "progress": 0.75, "eta": 3.0, "live_preview": None},
        ],
        BUSY,
    )
    with WebUI(threaded.url_for("")) as webui:
        seen = generate(webui, preview=True)
    assert seen[:3] == [
        JobProgress(0.0, None, None, None, True, None),
        JobProgress(0.25, 2, 5, 9.0, False, png_bytes()),
        JobProgress(0.75, 2, 5, 3.0, False, None),
    ]
    assert len({question["id_task"] for question in server.asked}) == 1
    assert server.asked[0]["id_task"].startswith("task(sdclient-")


def test_another_clients_job_is_not_reported_as_ours(threaded: HTTPServer) -> None:
    SlowServer(threaded, [{"active": False, "queued": False, "completed": False}] * 3, BUSY)
    with WebUI(threaded.url_for("")) as webui:
        assert generate(webui) == []


def test_a_server_without_its_page_reports_the_running_job(threaded: HTTPServer) -> None:
    SlowServer(threaded, None, BUSY)
    with WebUI(threaded.url_for("")) as webui:
        assert generate(webui)[0] == JobProgress(0.4, 2, 5, 3.5, False, None)


def test_an_idle_server_has_nothing_to_report(threaded: HTTPServer) -> None:
    SlowServer(threaded, None, IDLE)
    with WebUI(threaded.url_for("")) as webui:
        assert generate(webui) == []


@pytest.mark.parametrize(
    ("answer", "interrupts"),
    [
        ({"active": True, "queued": False}, 1),
        ({"active": False, "queued": True}, 0),
        ({"active": False, "queued": False}, 0),
    ],
)
def test_only_ones_own_running_job_is_interrupted(
    threaded: HTTPServer, answer: dict[str, Any], interrupts: int
) -> None:
    server = SlowServer(threaded, [answer], BUSY)
    with WebUI(threaded.url_for("")) as webui:
        assert webui.interrupt_job("task(mine)") is bool(interrupts)
    assert server.interrupted == interrupts


def test_where_jobs_cannot_be_told_apart_nothing_is_interrupted(threaded: HTTPServer) -> None:
    server = SlowServer(threaded, None, BUSY)
    with WebUI(threaded.url_for("")) as webui:
        assert webui.interrupt_job("task(mine)") is False
    assert server.interrupted == 0
