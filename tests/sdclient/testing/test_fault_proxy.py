"""The listening socket: shut and open on one port, and the listeners of connections."""

from __future__ import annotations

import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from sdclient.testing import WebUIServer, serve_webui
from sdclient.testing.fault_plan import failure
from sdclient.testing.fault_proxy import ReopenablePort, _Connections
from sdcore.errors import MissingExtra
from tests.support.requests_to_testing import request


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=10).close()


def test_a_door_keeps_its_port_while_shut_and_opening_or_shutting_twice_is_once() -> None:
    port = ReopenablePort(socket.socket.close)
    connect(port.port)
    port.shut()
    port.shut()
    with pytest.raises(ConnectionRefusedError):
        connect(port.port)
    with socket.socket() as other, pytest.raises(OSError, match=r"in use|permitted"):
        other.bind(("127.0.0.1", port.port))
    port.open()
    port.open()
    connect(port.port)
    port.shut()
    port.remove()
    with pytest.raises(ConnectionRefusedError):
        connect(port.port)


def test_only_connections_to_a_watched_port_are_reported() -> None:
    """Called by hand: what runs in an audit hook is not seen by coverage."""
    connections, calls = _Connections(), []
    connections._on_audit_event("socket.connect", (None, ("127.0.0.1", 80)))
    connections.watch(80, lambda: calls.append(80))
    connections._on_audit_event("socket.bind", (None, ("127.0.0.1", 80)))
    connections._on_audit_event("socket.connect", (None, "/run/a.socket"))
    connections._on_audit_event("socket.connect", (None, ("127.0.0.1", 81)))
    assert calls == []
    connections._on_audit_event("socket.connect", (None, ("::1", 80, 0, 0)))
    connections.forget(80)
    connections.forget(80)
    connections._on_audit_event("socket.connect", (None, ("127.0.0.1", 80)))
    assert calls == [80]


def test_a_status_without_a_name_has_words_all_the_same() -> None:
    assert failure(599)["detail"] == "planned by the test"
    assert failure(503)["detail"] == "Service Unavailable"


def test_without_the_web_framework_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sdclient.serve.app", None)
    with pytest.raises(MissingExtra, match=r"sdclient\.testing.*sd-defects\[serve\]"), serve_webui():
        pass


@pytest.fixture
def session() -> Any:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


def img2img(session: requests.Session, server: WebUIServer, **fields: Any) -> requests.Response:
    body = {**request().payload(), **fields}
    return session.post(f"{server.url}/sdapi/v1/img2img", json=body, timeout=30)


def options(session: requests.Session, server: WebUIServer) -> requests.Response:
    return session.get(f"{server.url}/sdapi/v1/options", timeout=30)


def test_without_faults_it_is_the_embedded_server(session: requests.Session, webui_server: WebUIServer) -> None:
    answer = img2img(session, webui_server, force_task_id="task(a)")
    assert answer.status_code == 200
    assert answer.json()["parameters"]["force_task_id"] == "task(a)"
    assert options(session, webui_server).json()["samples_format"] == "png"
    assert session.get(f"{webui_server.url}/internal/ping", timeout=30).json() == {}
    redirect = session.get(f"{webui_server.url}/sdapi/v1/options/", timeout=30)
    assert redirect.url == f"{webui_server.url}/sdapi/v1/options"
    (job,) = webui_server.jobs
    assert (job.task_id, job.status, job.images, job.doubled) == ("task(a)", 200, 1, False)
    assert [seen.path for seen in webui_server.requests][:2] == ["/sdapi/v1/img2img", "/sdapi/v1/options"]


def test_refused_connections_are_refused_and_counted(session: requests.Session, webui_server: WebUIServer) -> None:
    assert options(session, webui_server).status_code == 200
    webui_server.faults.refuse(times=2)
    for _ in range(2):
        with pytest.raises(requests.ConnectionError, match="refused"):
            options(session, webui_server)
    assert options(session, webui_server).status_code == 200
    assert len(webui_server.requests) == 2
    webui_server.faults.assert_all_used()


