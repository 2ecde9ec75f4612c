"""The record of each epoch in `results.csv`, ours and YOLOv5's, and the recorded trainings at a path.

The file of YOLOv5's own classify/train.py pads its cells with spaces, counts epochs from 0 and has no F1. It writes
the learning rate after the schedule has stepped, so the rate of an epoch is in the row before; the first epoch takes
the rate of its own row. Its validation loss uses label smoothing as its training loss does (checked in 7.0.14).
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sdcore.files import read_json, write_bytes_atomically

from ..errors import DataError

HISTORY_NAME = "results.csv"


@dataclass(frozen=True)
class EpochRecord:
    """Measurements of one epoch."""

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
    """Training images per second, without the validation."""
    seconds: float
    """Of the whole epoch, validation included."""
    val_miss_rate: float | None = None
    """In [0, 1]: share of defective validation images predicted Normal; None: no class Normal, or not recorded."""
    val_overkill_rate: float | None = None
    """In [0, 1]: share of Normal validation images predicted defective; None likewise."""


@dataclass(frozen=True)
class History:
    """The epochs of one training, in order."""

    epochs: tuple[EpochRecord, ...]

    @property
    def best(self) -> EpochRecord:
        """The best epoch by macro-F1; `best.pt` holds it unless the run monitored another figure.

        Raises:
            DataError: there is no epoch.
        """
        return self.best_by("val_macro_f1")

    def best_by(self, monitor: str) -> EpochRecord:
        """The epoch with the highest `rank_of`; the earliest of equal ones.

        Raises:
            DataError: there is no epoch.
        """
        if not self.epochs:
            raise DataError("no epoch was recorded, so none is the best; train for one epoch at least")
        return max(self.epochs, key=lambda record: rank_of(record, monitor))

    def epochs_since_best(self, monitor: str) -> int:
        """Epochs since the best one; 0 without epochs."""
        return self.epochs[-1].epoch - self.best_by(monitor).epoch if self.epochs else 0


def rank_of(record: EpochRecord, monitor: str = "val_macro_f1") -> tuple[float, float]:
    """Sort key of epochs; greater is better, and NaN is the worst.

    Args:
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
"""Columns of every version; the others may be empty, or missing in older files."""


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
        DataError: no such file, another header, or a cell that is not a number; the message names the line.
    """
    path, reader = _open_csv(path, expected="the record that 'trainer train' writes")
    header = tuple(next(reader, []))
    if header not in (_COLUMNS, _REQUIRED):
        raise DataError(f"{path}, line 1: columns {', '.join(header) or 'none'}; expected {', '.join(_COLUMNS)}")
    return History(tuple(_to_record(path, reader.line_num, header, row) for row in reader if row))


def _open_csv(path: Path, *, expected: str) -> tuple[Path, Any]:
    """The file, which may lie in the folder `path`, and a `csv.reader` of its text."""
    path = path / HISTORY_NAME if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected {expected}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); expected {expected}") from error
    return path, csv.reader(io.StringIO(text, newline=""))


def _to_cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    # 17 significant digits restore a float exactly, so a reader finds the same best epoch.
    return f"{value:{_FORMATS.get(name, '.17g')}}"


_FORMATS = {"epoch": "d", "images_per_s": ".1f", "seconds": ".2f"}


def count_epochs(run: Path) -> int:
    """Epochs that a running training has recorded, for a progress bar; 0 while the file cannot be read."""
    try:
        return max(0, len((run / HISTORY_NAME).read_text(encoding="utf-8-sig").splitlines()) - 1)
    except OSError:  # not there yet, or another process is replacing it
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


_TRAIN_LOSS = "train/loss"
_VAL_LOSSES = ("val/loss", "test/loss")
_ACCURACY = "metrics/accuracy_top1"
_LR = "lr/0"
_EXPECTED = f"epoch, {_TRAIN_LOSS}, {_VAL_LOSSES[0]} or {_VAL_LOSSES[1]}, {_ACCURACY}, {_LR}"


def is_upstream(path: Path) -> bool:
    """Whether YOLOv5 wrote the file, by its header.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return any(name.strip().startswith(("train/", "metrics/")) for name in file.readline().split(","))


def read_upstream_history(path: Path) -> History:
    """The epochs of an upstream training, counted from 1; figures that upstream does not record are NaN.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        DataError: no such file, other columns, a cell that is not a number, or two trainings in one file; the message
            names the line.
    """
    path, reader = _open_csv(path, expected="the results.csv of a training")
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
    """The label smoothing in an upstream run's `opt.yaml`; None without the file, or without a number in it."""
    try:
        text = (run / "opt.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^label_smoothing:\s*([0-9.eE+-]+)\s*$", text, flags=re.MULTILINE)
    try:
        return float(found.group(1)) if found else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Conditions:
    """What is known about a training besides its curves; None: unknown."""

    classes: int | None = None
    """Number of classes; without it the floor of a smoothed loss is unknown too."""
    label_smoothing: float | None = None
    """Of the training loss."""
    epochs_planned: int | None = None


@dataclass(frozen=True)
class RecordedTraining:
    """One training, read from its run folder."""

    name: str
    """Name of the folder."""
    path: Path
    """Its results.csv."""
    history: History
    conditions: Conditions
    upstream: bool
    """Written by YOLOv5's own classify/train.py."""


def find_recorded_trainings(path: Path) -> list[RecordedTraining]:
    """The training of a results.csv or a run folder, or those of all `seed-*` folders in the order of their numbers.

    Raises:
        DataError: there is no training, or a record or config cannot be read.
    """
    if path.is_file():
        return [_read(path)]
    if not path.exists():
        raise DataError(f"{path}: no such folder or file; expected a run of 'trainer train' or its {HISTORY_NAME}")
    if (path / HISTORY_NAME).is_file():
        return [_read(path / HISTORY_NAME)]
    seeds = sorted(path.glob(f"seed-*/{HISTORY_NAME}"), key=_seed_number)
    if not seeds:
        raise DataError(
            f"{path}: neither {HISTORY_NAME} nor seed-* folders with one in it; no training has finished an epoch "
            "here, expected a run of 'trainer train'"
        )
    return [_read(one) for one in seeds]


def _read(path: Path) -> RecordedTraining:
    run = path.parent
    name = run.resolve().name
    if is_upstream(path):
        conditions = Conditions(label_smoothing=read_label_smoothing(run))
        return RecordedTraining(name, path, read_upstream_history(path), conditions, upstream=True)
    config, data = _read_json(run / "config.json"), _read_json(run / "data.json")
    classes = data.get("classes") or list(data.get("train", {}))
    conditions = Conditions(
        classes=len(classes) or None,
        label_smoothing=_number(run / "config.json", config, "label_smoothing"),
        epochs_planned=round(planned) if (planned := _number(run / "config.json", config, "epochs")) else None,
    )
    return RecordedTraining(name, path, read_history(path), conditions, upstream=False)


def _number(path: Path, content: dict[str, Any], name: str) -> float | None:
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{path}: {name} is {value!r}; expected a number, as 'trainer train' writes it")
    return float(value)


def _read_json(path: Path) -> dict[str, Any]:
    """The content; empty when there is no such file."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON ({error}); remove it to judge the curves alone") from error


def _seed_number(path: Path) -> tuple[int, str]:
    number = re.search(r"\d+$", path.parent.name)
    return (int(number.group()) if number else -1, path.parent.name)
