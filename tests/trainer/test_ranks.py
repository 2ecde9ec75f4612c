from __future__ import annotations

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdcore.errors import SettingsError
from sdcore.progress import deferred_interrupts
from trainer.cli import cli
from trainer.config import make_config
from trainer.errors import RankFailed, ReportedElsewhere
from trainer.experiment.config import ExperimentConfig
from trainer.experiment.run import run_experiment
from trainer.processes import Ranks, read_ranks
from trainer.training.seeds import processes_for

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
