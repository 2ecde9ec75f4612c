"""The loss curves of a training with the window and the slopes that its diagnosis was read from."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..diagnose import Diagnosis
from ..history import EpochRecord
from ..trend import Trend

_INK = "#333333"
_TRAIN = "#1f6fb4"
_VAL = "#c8501e"
_WINDOW = "#f0ece2"


def draw_diagnosis(epochs: Sequence[EpochRecord], diagnosis: Diagnosis, *, title: str = "") -> bytes:
    """A PNG: both losses, each with the line through its window and that line's interval, and macro-F1 below.

    Args:
        epochs: one or more.
        diagnosis: of these epochs.
        title: in front of the kind; ASCII, as the drawing library's font lacks other scripts.
    """
    figure = Figure(figsize=(7.0, 5.0), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    evidence = diagnosis.evidence
    numbers = [one.epoch for one in epochs]
    if evidence.train is not None:
        for axes in (upper, lower):
            axes.axvspan(evidence.train.first - 0.5, evidence.train.last + 0.5, color=_WINDOW, zorder=0)
    for losses, trend, colour, word in (
        ([one.train_loss for one in epochs], evidence.train, _TRAIN, "training loss"),
        ([one.val_loss for one in epochs], evidence.val, _VAL, "validation loss"),
    ):
        shown = [loss if math.isfinite(loss) else math.nan for loss in losses]
        upper.plot(numbers, shown, color=colour, linewidth=1.0, marker="o", markersize=2.5, alpha=0.7, label=word)
        if trend is not None:
            _draw_trend(upper, trend, colour)
        for number, loss in zip(numbers, losses, strict=True):
            if not math.isfinite(loss):
                upper.axvline(number, color=colour, linewidth=1.0, linestyle="dotted")
    if evidence.floor:
        upper.axhline(evidence.floor, color=_TRAIN, linewidth=0.8, linestyle=(0, (4, 3)), label="least training loss")
    positive = [loss for one in epochs for loss in (one.train_loss, one.val_loss) if 0.0 < loss < math.inf]
    if positive:
        upper.set_yscale("log" if max(positive) > 20.0 * min(positive) else "linear")
    upper.set_ylabel("loss")
    upper.legend(frameon=False, fontsize=8, labelcolor=_INK)
    upper.set_title(f"{title}: {diagnosis.kind}" if title else diagnosis.kind, loc="left", fontsize=11, color=_INK)
    f1 = [one.val_macro_f1 for one in epochs]
    has_f1 = any(map(math.isfinite, f1))
    lower.plot(numbers, f1 if has_f1 else [one.val_accuracy for one in epochs], color=_INK, linewidth=1.2)
    if evidence.best_epoch is not None:
        lower.axvline(evidence.best_epoch, color=_INK, linewidth=0.8, linestyle="dotted")
    lower.set_ylim(0.0, 1.02)
    lower.set_ylabel("macro-F1" if has_f1 else "accuracy")
    lower.set_xlabel("epoch (shaded: the window; dotted: the best epoch)")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (upper, lower):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_trend(axes: Axes, trend: Trend, colour: str) -> None:
    """The line, and the fan of slopes in its interval about the window's middle."""
    x = np.linspace(trend.first, trend.last, 50)
    middle = (trend.first + trend.last) / 2.0
    height = trend.level - trend.slope * (trend.last - middle)
    axes.plot(x, np.exp(height + trend.slope * (x - middle)), color=colour, linewidth=2.2)
    ends = [np.exp(height + slope * (x - middle)) for slope in (trend.low, trend.high)]
    axes.fill_between(x, np.minimum(*ends), np.maximum(*ends), color=colour, alpha=0.18, linewidth=0)
