"""The application with its password, running and stopping it, and the calls of a server with its page."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from sdclient import models
from sdclient.serve.app import EmbeddedServer, EmbeddedServerOptions, running_server
from sdclient.serve.jobs import JobBoard, TaskHistory
from sdcore.errors import SettingsError
from sdcore.web import listen, url_of
from tests.support.held_engine import TIMEOUT_S, HeldEngine
from tests.support.serve_api import Api, recorded, usual


@pytest.fixture(scope="module")
def guarded() -> Iterator[Api]:
    with running_server(EmbeddedServerOptions(api_auth="用户:pass:word")) as server:
        api = Api(server.url)
        yield api
        api.session.close()


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode("utf-8")).decode("ascii")}


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "noauth"),
        (basic("用户:wrong"), "wrongpass"),
        (basic("nobody:pass:word"), "wronguser"),
        ({"Authorization": "Bearer abc"}, "bearer"),
        ({"Authorization": "Basic !!!"}, "badb64"),
    ],
)
def test_refusals_are_the_recorded_ones(guarded: Api, headers: dict[str, str], name: str) -> None:
    expected = recorded("replies/ui_and_auth.json")[name]
    answer = guarded.call("GET", "/sdapi/v1/options", headers=headers)
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])
    assert "WWW-Authenticate" not in answer.headers


def test_the_right_password_opens_every_call(guarded: Api) -> None:
    for path in ("options", "samplers", "progress"):
        answer = guarded.call("GET", f"/sdapi/v1/{path}", headers=basic("用户:pass:word"))
        assert answer.status_code == 200


@pytest.mark.parametrize("body", [{}, {"steps": "four"}])
def test_a_bad_body_is_not_read_without_credentials(guarded: Api, body: Any) -> None:
    assert guarded.post("img2img", body).json()["detail"] == "Not authenticated"


def test_the_api_description_needs_no_password(guarded: Api) -> None:
    assert guarded.call("GET", "/openapi.json").status_code == 200
    assert guarded.call("GET", "/sdapi/v1/nope").status_code == 404


def test_two_servers_run_side_by_side_and_stop() -> None:
    before = set(threading.enumerate())  # another test's server may be running
    with running_server() as one, running_server() as two:
        assert one.url != two.url
        for server in (one, two):
            assert requests.get(f"{server.url}/sdapi/v1/progress", timeout=10).status_code == 200
        urls = one.url, two.url
    for url in urls:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/sdapi/v1/progress", timeout=10)
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "sdclient-serve"]


def test_it_stops_when_the_block_fails() -> None:
    with pytest.raises(KeyError), running_server() as server:
        raise KeyError
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=10)


def test_a_taken_port_is_named_with_the_next_one_to_try() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} .*taken.*--port {port + 1}"):
            listen("127.0.0.1", port)


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"--host no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 7861)


def test_an_open_address_is_reached_over_loopback() -> None:
    with listen("0.0.0.0", 0) as bound:
        assert url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_an_ipv6_address_gets_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        bound = listen("::1", 0)
    except SettingsError:
        pytest.skip("no IPv6 loopback here")
    with bound:
        assert url_of(bound).startswith("http://[::1]:")


def test_a_server_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedServer, "run", lambda self, bound: None)
    with pytest.raises(RuntimeError, match="did not start"), running_server():
        pass


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def paged(engine: HeldEngine) -> Iterator[Api]:
    with running_server(EmbeddedServerOptions(engine=engine, with_page=True, api_auth="user:secret")) as server:
        api = Api(server.url)
        api.session.auth = ("user", "secret")
        yield api
        api.session.close()
        engine.go_on.release(100)


def ask(api: Api, task: str | None, **fields: Any) -> dict[str, Any]:
    answer = api.call("POST", "/internal/progress", json={"id_task": task, **fields}, auth=())
    assert answer.status_code == 200, answer.text
    models.InternalProgress.model_validate(answer.json())
    return dict(answer.json())


@pytest.mark.parametrize(
    ("method", "path", "body", "name"),
    [
        ("GET", "/internal/ping", None, "noauth_ping"),
        ("GET", "/internal/pending-tasks", None, "pending"),
        ("POST", "/internal/progress", {"id_task": "task(none)"}, "internal_progress"),
    ],
)
def test_idle_answers_are_the_recorded_ones_and_open_to_all(
    paged: Api, method: str, path: str, body: Any, name: str
) -> None:
    expected = recorded("replies/ui_and_auth.json")[name]
    answer = paged.call(method, path, json=body, auth=())
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


def test_the_page_says_that_it_is_not_stable_diffusion(paged: Api) -> None:
    answer = paged.call("GET", "/", auth=())
    assert answer.status_code == 200
    assert "NOT Stable Diffusion" in answer.text
    assert paged.get("cmd-flags")["nowebui"] is False


def test_without_its_page_the_server_has_none_of_them(api: Api) -> None:
    for path in ("/", "/internal/ping", "/internal/pending-tasks"):
        assert api.call("GET", path).status_code == 404
    assert api.call("POST", "/internal/progress", json={"id_task": "x"}).status_code == 404
    assert api.get("cmd-flags")["nowebui"] is True


def test_a_job_is_followed_by_its_name(paged: Api, engine: HeldEngine) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(paged.post, "img2img", usual(force_task_id="task(first)", n_iter=2))
        engine.wait_until_entered()
        second = pool.submit(paged.post, "img2img", usual(force_task_id="task(second)"))
        while not paged.call("GET", "/internal/pending-tasks").json()["size"]:
            pass
        running, waiting = ask(paged, "task(first)"), ask(paged, "task(second)")
        pending = paged.call("GET", "/internal/pending-tasks").json()
        engine.go_on.release()
        engine.wait_until_entered()
        later = ask(paged, "task(first)")
        again = ask(paged, "task(first)", id_live_preview=later["id_live_preview"])
        unwanted = ask(paged, "task(first)", live_preview=False)
        engine.go_on.release(2)
        reply = first.result(TIMEOUT_S).json()
        second.result(TIMEOUT_S)
    assert (running["active"], running["queued"], running["completed"]) == (True, False, False)
    assert (waiting["active"], waiting["queued"], waiting["textinfo"]) == (False, True, "In queue: 1/1")
    assert pending == {"size": 1, "tasks": ["task(second)"]}
    assert later["progress"] == 1.0  # the second of two batches is past its steps
    assert 0 < running["progress"] <= 0.5
    assert later["live_preview"].startswith("data:image/png;base64,")
    assert (again["live_preview"], again["id_live_preview"]) == (None, later["id_live_preview"])
    assert unwanted["live_preview"] is None
    assert reply["parameters"]["force_task_id"] == "task(first)"
    assert json.loads(reply["info"])["all_seeds"] == [42, 43]
    done = ask(paged, "task(first)")
    assert (done["active"], done["queued"], done["completed"]) == (False, False, True)


def test_a_job_that_failed_counts_as_running_until_the_next_one(paged: Api, engine: HeldEngine) -> None:
    assert paged.post("img2img", usual(steps=0, force_task_id="task(bad)")).status_code == 500
    assert ask(paged, "task(bad)")["active"] is True
    engine.go_on.release()
    paged.post("img2img", usual())
    assert ask(paged, "task(bad)") == {**ask(paged, "task(nobody)"), "completed": False}


def test_a_job_with_an_unreadable_source_counts_as_waiting_for_ever(paged: Api) -> None:
    paged.post("img2img", usual(init_images=["nope"], force_task_id="task(unreadable)"))
    assert ask(paged, "task(unreadable)")["queued"] is True


def test_only_the_last_sixteen_jobs_are_remembered() -> None:
    book = TaskHistory()
    for number in range(17):
        book.start(str(number))
        book.finish(str(number))
    assert not book.is_done("0")
    assert all(book.is_done(str(number)) for number in range(1, 17))


def test_a_skip_ends_the_batch_and_not_the_job() -> None:
    with running_server(EmbeddedServerOptions(job_ms=TIMEOUT_S * 1000)) as server, ThreadPoolExecutor(1) as pool:
        api = Api(server.url)
        job = pool.submit(api.post, "img2img", usual(steps=2, n_iter=2))
        for batch in (0, 1):
            while True:
                state = api.get("progress")["state"]
                if state["sampling_steps"] and state["job_no"] == batch:
                    break
            api.post("skip", None)
        answer = job.result(TIMEOUT_S)
        api.session.close()
    assert len(answer.json()["images"]) == 2


def test_a_watcher_is_notified_when_a_job_begins_and_ends_even_after_a_failure() -> None:
    events: list[str] = []

    class Watcher:
        def job_began(self, task: str) -> None:
            events.append(f"began {task}")

        def job_ended(self, task: str) -> None:
            events.append(f"ended {task}")

    board = JobBoard(Watcher())
    with board.turn(count=1), board.task("task(x)"):
        assert events == ["began task(x)"]
    with pytest.raises(ZeroDivisionError), board.turn(count=1), board.task("task(y)"):
        raise ZeroDivisionError
    assert events == ["began task(x)", "ended task(x)", "began task(y)", "ended task(y)"]
