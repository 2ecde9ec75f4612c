"""Reading and writing results.csv, ours and YOLOv5's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sdcore.errors import DataError
from trainer.evaluation.history import (
    EpochRecord,
    History,
    is_upstream,
    read_history,
    read_label_smoothing,
    read_upstream_history,
    write_history,
)


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


COLUMNS = ["epoch", "train/loss", "val/loss", "metrics/accuracy_top1", "metrics/accuracy_top5", "lr/0"]


def upstream_text(rows: list[list[float]], columns: list[str] = COLUMNS) -> str:
    """As GenericLogger.log_metrics of YOLOv5 7.0.14 writes it."""
    n = len(columns)
    header = ("%23s," * n % tuple(columns)).rstrip(",") + "\n"
    return header + "".join(("%23.5g," * n % tuple(row)).rstrip(",") + "\n" for row in rows)


def test_padded_columns_are_read_and_epochs_count_from_one(tmp_path: Path) -> None:
    rows = [[0, 1.9123, 1.8, 0.3, 0.9, 0.00067], [1, 1.5, math.nan, 0.4, 1.0, 0.00034], [2, 1.2, 1.3, 0.5, 1.0, 1e-05]]
    for columns in (COLUMNS, ["test/loss" if name == "val/loss" else name for name in COLUMNS]):
        (tmp_path / "results.csv").write_text(upstream_text(rows, columns), encoding="utf-8")
        assert is_upstream(tmp_path / "results.csv")
        epochs = read_upstream_history(tmp_path).epochs
        assert [one.epoch for one in epochs] == [1, 2, 3]
        assert [one.train_loss for one in epochs] == [1.9123, 1.5, 1.2]
        assert math.isnan(epochs[1].val_loss)
        assert math.isnan(epochs[0].val_macro_f1)
        # Each row's rate was set for the epoch that follows.
        assert [one.lr for one in epochs] == [0.00067, 0.00067, 0.00034]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: columns none"),
        (upstream_text([], ["epoch", "train/box_loss", "metrics/mAP_0.5"]), "finds boxes"),
        (upstream_text([[0, 1, 1, 1, 1, 1]]) + "1, 2\n", "line 3: found 2 cells; expected 6"),
        (upstream_text([]) + "0, a, 1, 1, 1, 1\n", "line 2: found .*'a'.*expected 6 numbers"),
        (upstream_text([[0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]]), "line 3: epoch 0 after epoch 0; two trainings"),
        (upstream_text([]) + "nan, 1, 1, 1, 1, 1\n", "expected 6 numbers"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "results.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_upstream_history(tmp_path / "results.csv")


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_upstream_history(tmp_path / "results.csv")
    (tmp_path / "results.csv").write_bytes(b"\xff\xfe\x00epoch")
    assert not is_upstream(tmp_path / "results.csv")
    with pytest.raises(DataError, match="not UTF-8"):
        read_upstream_history(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"), [("lr0: 0.001\nlabel_smoothing: 0.1\n", 0.1), ("label_smoothing: -\n", None), ("", None)]
)
def test_label_smoothing_comes_from_the_options(tmp_path: Path, text: str, value: float | None) -> None:
    assert read_label_smoothing(tmp_path) is None
    (tmp_path / "opt.yaml").write_text(text, encoding="utf-8")
    assert read_label_smoothing(tmp_path) == value
