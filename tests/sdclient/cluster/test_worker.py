"""What runs on a node, without Ray; and what goes over the wire to it and back."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from PIL import Image

from sdclient.batch.job_execution import RejectedImage
from sdclient.batch.jobs import Job, plan_images
from sdclient.batch.settings import ImageParameters
from sdclient.cluster.worker import (
    Endpoint,
    JobMessage,
    JobReply,
    Rejected,
    SourceFiles,
    Worker,
    WorkerContext,
    check_endpoint,
)
from sdclient.errors import ServerOutOfMemory, ServerUnreachable, SourceError
from sdclient.output.artifacts import find_artifacts
from sdclient.output.store import GeneratedFile
from sdclient.sources import discover
from sdclient.testing import WebUIServer, webui_server as webui_server
from sdcore.files import sha256_of

PARAMETERS = ImageParameters(0.3, "DPM++ SDE Karras", None, 2, 7.0, "", "", 64)


def place_of(server: WebUIServer) -> Endpoint:
    return Endpoint("f00", "bench-2", "10.0.0.2", server.url, None)


@pytest.fixture
def worker(webui_server: WebUIServer) -> Worker:
    return Worker(WorkerContext(place_of(webui_server), 64, find_artifacts, 1))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "secret-place" / "焊盘"
    folder.mkdir(parents=True)
    Image.effect_noise((96, 64), 40).save(folder / "3.png")
    source = discover(folder.parent)[0]
    images = plan_images(
        source, sha256_of(source.path), 2, run_seed=0, parameters_for=lambda *_: PARAMETERS, identity=lambda _: {}
    )
    return Job(tuple(images))


def files_of(job: Job) -> SourceFiles:
    return SourceFiles(job.source.path.read_bytes())


def test_a_job_goes_over_without_any_path(job: Job, tmp_path: Path) -> None:
    sent = pickle.dumps((JobMessage.of(job), files_of(job)))
    assert b"secret-place" not in sent
    assert str(tmp_path).encode() not in sent
    back = pickle.loads(sent)[0].job()
    assert back.source.relative == job.source.relative
    assert [(one.file, one.k, one.seed, one.key) for one in back.images] == [
        (one.file, one.k, one.seed, one.key) for one in job.images
    ]


def test_a_worker_makes_the_images_of_a_job(worker: Worker, job: Job) -> None:
    reply = pickle.loads(pickle.dumps(worker.make(JobMessage.of(job), files_of(job))))
    made = reply.images_of(job)
    assert [one.record.file for one in made if isinstance(one, GeneratedFile)] == ["焊盘/3_1.png", "焊盘/3_2.png"]
    assert all(one.record.server.endswith(" on bench-2") for one in made if isinstance(one, GeneratedFile))


def test_a_spoiled_image_is_told_by_its_number(webui_server: WebUIServer, job: Job) -> None:
    worker = Worker(WorkerContext(place_of(webui_server), 64, lambda *_: "black picture", 1))
    reply = worker.make(JobMessage.of(job), files_of(job))
    assert reply.images == (Rejected(1, "black picture"), Rejected(2, "black picture"))
    assert [one.planned for one in reply.images_of(job) if isinstance(one, RejectedImage)] == list(job.images)


def test_an_error_of_the_webui_names_the_node_and_survives_the_way_back(
    worker: Worker, webui_server: WebUIServer, job: Job
) -> None:
    webui_server.faults.out_of_memory()
    reply = pickle.loads(pickle.dumps(worker.make(JobMessage.of(job), files_of(job))))
    assert isinstance(reply.error, ServerOutOfMemory)
    assert str(reply.error).startswith("on bench-2: ")


def test_a_source_that_is_no_picture_is_named_as_its_owner_names_it(worker: Worker, job: Job) -> None:
    reply = worker.make(JobMessage.of(job), SourceFiles(b"no picture"))
    assert isinstance(reply.error, SourceError)
    assert str(reply.error).startswith("焊盘/3.png: not an image")


def test_a_worker_that_is_stopped_sends_nothing_more(worker: Worker, webui_server: WebUIServer, job: Job) -> None:
    worker.stop()
    assert worker.make(JobMessage.of(job), files_of(job)) == JobReply(is_unsent=True)
    assert not webui_server.jobs


def test_a_probe_says_whether_the_webui_answers(worker: Worker, webui_server: WebUIServer) -> None:
    assert worker.probe() is None
    with webui_server.down():
        found = worker.probe()
    assert isinstance(found, ServerUnreachable)
    assert str(found).startswith("on bench-2: ")


def test_a_look_at_a_webui_that_is_not_there_names_the_node(webui_server: WebUIServer) -> None:
    with webui_server.down():
        found = check_endpoint(place_of(webui_server), [("Euler", None)], [])
    assert isinstance(found, ServerUnreachable)
    assert str(found).startswith("on bench-2: ")
