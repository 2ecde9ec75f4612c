"""What a training did, step by step: `history.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sdcore.files import write_bytes_atomically

HISTORY_NAME = "history.csv"


@dataclass(frozen=True)
class Report:
    """How a training stood when it was last looked at."""

    step: int
    minutes: float
    """Of training so far."""
    train_loss: float
    """Mean over the steps since the report before."""
    val_loss: float | None
    """Of the averaged weights; None without held-out pictures."""
    lr: float
    images_per_s: float
    """Since the report before, validation and drawing left out."""


def write_history(path: Path, reports: Sequence[Report]) -> None:
    """Write `history.csv`, one row a report."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, [field.name for field in fields(Report)])
    writer.writeheader()
    for report in reports:
        row = asdict(report)
        writer.writerow({name: _rounded(value) for name, value in row.items()})
    write_bytes_atomically(path, buffer.getvalue().encode())


def best_of(reports: Sequence[Report]) -> Report | None:
    """The report of the lowest validation loss, the first of equals; None where nothing was validated."""
    judged = [report for report in reports if report.val_loss is not None]
    return min(judged, key=lambda report: report.val_loss or 0.0, default=None)


def _rounded(value: float | int | None) -> float | int | str:
    if value is None:
        return ""
    return value if isinstance(value, int) else float(f"{value:.6g}")
