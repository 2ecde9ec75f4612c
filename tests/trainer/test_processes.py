"""Jobs and files in several processes, and the ranks that torchrun gives."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdcore.errors import DataError, SettingsError
from sdcore.progress import deferred_interrupts
from trainer.cli import cli
from trainer.config import make_config
from trainer.errors import RankFailed, ReportedElsewhere
from trainer.experiment.config import ExperimentConfig
from trainer.experiment.run import run_experiment
from trainer.processes import (
    ERROR_NAME,
    CrashedFile,
    JobFailed,
    Ranks,
    default_processes,
    default_workers,
    map_files,
    read_ranks,
    run_jobs,
)
from trainer.training.seeds import processes_for


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
    with pytest.raises(JobFailed, match=r"^twice: FileExistsError: .*; the traceback is in .*error\.txt$"):
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
    assert 1 <= default_processes() <= (os.cpu_count() or 1)


def suffer(path: Path) -> str:
    """What a file of that name does to its reader."""
    if path.name.startswith("kill"):
        os._exit(9)
    if path.name.startswith("memory"):
        raise MemoryError
    return path.name


def run(names: list[str], workers: int) -> list[str]:
    results = map_files(suffer, [Path(name) for name in names], workers=workers, progress=False, label="x")
    return [one.reason if isinstance(one, CrashedFile) else one for one in results]


def test_a_file_that_kills_its_worker_is_one_failure() -> None:
    names = [f"{number}.png" for number in range(40)]
    names[5] = "kill.png"
    names[35] = "memory.png"
    found = run(names, workers=1)
    assert "crashed the process" in found[5]
    assert found[35] == "too large for the memory of this machine"
    assert [one for place, one in enumerate(found) if place not in (5, 35)] == [
        name for place, name in enumerate(names) if place not in (5, 35)
    ]


def test_memory_runs_out_for_one_file_only_without_workers_too() -> None:
    assert run(["a", "memory", "b"], workers=0) == ["a", "too large for the memory of this machine", "b"]


def test_workers_that_all_die_are_no_fault_of_the_files() -> None:
    with pytest.raises(DataError, match=r"die before they have read anything.*workers 0"):
        run(["kill1", "kill2", "kill3", "kill4"], workers=1)


def test_few_files_are_read_here_and_many_by_a_worker_a_core() -> None:
    assert default_workers(10) == 0
    assert 1 <= default_workers(20_000) <= 8


SECOND_OF_FOUR = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
}


def set_ranks(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in {**SECOND_OF_FOUR, **changes}.items():
        monkeypatch.setenv(name, value)


def test_torchrun_gives_a_process_its_place() -> None:
    found = read_ranks(SECOND_OF_FOUR)
    assert found == Ranks(rank=3, count=4, local_rank=1, local_count=2)
    assert not found.first
    assert not found.leads_machine


def test_a_scheduler_that_is_not_torchrun_is_not_heeded() -> None:
    assert read_ranks({"RANK": "1", "WORLD_SIZE": "2"}) == Ranks() == read_ranks({})
    assert Ranks().first
    assert Ranks().leads_machine


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": "one"}, "are not four numbers"),
        ({"RANK": "4"}, "RANK 4 of WORLD_SIZE 4, .* contradict"),
        ({"LOCAL_RANK": "2"}, "contradict"),
        ({"WORLD_SIZE": "1"}, "contradict"),
    ],
)
def test_variables_that_make_no_sense_are_named(changes: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_ranks({**SECOND_OF_FOUR, **changes})
    incomplete = {name: value for name, value in SECOND_OF_FOUR.items() if name != "LOCAL_RANK"}
    with pytest.raises(SettingsError, match="LOCAL_RANK"):
        read_ranks(incomplete)


def test_torchrun_and_processes_are_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    set_ranks(monkeypatch)
    with pytest.raises(SettingsError, match=r"processes: found 2, but torchrun started 4.*leave out --processes"):
        processes_for(make_config(), [0, 1], 2)
    assert processes_for(make_config(), [0, 1]) == 1


def test_only_trainings_run_under_torchrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_ranks(monkeypatch, LOCAL_RANK="0", RANK="0")
    for command in ("predict", "experiment", "check"):
        done = CliRunner().invoke(cli, [command, "somewhere", "there"])
        assert done.exit_code == 1
        assert done.stderr.startswith(f"Error: {command}: torchrun started 4 processes, and each would do the same")
    config = ExperimentConfig.model_construct()
    with pytest.raises(SettingsError, match="experiment: torchrun started 4 processes"):
        run_experiment(config)


def test_a_wrong_setting_is_said_once_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for rank in ("0", "1"):
        set_ranks(monkeypatch, RANK=rank, LOCAL_RANK=rank)
        done = CliRunner().invoke(cli, ["train", "data", "-o", "run", "--lr", "5"])
        assert done.exit_code == 1
        said.append(done.stderr)
    assert said[0].startswith("Error: lr: found 5.0")
    assert said[1] == ""


def test_a_failure_elsewhere_is_not_said_again_and_ones_own_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> str:
        def failing(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("trainer.training.seeds.train_seeds", failing)
        done = CliRunner().invoke(cli, ["train", "data", "-o", "run"])
        assert done.exit_code == 1
        return done.stderr.strip()

    set_ranks(monkeypatch)
    assert fail(ReportedElsewhere()) == ""
    assert fail(RankFailed("process 3 of 4: no picture")) == "Error: process 3 of 4: no picture"


def test_only_the_first_process_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    set_ranks(monkeypatch)
    monkeypatch.setattr("trainer.training.seeds.train_seeds", stopped)
    done = CliRunner().invoke(cli, ["train", "data", "-o", "run"])
    assert (done.exit_code, done.output) == (130, "")
    monkeypatch.setattr("trainer.training.seeds.train_seeds", lambda *_, **__: [])
    assert CliRunner().invoke(cli, ["train", "data", "-o", "run", "--json"]).stdout == ""


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="this system has no such signal")
def test_of_several_processes_each_heeds_both_signals_and_the_first_one_speaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for ranks, words in ((Ranks(0, 2, 0, 2), "\nstopping after this step\n"), (Ranks(1, 2, 1, 2), "")):
        with deferred_interrupts(several=True, announces=ranks.first) as asked:
            signal.raise_signal(signal.SIGINT)
            assert asked()
        assert capsys.readouterr().err == words
        with deferred_interrupts(several=True, announces=ranks.first) as asked:
            signal.raise_signal(signal.SIGTERM)
            assert asked()
        assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
