"""The per-epoch record of a training, in memory and as `results.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from sdcore.files import write_bytes_atomically

from .errors import DataError

HISTORY_NAME = "results.csv"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch measured."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch's augmented images, with label smoothing."""
    val_loss: float
    """Mean cross-entropy of the averaged weights over the validation images, without label smoothing."""
    val_accuracy: float
    """In [0, 1]."""
    val_macro_f1: float
    """In [0, 1]; mean F1 of the classes that occur in the validation images."""
    lr: float
    """Learning rate of the epoch's last step."""
    images_per_s: float
    """Training images a second, validation left out."""
    seconds: float
    """Of the whole epoch, validation included."""
    val_miss_rate: float | None = None
    """In [0, 1]: defective validation images called Normal; None without a class Normal, or not recorded."""
    val_overkill_rate: float | None = None
    """In [0, 1]: Normal validation images called defective."""


@dataclass(frozen=True)
class History:
    """The epochs of one training, in order."""

    epochs: tuple[EpochRecord, ...]

    @property
    def best(self) -> EpochRecord:
        """The best epoch by macro-F1, which is `best.pt` unless the run watched another figure.

        Raises:
            DataError: there is no epoch.
        """
        return self.best_by("val_macro_f1")

    def best_by(self, monitor: str) -> EpochRecord:
        """The epoch that `rank_of` puts first; of equals the earliest.

        Raises:
            DataError: there is no epoch.
        """
        if not self.epochs:
            raise DataError("no epoch was recorded, so none is the best; train for one epoch at least")
        return max(self.epochs, key=lambda record: rank_of(record, monitor))

    def epochs_since_best(self, monitor: str) -> int:
        """How many epochs have passed without a better one; 0 when there is none or the last is the best."""
        return self.epochs[-1].epoch - self.best_by(monitor).epoch if self.epochs else 0


def rank_of(record: EpochRecord, monitor: str = "val_macro_f1") -> tuple[float, float]:
    """Sort key by which epochs are judged; the greater is the better, and what is no number is the worst.

    Args:
        record: an epoch.
        monitor: "val_macro_f1" or "val_accuracy" (ties go to the lower loss), or "val_loss" (ties go to the
            higher macro-F1).
    """
    f1, low_loss = _worst_if_nan(record.val_macro_f1), _worst_if_nan(-record.val_loss)
    if monitor == "val_loss":
        return (low_loss, f1)
    return (f1 if monitor == "val_macro_f1" else _worst_if_nan(record.val_accuracy), low_loss)


def _worst_if_nan(value: float) -> float:
    return -math.inf if math.isnan(value) else value


_COLUMNS = tuple(field.name for field in fields(EpochRecord))
_REQUIRED = tuple(field.name for field in fields(EpochRecord) if field.default is MISSING)
"""Columns of every version; the others are empty where there is nothing to say, or missing in older files."""


def write_history(path: Path, epochs: Sequence[EpochRecord]) -> None:
    """Write `results.csv` atomically.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(_COLUMNS)
    rows.writerows([_to_cell(name, value) for name, value in asdict(record).items()] for record in epochs)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))


def read_history(path: Path) -> History:
    """Read a run's `results.csv`; `path` is the file or the run folder that holds it.

    Raises:
        DataError: no such file, another header, or a cell that is no number; the message names the line.
    """
    path = path / HISTORY_NAME if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected the record that 'trainer train' writes") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); expected the record of a training") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = tuple(next(reader, []))
    if header not in (_COLUMNS, _REQUIRED):
        raise DataError(f"{path}, line 1: columns {', '.join(header) or 'none'}; expected {', '.join(_COLUMNS)}")
    return History(tuple(_to_record(path, reader.line_num, header, row) for row in reader if row))


def _to_cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    # Seventeen significant digits bring a float back exactly, so a reader finds the same best epoch.
    return f"{value:{_FORMATS.get(name, '.17g')}}"


_FORMATS = {"epoch": "d", "images_per_s": ".1f", "seconds": ".2f"}


def count_epochs(run: Path) -> int:
    """Epochs that a run in progress has recorded; for a bar, so what cannot be read at this moment counts as none."""
    try:
        return max(0, len((run / HISTORY_NAME).read_text(encoding="utf-8-sig").splitlines()) - 1)
    except OSError:  # not there yet, or being replaced at this moment
        return 0


def _to_record(path: Path, line: int, header: tuple[str, ...], row: list[str]) -> EpochRecord:
    try:
        cells = dict(zip(header, row, strict=True))
        figures = {
            name: None if cell == "" and name not in _REQUIRED else float(cell)
            for name, cell in cells.items()
            if name != "epoch"
        }
        return EpochRecord(int(cells["epoch"]), **figures)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}, line {line}: found {row}; expected {len(header)} numbers") from error
