"""Drawings of a run: its curves, an example batch, TensorBoard events.

Figures have English words and class numbers only: class names may be in any script, which matplotlib's font lacks.
"""

import importlib.util
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from sdcore.files import write_bytes_atomically

from ..config import TrainConfig
from ..data.transforms import augment
from ..errors import MissingExtra
from ..evaluation.history import EpochRecord, History
from ..run_files import EVENTS_FOLDER
from ..tasks import TrainingImages
from .session import make_epoch_order

_MIN_TILE_PX = 96
_MAX_TILES = 64
_LABEL_PX = 16
_BLUE, _ORANGE, _GREEN, _RED = "#1f6fb4", "#c8641e", "#3a8f4d", "#b03030"


def draw_curves(path: Path, epochs: Sequence[EpochRecord], *, monitor: str) -> None:
    """Draw losses, validation figures and learning rate over one or more epochs as PNG; mark the best by `monitor`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rates = (
        ("val_macro_f1", "macro-F1", _BLUE),
        ("val_accuracy", "accuracy", _GREEN),
        ("val_miss_rate", "miss rate", _RED),
        ("val_overkill_rate", "overkill rate", _ORANGE),
    )
    losses = (("train_loss", "training", _ORANGE), ("val_loss", "validation", _BLUE))
    panels = (("loss", losses), ("validation", rates), ("learning rate", (("lr", "", _BLUE),)))
    best = History(tuple(epochs)).best_by(monitor).epoch
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, lines) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, words, colour in lines:
            points = [(one.epoch, getattr(one, name)) for one in epochs if getattr(one, name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, marker="." if len(points) < 3 else "", label=words)
        axes.axvline(best, color="0.6", linewidth=1, linestyle=":")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="0.9")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if any(words for _, words, _ in lines):
            axes.legend(frameon=False)
    figure.suptitle(f"best epoch by {monitor}: {best}", fontsize=10)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    write_bytes_atomically(path, content.getvalue())


def draw_examples(path: Path, train: TrainingImages, config: TrainConfig, *, parts: int) -> None:
    """Draw the first batch of the training, augmented, each image with the number of its class, as PNG.

    A step has `parts` parts over all processes.
    """
    rng = torch.Generator().manual_seed(config.seed)
    batch = make_epoch_order(train, config, rng, parts=parts).next_epoch()[0]
    varied = augment(train.images[train.image_index[batch]].cpu(), config.augment, rng)[:_MAX_TILES]
    tile = max(_MIN_TILE_PX, config.imgsz)
    columns = math.ceil(math.sqrt(2 * len(varied)))
    rows = math.ceil(len(varied) / columns)
    sheet = Image.new("RGB", (columns * (tile + 4) + 4, rows * (tile + _LABEL_PX + 4) + 4), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (pixels, label) in enumerate(zip(varied, train.labels[batch].tolist(), strict=False)):
        x, y = 4 + place % columns * (tile + 4), 4 + place // columns * (tile + _LABEL_PX + 4)
        image = Image.fromarray(pixels.round().to(torch.uint8).permute(1, 2, 0).numpy().astype(np.uint8))
        sheet.paste(image.resize((tile, tile), Image.Resampling.NEAREST), (x, y + _LABEL_PX))
        pen.text((x, y + 2), f"class {label}", fill="black")
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_bytes_atomically(path, content.getvalue())


class EventLog:
    """Writes the figures of each epoch for TensorBoard; without a writer it does nothing."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def add(self, record: EpochRecord) -> None:
        """Add a point to each curve."""
        if self._writer is None:
            return
        for name, value in asdict(record).items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()


def require_tensorboard() -> None:
    """Check before a training that events can be written.

    Raises:
        MissingExtra: tensorboard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtra("--tensorboard", "tensorboard")


@contextmanager
def open_event_log(run: Path, *, wanted: bool, epochs_done: int) -> Iterator[EventLog]:
    """The event log of a run; it drops points after `epochs_done`, which an interrupted epoch left."""
    if not wanted:
        yield EventLog()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from packages that tensorboard imports
        from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(run / EVENTS_FOLDER), purge_step=epochs_done + 1)
    try:
        yield EventLog(writer)
    finally:
        writer.close()
