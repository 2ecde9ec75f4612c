"""What a diagnosis of a training rests on: the trends of its losses, its learning rate, its floor. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .history import EpochRecord, rank_of
from .trend import Trend, robust_trend

LEAST_WINDOW = 8
"""Epochs that a slope is read from at least."""

_LEAST_LOSS = 1e-3
"""A loss below this is as good as none; its logarithm would make mountains of nothing."""

SMOOTH_OVER = 5
"""Epochs whose median is a level."""


@dataclass(frozen=True)
class Conditions:
    """What is known of a training besides its curves."""

    classes: int | None = None
    """Number of classes; None: not known, and with label smoothing the floor is not known either."""
    label_smoothing: float | None = None
    """Of the training loss; None: not known."""
    epochs_planned: int | None = None
    """How long the training was to be; None: not known."""


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis rests on; trends are of the logarithm of a loss."""

    train: Trend | None
    """None: too few epochs, or a loss that is no number."""
    val: Trend | None
    macro_f1: Trend | None
    """Of validation macro-F1 itself (accuracy where a record has no F1), not of its logarithm."""
    warmup: int
    """Epochs at the start in which the learning rate rose; not judged."""
    lr_share: float | None
    """Last learning rate as a share of the highest; None: not recorded."""
    lr_falls: bool
    """The learning rate fell within the window."""
    floor: float | None
    """Least training loss that is possible; None: smoothing or number of classes not known."""
    guess: float | None
    """Training loss of one who always answers with equal probabilities; None: number of classes not known."""
    best_epoch: int | None
    """Epoch of the highest validation macro-F1 (or accuracy)."""
    best_ago: int | None
    """Epochs since then."""
    lowest_epoch: int | None
    """Epoch about which the validation loss was lowest (running median)."""
    rise_since_lowest: float | None
    """Logarithm of validation loss now over that at its lowest."""


def smoothing_floor(classes: int, label_smoothing: float) -> float:
    """Least mean cross-entropy with label smoothing e over K classes, in nats.

    Smoothing makes the target q of an image 1 - e + e/K for its class and e/K for each other one. The cross-entropy
    of q with what the network says, p, is H(q) + KL(q || p), least at p = q; so the floor is the entropy

        H(q) = -(1 - e + e/K) ln(1 - e + e/K) - (K - 1) (e/K) ln(e/K),

    0 without smoothing. At e = 0.1 it is 0.199 for 2 classes and 0.446 for 7.

    Raises:
        ValueError: no class, or smoothing outside [0, 1].
    """
    if classes < 1 or not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"found {classes} classes, label smoothing {label_smoothing}; expected 1 or more, and 0 to 1")
    other = label_smoothing / classes
    own = 1.0 - label_smoothing + other
    return -_xlogx(own) - (classes - 1) * _xlogx(other)


def gather(
    epochs: Sequence[EpochRecord],
    conditions: Conditions,
    *,
    window: int | None,
    window_share: float,
    most_window: int,
    confidence: float,
) -> Evidence:
    """What the curves up to the last epoch show.

    Args:
        epochs: in order; none is allowed.
        conditions: what else is known of the training.
        window: epochs at the end to read slopes from; None: as the next two say, `LEAST_WINDOW` or more.
        window_share: of the epochs after the warm-up.
        most_window: epochs at most.
        confidence: of the intervals.
    """
    warmup = warmup_length([one.lr for one in epochs])
    after = list(epochs[warmup:])
    size = window or min(max(round(window_share * len(after)), LEAST_WINDOW), most_window)
    stretch = after[-size:]
    train = val = macro_f1 = None
    if len(stretch) >= LEAST_WINDOW and first_not_finite(epochs) is None:
        numbers = [one.epoch for one in stretch]
        train = robust_trend(numbers, logs_of(stretch, "train_loss"), confidence=confidence)
        val = robust_trend(numbers, logs_of(stretch, "val_loss"), confidence=confidence)
        goodness = [_goodness(one) for one in stretch]
        if all(map(math.isfinite, goodness)):
            macro_f1 = robust_trend(numbers, goodness, confidence=confidence)
    rates = [one.lr for one in epochs]
    known_rates = bool(rates) and all(math.isfinite(rate) for rate in rates) and max(rates) > 0.0
    best = best_of(epochs)
    lowest = lowest_level(after, "val_loss") if train is not None else None
    return Evidence(
        train=train,
        val=val,
        macro_f1=macro_f1,
        warmup=warmup,
        lr_share=rates[-1] / max(rates) if known_rates else None,
        lr_falls=known_rates and bool(stretch) and stretch[-1].lr < 0.99 * stretch[0].lr,
        floor=_floor(conditions),
        guess=math.log(conditions.classes) if conditions.classes else None,
        best_epoch=None if best is None else best.epoch,
        best_ago=None if best is None else epochs[-1].epoch - best.epoch,
        lowest_epoch=None if lowest is None else after[lowest[0]].epoch,
        rise_since_lowest=None if lowest is None else level_now(after, "val_loss") - lowest[1],
    )


def first_not_finite(epochs: Sequence[EpochRecord]) -> EpochRecord | None:
    """The first epoch whose training or validation loss is no number or not finite."""
    return next((one for one in epochs if not (math.isfinite(one.train_loss) and math.isfinite(one.val_loss))), None)


def warmup_length(rates: Sequence[float]) -> int:
    """Epochs at the start up to which the learning rate rose; 0 when it never rose, or is not recorded."""
    if not rates or not all(math.isfinite(rate) for rate in rates):
        return 0
    highest = max(rates)
    peak = next(place for place, rate in enumerate(rates) if rate >= highest * (1.0 - 1e-9))
    return peak + 1 if peak > 0 else 0


def best_of(epochs: Sequence[EpochRecord]) -> EpochRecord | None:
    """The best epoch by validation macro-F1, by accuracy where a record has no F1; None when neither is known."""
    if epochs and all(math.isfinite(one.val_macro_f1) for one in epochs):
        return max(epochs, key=rank_of)
    known = [one for one in epochs if math.isfinite(one.val_accuracy)]
    return max(known, key=lambda one: (one.val_accuracy, -one.val_loss)) if known else None


def lowest_level(epochs: Sequence[EpochRecord], column: str) -> tuple[int, float]:
    """Place and height of the lowest running median of a loss's logarithm, each over five epochs."""
    logs = np.asarray(logs_of(epochs, column))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(logs, SMOOTH_OVER), axis=1)
    place = int(medians.argmin())
    return place + SMOOTH_OVER // 2, float(medians[place])


def level_now(epochs: Sequence[EpochRecord], column: str) -> float:
    """Median of a loss's logarithm over the last five epochs."""
    return float(np.median(logs_of(epochs[-SMOOTH_OVER:], column)))


def logs_of(epochs: Sequence[EpochRecord], column: str) -> list[float]:
    """Logarithms of a loss, held to 0.001 from below."""
    return [math.log(max(getattr(one, column), _LEAST_LOSS)) for one in epochs]


def _goodness(record: EpochRecord) -> float:
    return record.val_macro_f1 if math.isfinite(record.val_macro_f1) else record.val_accuracy


def _floor(conditions: Conditions) -> float | None:
    if conditions.label_smoothing == 0.0:
        return 0.0
    if conditions.label_smoothing is None or conditions.classes is None:
        return None
    return smoothing_floor(conditions.classes, conditions.label_smoothing)


def _xlogx(x: float) -> float:
    return x * math.log(x) if x > 0.0 else 0.0
