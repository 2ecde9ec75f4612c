"""Reads the `results.csv` that YOLOv5's own classify/train.py writes.

Its cells are padded with spaces, its epochs count from 0, and it has no F1. It writes the learning rate after the
schedule has stepped, so the rate of an epoch stands in the row before; the first row's own is taken for the first
epoch. Its validation loss is smoothed as its training loss is (checked in YOLOv5 7.0.14).
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

from .errors import DataError
from .history import HISTORY_NAME, EpochRecord, History

_TRAIN_LOSS = "train/loss"
_VAL_LOSSES = ("val/loss", "test/loss")
_ACCURACY = "metrics/accuracy_top1"
_LR = "lr/0"
_EXPECTED = f"epoch, {_TRAIN_LOSS}, {_VAL_LOSSES[0]} or {_VAL_LOSSES[1]}, {_ACCURACY}, {_LR}"


def is_upstream(path: Path) -> bool:
    """Whether the file begins as one of YOLOv5's does.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return any(name.strip().startswith(("train/", "metrics/")) for name in file.readline().split(","))


def read_upstream_history(path: Path) -> History:
    """The epochs of an upstream training, counted from 1; what it does not record is NaN.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        DataError: no such file, other columns, a cell that is no number, or two trainings in one file; the message
            names the line.
    """
    path = path / HISTORY_NAME if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected the results.csv of a training") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); expected the results.csv of a training") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(reader, [])]
    val_loss = next((name for name in _VAL_LOSSES if name in header), None)
    if val_loss is None or not {"epoch", _TRAIN_LOSS, _ACCURACY, _LR} <= set(header):
        detection = (
            "; this is a training that finds boxes, not one that classifies" if "train/box_loss" in header else ""
        )
        raise DataError(f"{path}, line 1: columns {', '.join(header) or 'none'}; expected {_EXPECTED}{detection}")
    records: list[EpochRecord] = []
    rates: list[float] = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}, line {reader.line_num}"
        if len(row) != len(header):
            raise DataError(f"{where}: found {len(row)} cells; expected {len(header)}, one a column")
        try:
            cells = {name: float(cell) for name, cell in zip(header, row, strict=True)}
            epoch = int(cells["epoch"]) + 1
        except (ValueError, OverflowError) as error:
            raise DataError(
                f"{where}: found {[cell.strip() for cell in row]}; expected {len(header)} numbers"
            ) from error
        if records and epoch <= records[-1].epoch:
            raise DataError(
                f"{where}: epoch {epoch - 1} after epoch {records[-1].epoch - 1}; two trainings wrote into this file "
                "(--exist-ok), so keep the rows of one of them and the header"
            )
        rates.append(cells[_LR])
        records.append(
            EpochRecord(
                epoch=epoch,
                train_loss=cells[_TRAIN_LOSS],
                val_loss=cells[val_loss],
                val_accuracy=cells[_ACCURACY],
                val_macro_f1=math.nan,
                lr=rates[-2] if len(rates) > 1 else rates[-1],
                images_per_s=math.nan,
                seconds=math.nan,
            )
        )
    return History(tuple(records))


def read_label_smoothing(run: Path) -> float | None:
    """The label smoothing in an upstream run's `opt.yaml`; None where there is no such file or number in it."""
    try:
        text = (run / "opt.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^label_smoothing:\s*([0-9.eE+-]+)\s*$", text, flags=re.MULTILINE)
    try:
        return float(found.group(1)) if found else None
    except ValueError:
        return None
