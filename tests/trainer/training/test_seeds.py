"""Seeds in processes of their own give the runs that they give one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcore.errors import SettingsError
from trainer.config import TrainConfig, TrainingJob, make_config
from trainer.processes import JobFailed
from trainer.training.seeds import processes_for, train_seeds
from trainer.training.train import train


def tiny(**changes: object) -> TrainConfig:
    return make_config(**{"epochs": 1, "imgsz": 32, "batch_size": 8, "device": "cpu", **changes})


def test_two_at_a_time_are_the_same_to_the_bit_and_left_alone_afterwards(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = [3, 5]
    alone = train(TrainingJob(data, tmp_path / "alone", tiny(), seeds=seeds), progress=False)
    beside = train_seeds(TrainingJob(data, tmp_path / "beside", tiny(), seeds=seeds), processes=2, progress=True)
    assert [(one.run.name, one.seed, one.was_there) for one in beside] == [("seed-3", 3, False), ("seed-5", 5, False)]
    for one, other in zip(alone, beside, strict=True):
        for name in ("best.pt", "last.pt", "config.json", "data.json"):
            assert (one.run / name).read_bytes() == (other.run / name).read_bytes(), name
        assert other.best.val_macro_f1 == one.best.val_macro_f1
    assert "2 seeds" in capsys.readouterr().err
    again = train_seeds(TrainingJob(data, tmp_path / "beside", tiny(), seeds=seeds), processes=2, progress=False)
    assert all(one.was_there for one in again)


def test_a_seed_that_cannot_be_trained_is_named(data: Path, tmp_path: Path) -> None:
    (data / "train" / "dirt" / "3.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(JobFailed, match=r"seed-[01]: .*3\.png: cannot be read"):
        train_seeds(TrainingJob(data, tmp_path / "run", tiny(), seeds=[0, 1]), processes=2, progress=False)


def test_no_more_processes_than_seeds_and_none_below_one() -> None:
    assert processes_for(tiny(), [0, 1, 2], 8) == 3
    assert processes_for(tiny(), [0], None) == 1
    assert processes_for(tiny(threads=10_000), [0, 1]) == 1
    with pytest.raises(SettingsError, match="processes: found 0; expected 1 or more"):
        processes_for(tiny(), [0, 1], 0)
