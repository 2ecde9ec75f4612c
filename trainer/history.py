"""The per-epoch record of a training, in memory and as `results.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ._atomic import write_bytes_atomically
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


@dataclass(frozen=True)
class History:
    """The epochs of one training, in order."""

    epochs: tuple[EpochRecord, ...]

    @property
    def best(self) -> EpochRecord:
        """The epoch whose weights are `best.pt`: highest macro-F1, then lowest loss, then the earliest.

        Raises:
            DataError: there is no epoch.
        """
        if not self.epochs:
            raise DataError("no epoch was recorded, so none is the best; train for one epoch at least")
        return max(self.epochs, key=rank_of)


def rank_of(record: EpochRecord) -> tuple[float, float]:
    """Sort key by which epochs are judged; the greater is the better."""
    return (record.val_macro_f1, -record.val_loss)


_COLUMNS = tuple(field.name for field in fields(EpochRecord))


def write_history(path: Path, epochs: Sequence[EpochRecord]) -> None:
    """Write `results.csv` atomically.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(_COLUMNS)
    for record in epochs:
        epoch, *figures, images_per_s, seconds = astuple(record)
        # Seventeen significant digits bring a float back exactly, so a reader finds the same best epoch.
        rows.writerow([epoch, *(f"{value:.17g}" for value in figures), f"{images_per_s:.1f}", f"{seconds:.2f}"])
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
    header = next(reader, [])
    if tuple(header) != _COLUMNS:
        raise DataError(f"{path}, line 1: columns {', '.join(header) or 'none'}; expected {', '.join(_COLUMNS)}")
    return History(tuple(_to_record(path, reader.line_num, row) for row in reader if row))


def _to_record(path: Path, line: int, row: list[str]) -> EpochRecord:
    try:
        epoch, *figures = row
        return EpochRecord(int(epoch), *(float(cell) for cell in figures))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}, line {line}: found {row}; expected {len(_COLUMNS)} numbers") from error
