"""Jobs that are over are settled together; nothing that came back is lost to the failure of another."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sdclient.batch.dispatcher import JobFinished, PlannedJobs
from sdclient.batch.jobs import BatchSizeLimits, JobQueue, pack_jobs
from sdclient.batch.result_handler import ResultHandler, StallDetector
from sdclient.errors import RequestRejected, ServerUnreachable
from sdclient.output.store import GeneratedFile, OutputStore
from tests.support.planned_jobs import planned, source


class Store:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.saved: list[str] = []
        self.put_off_files: list[str] = []

    def save(self, made: Sequence[Any]) -> list[Any]:
        self.saved += [image.record.file for image in made]
        return [image.record for image in made]

    def requeue(self, images: Sequence[Any], reason: str, *, failures: int) -> None:
        assert reason
        assert failures == 0
        self.put_off_files += [image.file for image in images]


class JobSource(PlannedJobs):
    """Notes how much it hears at once."""

    saved_counts: list[int]

    def saved(self, records: Sequence[Any]) -> None:
        self.saved_counts = [*getattr(self, "saved_counts", []), len(records)]


class Bench:
    """A result handler between a store and a queue of four jobs that are all out."""

    def __init__(self) -> None:
        self.store = Store()
        self.job_source = JobSource(pack_jobs(planned(source(), "a" * 64, 4), 1))
        self.jobs = JobQueue(self.job_source.next_job, lambda job: len(job.images))
        self.out = [self.jobs.take() for _ in range(4)]
        self.handler = ResultHandler(
            cast(OutputStore, self.store), self.job_source, self.jobs, BatchSizeLimits(1), StallDetector(60), tries=3
        )

    def came(self, number: int) -> JobFinished:
        job = self.out[number]
        assert job is not None
        records = [SimpleNamespace(file=image.file) for image in job.images]
        return JobFinished(job, images=[GeneratedFile(cast(Any, record), b"") for record in records])

    def failed(self, number: int, error: Exception) -> JobFinished:
        job = self.out[number]
        assert job is not None
        return JobFinished(job, error=error)


def test_a_job_source_gets_all_results_at_once() -> None:
    bench = Bench()
    records = list(bench.handler.handle([bench.came(n) for n in range(4)]))
    assert bench.job_source.saved_counts == [4]
    assert [record.file for record in records] == bench.store.saved
    assert len(set(bench.store.saved)) == 4
    assert bench.jobs.take() is None
    assert bench.jobs.is_finished


def test_a_failure_that_ends_the_run_loses_no_image_of_other_jobs() -> None:
    bench = Bench()
    finished_jobs = [bench.failed(0, RequestRejected("the same for every image")), bench.came(1), bench.came(2)]
    seen = []
    with pytest.raises(RequestRejected, match="the same for every image"):
        seen += [record.file for record in bench.handler.handle(finished_jobs)]
    assert len(bench.store.saved) == 2
    assert bench.job_source.saved_counts == [2]


def test_a_job_of_a_lost_server_is_repeated_and_the_others_are_done() -> None:
    bench = Bench()
    finished_jobs = [bench.came(0), bench.failed(1, ServerUnreachable("gone")), bench.came(2), bench.came(3)]
    assert len(list(bench.handler.handle(finished_jobs))) == 3
    again = bench.jobs.take()
    assert again == bench.out[1]
    assert not bench.jobs.is_finished
    assert bench.store.put_off_files == [image.file for image in again.images]
