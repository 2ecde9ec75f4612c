"""What a training achieved, from its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .config import TrainConfig
from .history import EpochRecord, History
from .run_folder import finished_epochs
from .stopping import Watch


@dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    run: Path
    seed: int
    best: EpochRecord
    """The epoch whose weights are `best.pt`."""
    epochs: int
    images_per_s: float
    """Median over the epochs, training alone; of all processes together."""
    was_there: bool
    """The run had been trained before, of the same config and data, and was left as it is."""
    resumed_after: int = 0
    """Epochs that an interrupted training had done before this one went on."""
    stopped: str = ""
    """Why it ended before its last epoch, in words; "" when it did not."""
    diagnosis: str = ""
    """What its loss curves say, in one sentence."""


def read_result(run: Path, config: TrainConfig, *, n_classes: int) -> TrainResult:
    """What a finished run achieved, from its own record.

    Args:
        run: a finished run.
        config: what it was trained with.
        n_classes: that it tells apart.
    """
    epochs = finished_epochs(run)
    watch = Watch(config, epochs, n_classes=n_classes, announce=False)
    return make_result(run, config, epochs, watch, was_there=True)


def make_result(
    run: Path,
    config: TrainConfig,
    records: Sequence[EpochRecord],
    watch: Watch,
    *,
    was_there: bool = False,
    resumed_after: int = 0,
) -> TrainResult:
    """What the epochs of a training come to.

    Args:
        run: its folder.
        config: what it was trained with.
        records: its epochs, one or more.
        watch: that has looked at them.
        was_there: see `TrainResult`.
        resumed_after: see there.
    """
    rates = sorted(record.images_per_s for record in records)
    return TrainResult(
        run=run,
        seed=config.seed,
        best=History(tuple(records)).best_by(config.monitor),
        epochs=len(records),
        images_per_s=rates[len(rates) // 2],
        was_there=was_there,
        resumed_after=resumed_after,
        stopped=watch.reason or "",
        diagnosis=watch.line,
    )
