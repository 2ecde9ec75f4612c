"""TensorBoard events of a run, on request."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import MissingExtra
from .history import EpochRecord

EVENTS_FOLDER = "tensorboard"


class EventLog:
    """Writes an epoch's figures as scalars; does nothing where none were asked for."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def add(self, record: EpochRecord) -> None:
        """One point in each curve."""
        if self._writer is None:
            return
        for name, value in asdict(record).items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()


def require_tensorboard() -> None:
    """Say before a training that its events could not be written.

    Raises:
        MissingExtra: the package is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtra("--tensorboard", "tensorboard")


@contextmanager
def open_event_log(run: Path, *, wanted: bool, epochs_done: int) -> Iterator[EventLog]:
    """The log of a run; points beyond `epochs_done`, of an epoch that was broken off, are withdrawn."""
    if not wanted:
        yield EventLog()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages it imports
        from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(run / EVENTS_FOLDER), purge_step=epochs_done + 1)
    try:
        yield EventLog(writer)
    finally:
        writer.close()


def clear_events(run: Path) -> None:
    """Remove the events of a former training."""
    for path in (run / EVENTS_FOLDER).glob("events.out.tfevents.*"):
        path.unlink()
