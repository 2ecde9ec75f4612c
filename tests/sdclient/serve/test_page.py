"""With its page a server tells whose job is running; without it, none of these calls is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sdclient import models
from sdclient.serve.app import running_server
from sdclient.serve.jobs import JobBoard, TaskHistory
from tests.support.held_engine import TIMEOUT_S, HeldEngine
from tests.support.serve_api import Api, recorded, usual


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def paged(engine: HeldEngine) -> Iterator[Api]:
    with running_server(engine=engine, with_page=True, api_auth="user:secret") as server:
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
    with running_server(job_ms=TIMEOUT_S * 1000) as server, ThreadPoolExecutor(1) as pool:
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


def test_whoever_wants_to_know_is_told_when_a_job_begins_and_ends_even_badly() -> None:
    told: list[str] = []

    class Watcher:
        def job_began(self, task: str) -> None:
            told.append(f"began {task}")

        def job_ended(self, task: str) -> None:
            told.append(f"ended {task}")

    board = JobBoard(Watcher())
    with board.turn(count=1), board.task("task(x)"):
        assert told == ["began task(x)"]
    with pytest.raises(ZeroDivisionError), board.turn(count=1), board.task("task(y)"):
        raise ZeroDivisionError
    assert told == ["began task(x)", "ended task(x)", "began task(y)", "ended task(y)"]
