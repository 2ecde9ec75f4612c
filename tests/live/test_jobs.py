"""A job's progress, and stopping one's own."""

from __future__ import annotations

import threading

import pytest

from sdclient.client import JobProgress
from sdclient.client.generation_job import new_task_id
from sdclient.errors import IncompleteReply
from tests.support.live import Live

LONG = {"steps": 20, "n_iter": 12, "denoising_strength": 1.0}
SOON_S = 60


def test_progress_is_told_while_the_job_runs(live: Live) -> None:
    live.skip_if_busy()
    told: list[JobProgress] = []
    result = live.webui.img2img(live.request(**{**LONG, "n_iter": 4}), on_progress=told.append, poll_s=0.02)
    assert len(result.images) == 4
    if not told:
        pytest.skip("the job was done before its progress could be asked")
    fractions = [progress.fraction for progress in told]
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert fractions[-1] >= fractions[0]  # a genuine one may fall back a little between two batches
    assert live.webui.progress().state.job_count == 0


def test_ones_own_job_can_be_stopped(live: Live) -> None:
    live.skip_if_busy()
    task = new_task_id()
    begun = threading.Event()
    outcome: list[int] = []

    def run() -> None:
        try:
            result = live.webui.img2img(
                live.request(**LONG, force_task_id=task), on_progress=lambda progress: begun.set(), poll_s=0.02
            )
            outcome.append(len(result.images))
        except IncompleteReply as error:
            outcome.append(error.got)

    job = threading.Thread(target=run)
    job.start()
    begun.wait(SOON_S)
    was_ours = live.webui.interrupt_job(task)
    job.join()
    if not was_ours:
        pytest.skip("this server cannot tell whose job runs (--nowebui), or the job was done already")
    assert outcome
    if outcome[0] == LONG["n_iter"]:
        pytest.skip("the job was done before it could be stopped")
    assert 0 <= outcome[0] < LONG["n_iter"]


def test_a_job_of_nobody_is_not_stopped(live: Live) -> None:
    assert live.webui.interrupt_job(new_task_id()) is False
    assert len(live.webui.img2img(live.request(n_iter=2)).images) == 2