def test_refusals_can_be_planned_again(session: requests.Session, webui_server: WebUIServer) -> None:
    for _ in range(2):
        webui_server.faults.refuse()
        with pytest.raises(requests.ConnectionError):
            options(session, webui_server)
        assert options(session, webui_server).status_code == 200
    assert webui_server.faults.used == 2


def test_a_cleared_plan_has_no_faults_left(session: requests.Session, webui_server: WebUIServer) -> None:
    webui_server.faults.refuse(times=2)
    webui_server.faults.reset(on="options")
    webui_server.faults.delay(on="options")
    with pytest.raises(requests.ConnectionError):
        options(session, webui_server)
    webui_server.faults.clear()
    assert options(session, webui_server).status_code == 200
    webui_server.faults.assert_all_used()
    assert webui_server.faults.used == 1


def test_down_refuses_uncounted_for_as_long_as_it_lasts(session: requests.Session, webui_server: WebUIServer) -> None:
    with webui_server.down():
        for _ in range(2):
            with pytest.raises(requests.ConnectionError, match="refused"):
                options(session, webui_server)
    assert options(session, webui_server).status_code == 200
    assert webui_server.faults.used == 0


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_breaks_the_connection_before_or_after_the_work(
    session: requests.Session, webui_server: WebUIServer, after: bool
) -> None:
    webui_server.faults.reset(after=after)
    with pytest.raises(requests.ConnectionError, match=r"reset|aborted"):
        img2img(session, webui_server)
    assert [job.images for job in webui_server.jobs] == [1] * after
    assert webui_server.requests[0].fault == "reset"


