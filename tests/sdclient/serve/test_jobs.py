"""One job at a time, its progress and its end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.serve.jobs import FairLock, JobBoard
from tests.support.held_engine import TIMEOUT_S, HeldEngine
from tests.support.serve_api import Api, recorded, usual


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def held(engine: HeldEngine) -> Iterator[Api]:
    with running_server(EmbeddedServerOptions(engine=engine)) as server:
        api = Api(server.url)
        yield api
        api.session.close()
        engine.go_on.release(100)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def info_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.json()["info"]))


def test_a_running_job_shows_its_batch_and_steps(held: Api, engine: HeldEngine, pool: ThreadPoolExecutor) -> None:
    body = usual(n_iter=3, steps=60, denoising_strength=1.0, force_task_id="task(myjob-1)")
    job = pool.submit(held.post, "img2img", body)
    engine.wait_until_entered()
    running = held.get("progress")
    genuine = recorded("replies/get_progress_running.json")["body"]
    assert set(running) == set(genuine)
    assert set(running["state"]) == set(genuine["state"])
    same = ("job", "job_count", "job_no", "sampling_steps", "interrupted", "skipped")
    assert {key: running["state"][key] for key in same} == {key: genuine["state"][key] for key in same}
    assert 0 < running["progress"] < 1
    assert running["current_image"] is None

    engine.go_on.release()
    engine.wait_until_entered()
    second = held.get("progress")
    assert (second["state"]["job"], second["state"]["job_no"]) == ("Batch 2 out of 3", 1)
    assert second["progress"] > running["progress"]
    assert second["current_image"] is not None
    assert held.get("progress?skip_current_image=true")["current_image"] is None

    engine.go_on.release(2)
    assert len(job.result(TIMEOUT_S).json()["images"]) == 3
    idle = held.get("progress")
    assert (idle["progress"], idle["state"]["job"], idle["state"]["job_count"]) == (0.0, "", 0)
    assert idle["current_image"] is None


@pytest.mark.parametrize(
    ("strength", "fix", "steps"), [(0.25, False, 6), (1.0, False, 20), (0.0, False, 1), (0.25, True, 20)]
)
def test_steps_that_run_follow_the_strength(
    held: Api, engine: HeldEngine, pool: ThreadPoolExecutor, strength: float, fix: bool, steps: int
) -> None:
    overrides = {"img2img_fix_steps": fix}
    body = usual(denoising_strength=strength, steps=20, override_settings=overrides)
    job = pool.submit(held.post, "img2img", body)
    engine.wait_until_entered()
    state = held.get("progress")["state"]
    engine.go_on.release()
    job.result(TIMEOUT_S)
    assert (state["sampling_steps"], state["job"]) == (steps, "scripts_img2img")


def test_an_interrupted_job_answers_with_what_it_has(held: Api, engine: HeldEngine, pool: ThreadPoolExecutor) -> None:
    job = pool.submit(held.post, "img2img", usual(n_iter=3))
    engine.wait_until_entered()
    assert held.post("interrupt", None).json() == {}
    assert held.get("progress")["state"]["interrupted"] is True
    engine.go_on.release(3)
    answer = job.result(TIMEOUT_S)
    info = info_of(answer)
    assert len(answer.json()["images"]) == len(info["infotexts"]) == 1
    assert info["all_seeds"] == [42, 43, 44]


def test_an_interrupt_does_not_reach_the_next_job(held: Api, engine: HeldEngine, pool: ThreadPoolExecutor) -> None:
    held.post("interrupt", None)
    engine.go_on.release(2)
    assert len(held.post("img2img", usual(n_iter=2)).json()["images"]) == 2


def test_requests_queue_and_each_gets_its_own_reply(held: Api, engine: HeldEngine, pool: ThreadPoolExecutor) -> None:
    jobs = {seed: pool.submit(held.post, "img2img", usual(seed=seed)) for seed in (7, 8, 9)}
    engine.wait_until_entered()
    assert held.get("progress")["state"]["job_count"] == 1
    engine.go_on.release(3)
    for seed, job in jobs.items():
        assert info_of(job.result(TIMEOUT_S))["all_seeds"] == [seed]
    assert engine.most_at_once == 1


def test_a_failed_job_leaves_the_server_idle(held: Api, engine: HeldEngine) -> None:
    assert held.post("img2img", usual(steps=0)).status_code == 500
    assert held.get("progress")["state"]["job_count"] == 0
    engine.go_on.release()
    assert held.post("img2img", usual()).status_code == 200


def test_an_injected_engine_is_named_in_the_reply(held: Api, engine: HeldEngine) -> None:
    engine.go_on.release()
    info = info_of(held.post("img2img", usual()))
    assert info["extra_generation_params"]["Engine"] == engine.name


def test_a_slow_server_is_ended_early_by_an_interrupt(pool: ThreadPoolExecutor) -> None:
    with running_server(EmbeddedServerOptions(job_ms=TIMEOUT_S * 1000)) as server:
        api = Api(server.url)
        job = pool.submit(api.post, "img2img", usual(steps=2, n_iter=2))
        while api.get("progress")["state"]["sampling_steps"] == 0:
            pass
        api.post("interrupt", None)
        answer = job.result(TIMEOUT_S)
        api.session.close()
    assert len(answer.json()["images"]) == 1


def test_stopping_the_server_ends_a_slow_job(pool: ThreadPoolExecutor) -> None:
    with running_server(EmbeddedServerOptions(job_ms=TIMEOUT_S * 1000)) as server:
        api = Api(server.url)
        job = pool.submit(api.post, "img2img", usual(steps=2))
        while api.get("progress")["state"]["sampling_steps"] == 0:
            pass
    assert job.result(TIMEOUT_S).status_code == 200
    api.session.close()


def test_the_next_job_begins_before_the_former_holder_continues(pool: ThreadPoolExecutor) -> None:
    turn, began, may_end = FairLock(), threading.Event(), threading.Event()

    def follow() -> None:
        with turn.held():
            began.set()
            may_end.wait(TIMEOUT_S)

    with turn.held():
        follower = pool.submit(follow)
        while turn.queued == 0:
            pass
        assert not began.is_set()
    assert turn.queued == 0
    assert began.wait(TIMEOUT_S)
    may_end.set()
    follower.result(TIMEOUT_S)


def test_a_batch_takes_its_time_and_that_of_its_images() -> None:
    with running_server(EmbeddedServerOptions(job_ms=10, image_ms=30)) as server:
        api = Api(server.url)
        begun_s = time.monotonic()
        for count in (1, 3):
            assert api.post("img2img", usual(batch_size=count)).status_code == 200
        taken_s = time.monotonic() - begun_s
        api.session.close()
    assert taken_s >= (10 + 30 + 10 + 90) / 1000


def test_after_closing_every_waiting_job_is_interrupted_too() -> None:
    board = JobBoard()
    board.close()
    with board.turn(count=2):
        assert board.interrupted


def test_progress_never_exceeds_one() -> None:
    board = JobBoard()
    with board.turn(count=1):
        board.begin_batch(0, steps=4)
        board.step(4)
        assert board.progress()["progress"] == 1.0
    assert board.progress()["progress"] == 0.0
