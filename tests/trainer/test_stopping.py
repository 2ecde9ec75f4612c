from __future__ import annotations

import math

import pytest

from trainer.config import TrainConfig, make_config
from trainer.evaluation.diagnosis import EarlyStopping
from trainer.evaluation.history import EpochRecord, History, rank_of


def record(epoch: int, macro_f1: float = 0.5, loss: float = 1.0, train_loss: float = 1.0) -> EpochRecord:
    return EpochRecord(epoch, train_loss, loss, macro_f1, macro_f1, 1e-3, 100.0, 1.0)


def epochs_until_stop(config: TrainConfig, records: list[EpochRecord]) -> tuple[int, str | None]:
    watch = EarlyStopping(config, [], n_classes=2, announce=False)
    for count in range(1, len(records) + 1):
        watch.look(records[:count])
        if watch.reason is not None:
            return count, watch.reason
    return len(records), None


def test_patience_counts_epochs_since_the_best() -> None:
    f1 = [0.1, 0.3, 0.2, 0.25, 0.31, 0.3, 0.3, 0.3, 0.9]
    records = [record(epoch, value) for epoch, value in enumerate(f1, start=1)]
    assert epochs_until_stop(make_config(patience=3), records) == (8, "no better val_macro_f1 in 3 epochs")
    assert epochs_until_stop(make_config(patience=4), records) == (9, None)
    assert epochs_until_stop(make_config(), records) == (9, None)


def test_patience_watches_the_named_figure() -> None:
    records = [record(epoch, macro_f1=epoch / 10, loss=1 + epoch / 10) for epoch in range(1, 8)]
    assert epochs_until_stop(make_config(patience=2), records) == (7, None)
    assert epochs_until_stop(make_config(patience=2, monitor="val_loss"), records) == (
        3,
        "no better val_loss in 2 epochs",
    )


def test_a_tie_is_not_better_and_the_loss_decides_it() -> None:
    same = [record(epoch, 0.5, 1.0) for epoch in range(1, 5)]
    assert epochs_until_stop(make_config(patience=2), same)[0] == 3
    falling = [record(epoch, 0.5, 1.0 / epoch) for epoch in range(1, 5)]
    assert epochs_until_stop(make_config(patience=2), falling) == (4, None)


def test_a_figure_that_is_no_number_is_never_the_best() -> None:
    records = [record(1, 0.5, 1.0), record(2, 0.5, math.nan), record(3, math.nan, 0.1)]
    assert History(tuple(records)).best.epoch == 1
    assert History(tuple(reversed(records))).best_by("val_loss").epoch == 3
    assert rank_of(records[1], "val_loss") < rank_of(records[0], "val_loss")
    assert epochs_until_stop(make_config(patience=2), records)[0] == 3


@pytest.mark.parametrize(("monitor", "best"), [("val_macro_f1", 2), ("val_accuracy", 3), ("val_loss", 1)])
def test_each_figure_has_its_own_best_epoch(monitor: str, best: int) -> None:
    records = (
        EpochRecord(1, 1.0, 0.1, 0.2, 0.2, 1e-3, 1.0, 1.0),
        EpochRecord(2, 1.0, 0.2, 0.3, 0.9, 1e-3, 1.0, 1.0),
        EpochRecord(3, 1.0, 0.3, 0.9, 0.3, 1e-3, 1.0, 1.0),
    )
    assert History(records).best_by(monitor).epoch == best


def test_the_last_epoch_is_no_early_stop() -> None:
    records = [record(epoch, 0.5 - epoch / 10) for epoch in range(1, 4)]
    assert epochs_until_stop(make_config(patience=2, epochs=3), records) == (3, None)


def overfitting(count: int) -> list[EpochRecord]:
    return [
        record(k, loss=0.5 + 0.5 * abs(k - 15) / 15, train_loss=2.0 * 0.9**k + 0.01 * (k % 2))
        for k in range(1, count + 1)
    ]


def test_overfitting_stops_on_request_alone() -> None:
    records = overfitting(60)
    stopped, reason = epochs_until_stop(make_config(epochs=100, stop_on="overfit"), records)
    assert 15 < stopped < 60
    assert reason == "overfitting in 3 epochs in a row"
    assert epochs_until_stop(make_config(epochs=100), records) == (60, None)


def test_a_watch_that_starts_late_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(epochs=100, stop_on="overfit")
    records = overfitting(60)
    stopped, reason = epochs_until_stop(config, records)
    late = EarlyStopping(config, records[:stopped], n_classes=2, announce=True)
    assert late.reason == reason
    assert "overfit" in late.line.lower()
    assert capsys.readouterr().err == ""
    assert EarlyStopping(config, records[: stopped - 1], n_classes=2, announce=True).reason is None


def test_a_change_of_diagnosis_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch = EarlyStopping(make_config(epochs=100), [], n_classes=2, announce=True)
    assert watch.line == ""
    records = overfitting(40)
    for count in range(1, 41):
        watch.look(records[:count])
    said = capsys.readouterr().err.splitlines()
    assert any("overfit" in line.lower() for line in said)
    assert len(said) < 8