def test_a_truncated_reply_announces_all_and_brings_half(webui_server: WebUIServer) -> None:
    webui_server.faults.truncate(on="options")
    port = int(webui_server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /sdapi/v1/options HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
    announced = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert len(body) == announced // 2 > 0


def test_a_delayed_job_runs_meanwhile_and_others_queue(session: requests.Session, webui_server: WebUIServer) -> None:
    with ThreadPoolExecutor(2) as pool:
        with webui_server.faults.delay() as held:
            first = pool.submit(img2img, session, webui_server, force_task_id="task(held)")
            held.wait_until_arrived()
            second = pool.submit(img2img, requests.Session(), webui_server, force_task_id="task(next)", seed=8)
            state = {}
            while not state.get("queued"):
                state = ask(webui_server, "task(next)")
            assert ask(webui_server, "task(held)")["active"] is True
            assert not first.done()
        assert first.result(30).status_code == second.result(30).status_code == 200
    webui_server.assert_no_job_doubled()


def ask(server: WebUIServer, task: str) -> dict[str, Any]:
    return dict(requests.post(f"{server.url}/internal/progress", json={"id_task": task}, timeout=30).json())


def test_a_job_without_a_name_is_delayed_all_the_same(session: requests.Session, webui_server: WebUIServer) -> None:
    with ThreadPoolExecutor(1) as pool, webui_server.faults.delay() as held:
        job = pool.submit(img2img, session, webui_server)
        held.wait_until_arrived()
        held.release()
        assert job.result(30).json()["parameters"]["force_task_id"] is None


def test_a_late_reply_comes_after_the_work(session: requests.Session, webui_server: WebUIServer) -> None:
    with ThreadPoolExecutor(1) as pool, webui_server.faults.delay(after=True) as held:
        job = pool.submit(img2img, session, webui_server)
        held.wait_until_arrived()
        assert [done.images for done in webui_server.jobs] == [1]
        assert not job.done()
        held.release()
        assert job.result(30).status_code == 200


def test_any_call_can_be_delayed(session: requests.Session, webui_server: WebUIServer) -> None:
    with ThreadPoolExecutor(1) as pool, webui_server.faults.delay(on="options") as held:
        answer = pool.submit(options, session, webui_server)
        held.wait_until_arrived()
        assert not answer.done()
        held.release()
        assert answer.result(30).status_code == 200


def test_the_same_work_sent_while_it_is_done_is_doubled(session: requests.Session, webui_server: WebUIServer) -> None:
    with ThreadPoolExecutor(2) as pool, webui_server.faults.delay() as held:
        first = pool.submit(img2img, session, webui_server, force_task_id="task(1)")
        held.wait_until_arrived()
        second = pool.submit(img2img, requests.Session(), webui_server, force_task_id="task(2)")
        while len(webui_server.jobs) < 2:
            pass
        held.release()
        first.result(30)
        second.result(30)
    img2img(session, webui_server, force_task_id="task(3)")
    assert [job.doubled for job in webui_server.jobs] == [False, True, False]
    with pytest.raises(AssertionError, match=r"task|doubled=True"):
        webui_server.assert_no_job_doubled()


def test_a_substitution_shows_in_the_info_alone(session: requests.Session, webui_server: WebUIServer) -> None:
    webui_server.faults.substitute(sampler="Euler", scheduler="Exponential", seed=99, steps=3)
    reply = img2img(session, webui_server).json()
    info = json.loads(reply["info"])
    assert (info["sampler_name"], info["all_seeds"], info["steps"]) == ("Euler", [99], 3)
    assert info["extra_generation_params"]["Schedule type"] == "Exponential"
    echo = reply["parameters"]
    assert (echo["sampler_name"], echo["scheduler"], echo["seed"], echo["steps"]) == ("DPM++ SDE", "Karras", 7, 4)


def test_a_short_reply_keeps_its_seeds(session: requests.Session, webui_server: WebUIServer) -> None:
    webui_server.faults.short_reply(missing=2)
    reply = img2img(session, webui_server, n_iter=3).json()
    info = json.loads(reply["info"])
    assert (len(reply["images"]), len(info["infotexts"]), info["all_seeds"]) == (1, 1, [7, 8, 9])
    assert webui_server.jobs[0].images == 3


def test_more_images_missing_than_there_are_leaves_none(session: requests.Session, webui_server: WebUIServer) -> None:
    webui_server.faults.short_reply(missing=5)
    assert img2img(session, webui_server).json()["images"] == []


def test_an_answer_carries_its_body_and_how_long_to_wait(session: requests.Session, webui_server: WebUIServer) -> None:
    webui_server.faults.status(429, on="options", retry_after_s=7)
    webui_server.faults.status(599, on="options", body={"detail": "own words"})
    first, second = options(session, webui_server), options(session, webui_server)
    assert (first.status_code, first.headers["Retry-After"]) == (429, "7")
    assert first.json()["detail"] == "Too Many Requests"
    assert (second.status_code, second.json()) == (599, {"detail": "own words"})


def test_a_failed_job_passes_through_as_it_is(session: requests.Session, webui_server: WebUIServer) -> None:
    answer = img2img(session, webui_server, steps=0)
    assert (answer.status_code, answer.json()["error"]) == (500, "ZeroDivisionError")
    assert img2img(session, webui_server, init_images=None).status_code == 404
    not_json = session.post(f"{webui_server.url}/sdapi/v1/img2img", data=b"{", timeout=30)
    assert not_json.status_code == 422
    assert [(job.status, job.images) for job in webui_server.jobs] == [(500, 0), (404, 0)]


def test_a_password_and_no_page_are_to_be_had(session: requests.Session) -> None:
    with serve_webui(api_auth="user:pass:word", with_page=False) as server:
        assert options(session, server).status_code == 401
        assert session.get(f"{server.url}/internal/ping", timeout=30).status_code == 404
        with server.client() as webui:
            assert webui.options().samples_format == "png"


def test_it_ends_with_a_job_still_held_and_leaves_nothing_behind(session: requests.Session) -> None:
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as pool:
        with serve_webui() as server:
            held = server.faults.delay()
            job = pool.submit(img2img, session, server)
            held.wait_until_arrived()
            server.faults.refuse(5)
        assert job.result(30).status_code == 200
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "sdclient-testing-port"]
    with pytest.raises(requests.ConnectionError):
        options(session, server)
