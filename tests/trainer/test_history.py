from __future__ import annotations

import math
from pathlib import Path

import pytest

from sdcore.errors import DataError
from trainer.evaluation.history import EpochRecord, History, read_history, write_history


def record(epoch: int, macro_f1: float, loss: float) -> EpochRecord:
    return EpochRecord(epoch, 0.1 * epoch, loss, 0.5, macro_f1, 1e-3, 123.4, 1.25)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    epochs = (record(1, 1 / 3, math.pi), record(2, 2 / 3, math.nan))
    write_history(tmp_path / "results.csv", epochs)
    assert (tmp_path / "results.csv").read_bytes().startswith(b"\xef\xbb\xbfepoch,train_loss,val_loss,val_accuracy,")
    history = read_history(tmp_path)
    assert history.epochs[0] == epochs[0]
    assert math.isnan(history.epochs[1].val_loss)
    assert read_history(tmp_path / "results.csv").epochs[0] == epochs[0]


def test_rates_are_read_again_and_undefined_ones_stay_so(tmp_path: Path) -> None:
    epochs = (
        EpochRecord(1, 1.0, 1.0, 0.5, 0.5, 1e-3, 10.0, 1.0, 0.125, 1 / 3),
        EpochRecord(2, 1.0, 1.0, 0.5, 0.5, 1e-3, 10.0, 1.0, None, 0.0),
    )
    write_history(tmp_path / "results.csv", epochs)
    assert read_history(tmp_path).epochs == epochs
    assert (tmp_path / "results.csv").read_text(encoding="utf-8-sig").splitlines()[2].endswith(",1.00,,0")


def test_a_record_from_before_the_rates_is_read(tmp_path: Path) -> None:
    old = "epoch,train_loss,val_loss,val_accuracy,val_macro_f1,lr,images_per_s,seconds\n1,2,3,0.5,0.25,0.001,100,2\n"
    (tmp_path / "results.csv").write_text(old, encoding="utf-8-sig")
    assert read_history(tmp_path).epochs == (EpochRecord(1, 2, 3, 0.5, 0.25, 0.001, 100, 2, None, None),)


def test_epochs_since_the_best_are_counted() -> None:
    epochs = (record(1, 0.5, 0.1), record(2, 0.8, 0.9), record(3, 0.7, 0.4))
    assert History(epochs).epochs_since_best("val_macro_f1") == 1
    assert History(epochs).epochs_since_best("val_loss") == 2
    assert History(()).epochs_since_best("val_loss") == 0


def test_the_best_epoch_has_the_highest_f1_then_the_lowest_loss_then_comes_first() -> None:
    epochs = (record(1, 0.5, 0.1), record(2, 0.8, 0.9), record(3, 0.8, 0.4), record(4, 0.8, 0.4), record(5, 0.7, 0.0))
    assert History(epochs).best.epoch == 3


def test_no_epoch_has_no_best(tmp_path: Path) -> None:
    write_history(tmp_path / "results.csv", ())
    assert read_history(tmp_path).epochs == ()
    with pytest.raises(DataError, match="no epoch was recorded"):
        _ = History(()).best


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: columns none"),
        ("epoch, train_loss\n", "line 1: columns epoch,  train_loss"),
        ("epoch,train_loss,val_loss,val_accuracy,val_macro_f1,lr,images_per_s,seconds\n1,2,3\n", "line 2: found"),
        (
            "epoch,train_loss,val_loss,val_accuracy,val_macro_f1,lr,images_per_s,seconds\n1,a,3,4,5,6,7,8\n",
            "expected 8 numbers",
        ),
    ],
)
def test_another_file_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "results.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_history(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"results\.csv: no such file"):
        read_history(tmp_path / "results.csv")
