"""What the loss curves of a training say, read as a person reads them, with a rule that noise does not move. Pure.

Both losses fall: learning. Training falls and validation rises: overfitting. Both are flat: a plateau, unless the
learning rate is spent or the training loss is at its floor, when the training is finished. Training rises:
diverging. All else is inconclusive, and so is what noise hides: a loss counts as flat when its interval is narrow,
not when no slope was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sdcore.messages import Message

from .diagnosis_words import Kind, Reason, describe
from .evidence import LEAST_WINDOW, SMOOTH_OVER, Conditions, Evidence, first_not_finite, gather, level_now, lowest_level
from .history import EpochRecord
from .stats import CONFIDENCE
from .trend import Trend

STOP_AFTER = 3
"""Epochs in a row that must say the same before a training is stopped for it."""


_STILL_GUESSING = 0.75
"""Times the loss of guessing: who knows only how frequent each class is may be this low."""


@dataclass(frozen=True)
class Thresholds:
    """The numbers in the rule; the defaults were chosen on synthetic curves (bench/diagnosis_on_synthetic.py)."""

    confidence: float = CONFIDENCE
    """Of the intervals of slopes."""
    window_share: float = 0.4
    """Of the epochs after the warm-up that the window takes."""
    most_window: int = 25
    """Epochs in the window at most."""
    least_fall: float = 0.05
    """Of a logarithm over the window: a slope that is sure but smaller than this is no fall."""
    least_rise: float = 0.15
    """Of a logarithm over the window: a slope that is sure but smaller than this is no rise."""
    flat_change: float = 0.2
    """Of a logarithm over the window: flat when the change is surely no larger than this, either way."""
    least_rise_nats: float = 0.02
    """In nats over the window: a rise of a loss near 0 may be large as a share and nothing as a loss."""
    overfit_rise: float = 0.15
    """Of the logarithm of validation loss above its lowest level, for a rise that lies before the window."""
    diverged_rise: float = 0.3
    """Of the logarithm of training loss above its lowest level, for a rise that lies before the window."""
    level_noises: float = 4.0
    """A rise of a level counts from this many times the noise of the level on."""
    decayed_share: float = 0.1
    """Of the highest learning rate: at or below it the rate is spent."""
    exploded: float = 3.0
    """Times the loss of guessing: a training loss that was this high, and is not below guessing now, diverged."""
    near_floor: float = 0.1
    """Nats above the least possible training loss within which everything is learned."""


THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Diagnosis:
    """What the curves say, why, and what to do."""

    kind: Kind
    line: Message
    """One sentence with its figures."""
    advice: tuple[Message, ...]
    """Sentences, the first the most useful."""
    evidence: Evidence


def diagnose(
    epochs: Sequence[EpochRecord],
    conditions: Conditions | None = None,
    *,
    window: int | None = None,
    thresholds: Thresholds = THRESHOLDS,
) -> Diagnosis:
    """Read the loss curves up to the last epoch.

    Args:
        epochs: in order; none is allowed.
        conditions: what else is known of the training.
        window: epochs at the end to read slopes from, 8 or more; None: 40 % of those after the warm-up, 8 to 25.
        thresholds: the numbers in the rule.

    Raises:
        ValueError: a window below 8.
    """
    if window is not None and window < LEAST_WINDOW:
        raise ValueError(f"window: found {window}; expected {LEAST_WINDOW} epochs or more")
    conditions = conditions or Conditions()
    evidence = gather(
        epochs,
        conditions,
        window=window,
        window_share=thresholds.window_share,
        most_window=thresholds.most_window,
        confidence=thresholds.confidence,
    )
    kind, reason = _judge(epochs, evidence, thresholds)
    line, advice = describe(kind, reason, epochs, evidence, conditions)
    return Diagnosis(kind, line, advice, evidence)


def should_stop(diagnoses: Sequence[Diagnosis], *, kind: Kind = "overfitting", after: int = STOP_AFTER) -> bool:
    """Whether a training that is diagnosed after each epoch should stop.

    It should when the last `after` diagnoses all say `kind` and none of those epochs was the best so far: a network
    that grows too sure of itself may still decide better and better, and then it is left to go on.

    Args:
        diagnoses: one an epoch, in order.
        kind: what to stop for.
        after: how many in a row, 1 or more.

    Raises:
        ValueError: `after` is below 1.
    """
    if after < 1:
        raise ValueError(f"after: found {after}; expected 1 epoch or more")
    if len(diagnoses) < after or any(one.kind != kind for one in diagnoses[-after:]):
        return False
    best_ago = diagnoses[-1].evidence.best_ago
    return best_ago is None or best_ago >= after


def _judge(epochs: Sequence[EpochRecord], evidence: Evidence, limits: Thresholds) -> tuple[Kind, Reason]:
    if not epochs:
        return "inconclusive", "no_epochs"
    if first_not_finite(epochs) is not None:
        return "diverging", "not_finite"
    if _exploded(epochs, evidence, limits):
        return "diverging", "exploded"
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        return "inconclusive", "few_epochs"
    if _rises(train, limits):
        return "diverging", "trend"
    after = epochs[evidence.warmup :]
    train_falls, val_falls = _falls(train, limits), _falls(val, limits)
    if not train_falls and _risen(after, "train_loss", limits.diverged_rise, limits, train.noise) is not None:
        return "diverging", "level"
    learned = evidence.floor is not None and math.exp(train.level) - evidence.floor <= limits.near_floor
    if _rises(val, limits):
        if train_falls or learned:
            return "overfitting", "trend"
        if _fell_while_val_rose(after, limits, val.noise):
            return "overfitting", "level"
        return "inconclusive", "val_rises"
    if train_falls and val_falls:
        return "learning", "trend"
    if not val_falls and _fell_while_val_rose(after, limits, val.noise):
        return "overfitting", "level"
    if learned and not val_falls and evidence.guess is not None and math.exp(val.level) >= evidence.guess:
        return "overfitting", "memorised"
    decayed = evidence.lr_share is not None and evidence.lr_share <= limits.decayed_share
    if decayed:
        return "finished", "decayed"
    if _flat(val, limits) and learned:
        return "finished", "learned"
    if _flat(train, limits) and _flat(val, limits) and not train_falls and not val_falls:
        return "plateau", "trend"
    if train_falls and _flat(val, limits):
        return "inconclusive", "val_flat"
    return "inconclusive", "noise"


def _exploded(epochs: Sequence[EpochRecord], evidence: Evidence, limits: Thresholds) -> bool:
    """The loss may have come back to that of guessing as the rate decayed; the weights are lost all the same."""
    guess = evidence.guess or epochs[0].train_loss
    highest = max(one.train_loss for one in epochs)
    return highest >= limits.exploded * guess and math.exp(level_now(epochs, "train_loss")) >= _STILL_GUESSING * guess


def _risen(epochs: Sequence[EpochRecord], column: str, least: float, limits: Thresholds, noise: float) -> int | None:
    """Place of the lowest level when the level now is clearly above it; None when it is not."""
    place, lowest = lowest_level(epochs, column)
    # A median of n has about 1.25 sd / sqrt(n); there are two of them.
    uncertain = 1.25 * noise * math.sqrt(2.0 / SMOOTH_OVER)
    now = level_now(epochs, column)
    big = math.exp(now) - math.exp(lowest) >= limits.least_rise_nats
    return place if big and now - lowest >= max(least, limits.level_noises * uncertain) else None


def _fell_while_val_rose(epochs: Sequence[EpochRecord], limits: Thresholds, noise: float) -> bool:
    place = _risen(epochs, "val_loss", limits.overfit_rise, limits, noise)
    if place is None:
        return False
    around = epochs[place - SMOOTH_OVER // 2 : place + SMOOTH_OVER // 2 + 1]
    return level_now(epochs, "train_loss") <= level_now(around, "train_loss") - limits.least_fall


def _rises(trend: Trend, limits: Thresholds) -> bool:
    rise = math.exp(trend.level) - math.exp(trend.level - trend.change)
    return trend.low > 0.0 and trend.change >= limits.least_rise and rise >= limits.least_rise_nats


def _falls(trend: Trend, limits: Thresholds) -> bool:
    return trend.high < 0.0 and trend.change <= -limits.least_fall


def _flat(trend: Trend, limits: Thresholds) -> bool:
    return trend.steepest * (trend.last - trend.first) <= limits.flat_change
