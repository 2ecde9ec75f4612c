from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sdcore.errors import SettingsError
from trainer.processes import ERROR_NAME, JobFailed, run_jobs, sensible_processes


@dataclass(frozen=True)
class PathJob:
    """Only what travels: the work done with it is a function of the standard library."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def __fspath__(self) -> str:
        return str(self.folder)

    def __index__(self) -> int:
        return 3


def jobs_in(tmp_path: Path, *names: str) -> list[PathJob]:
    return [PathJob(tmp_path / name) for name in names]


@pytest.fixture(autouse=True)
def importable_in_new_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spawned process must find the class of the jobs."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    monkeypatch.setattr(PathJob, "__module__", "test_processes")
    monkeypatch.setitem(sys.modules, "test_processes", sys.modules[jobs_in.__module__])


def test_every_job_is_done_in_processes_of_their_own(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, "a", "b", "c")
    done: list[str] = []
    run_jobs(jobs, os.mkdir, processes=2, done=lambda job: done.append(job.name), look=lambda running: None)
    assert sorted(done) == ["a", "b", "c"]
    assert all(job.folder.is_dir() for job in jobs)


def test_an_unforeseen_error_names_the_job_and_leaves_its_words(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, "twice")
    jobs[0].folder.mkdir()
    with pytest.raises(JobFailed, match=r"^twice: FileExistsError: .*; all of its words are in .*error\.txt$"):
        run_jobs(jobs, os.mkdir, processes=1, done=lambda job: None, look=lambda running: None)
    assert "FileExistsError" in (jobs[0].folder / ERROR_NAME).read_text(encoding="utf-8")


def test_a_job_that_kills_its_process_is_named(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, "deadly")
    with pytest.raises(JobFailed, match=r"^deadly: its process died \(exit code 3\)"):
        run_jobs(jobs, os._exit, processes=1, done=lambda job: None, look=lambda running: None)  # type: ignore[arg-type]


def test_without_processes_it_is_done_here(tmp_path: Path) -> None:
    here: list[str] = []
    run_jobs(
        jobs_in(tmp_path, "a", "b"), lambda job: here.append(job.name), processes=0, done=lambda job: None, look=print
    )
    assert here == ["a", "b"]

    def fail(job: PathJob) -> None:
        raise SettingsError("lr: too high")

    with pytest.raises(JobFailed, match=r"^a: lr: too high$"):
        run_jobs(jobs_in(tmp_path, "a"), fail, processes=0, done=lambda job: None, look=print)


def test_nothing_to_do_starts_nothing() -> None:
    run_jobs([], os.mkdir, processes=2, done=print, look=print)


def test_there_is_always_a_process_to_work() -> None:
    assert 1 <= sensible_processes() <= (os.cpu_count() or 1)
