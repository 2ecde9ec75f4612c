"""How long an experiment will take, from a few timed steps on this machine, and how much disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sdcore.torch_runtime import choose_device, isolated_rng, torch_threads

from ..session import Session
from ..tasks import TrainingImages
from ..tasks.classification import Classification
from .plan import Cell
from .prepare import Prepared

_WARM_UP_STEPS = 2
_TIMED_STEPS = 6
_PREDICTED = 64
_START_S = 10.0
"""Loading the libraries and checking the images, a cell; measured as 5 to 15 s."""
_PICTURES_BYTES = 500_000
"""Curves and examples of a run."""


@dataclass(frozen=True)
class Estimate:
    """What an experiment costs."""

    trained_per_s: float
    """Images a second in training, one process alone."""
    predicted_per_s: float
    """Images a second in validation and prediction."""
    seconds: float
    """For all cells asked about, with so many processes beside each other."""
    processes: int
    bytes: int
    """On disk, with the weights of every cell."""
    how: str
    """How it was found, in words."""


def estimate(prepared: Prepared, cells: Sequence[Cell], *, processes: int) -> Estimate:
    """Time the network of this experiment on made-up pictures, and count.

    Args:
        prepared: the experiment.
        cells: those that are still to be trained.
        processes: that will work beside each other; taken not to slow each other down.
    """
    config = prepared.settings(prepared.cells[0])
    batch, device = config.images_a_step, choose_device(config.device)
    classes = prepared.folds[0].dataset.classes
    pictures = TrainingImages(
        torch.zeros((batch, 3, config.imgsz, config.imgsz), dtype=torch.uint8),
        torch.arange(batch),
        torch.arange(batch) % len(classes),
    )
    config = config.model_copy(update={"images_per_epoch": batch, "balance": False, "layout": "channels_last"})
    with torch_threads(config.threads), isolated_rng(device):
        session = Session(pictures, Classification(classes, config), config, device)
        trained = _steps(session, _WARM_UP_STEPS)
        began = time.perf_counter()
        trained = _steps(session, _TIMED_STEPS)
        _wait(device)
        per_trained = (time.perf_counter() - began) / trained
        network = session.average.network.eval()
        sample = torch.zeros((_PREDICTED, 3, config.imgsz, config.imgsz), device=device)
        with torch.inference_mode():
            network(sample)
            began = time.perf_counter()
            network(sample)
            _wait(device)
        per_predicted = (time.perf_counter() - began) / _PREDICTED
    weights = sum(one.numel() * one.element_size() for one in network.state_dict().values())
    seconds = 0.0
    for cell in cells:
        data = prepared.fold(cell.fold).dataset
        looked_at = config.epochs * len(data.val) + len(data.test)
        seconds += _START_S + config.epochs * prepared.images_per_epoch * per_trained + looked_at * per_predicted
    beside = max(1, min(processes, len(cells)))
    return Estimate(
        trained_per_s=1.0 / per_trained,
        predicted_per_s=1.0 / per_predicted,
        seconds=seconds / beside,
        processes=beside,
        bytes=len(prepared.cells) * (2 * weights + _PICTURES_BYTES),
        how=(
            f"{_TIMED_STEPS} steps of {batch} images timed now on this machine by one process, and {_START_S:.0f} s "
            f"a cell to start; {beside} at a time taken as not slowing each other"
        ),
    )


def _steps(session: Session, count: int) -> int:
    """So many steps; how many images they saw."""
    seen = 0
    for _ in range(count):
        for batch in session.start_epoch():
            session.step(batch)
            seen += len(batch)
    return seen


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
