"""What loss curves say, advice as messages, early stopping.

Both losses fall: learning. Training falls and validation rises: overfitting. Both are flat: a plateau, unless the
learning rate is spent or the training loss is at its floor, when the training is finished. Training rises:
diverging. All else is inconclusive, and so is what noise hides: a loss counts as flat when its interval is narrow,
not when no slope was found.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tqdm import tqdm

from sdcore.messages import Message, message

from ..config import TrainConfig
from ..messages import text
from .history import Conditions, EpochRecord, History
from .loss_trends import (
    LEAST_WINDOW,
    SMOOTH_OVER,
    LossEvidence,
    Trend,
    first_not_finite,
    gather_evidence,
    level_now,
    lowest_level,
)
from .stats import CONFIDENCE

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


Kind = Literal["learning", "overfitting", "plateau", "diverging", "finished", "inconclusive"]


@dataclass(frozen=True)
class Diagnosis:
    """What the curves say, why, and what to do."""

    kind: Kind
    line: Message
    """One sentence with its figures."""
    advice: tuple[Message, ...]
    """Sentences, the first the most useful."""
    evidence: LossEvidence


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
    evidence = gather_evidence(
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


def _judge(epochs: Sequence[EpochRecord], evidence: LossEvidence, limits: Thresholds) -> tuple[Kind, Reason]:
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


def _exploded(epochs: Sequence[EpochRecord], evidence: LossEvidence, limits: Thresholds) -> bool:
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


Reason = Literal[
    "trend",
    "level",
    "not_finite",
    "exploded",
    "memorised",
    "decayed",
    "learned",
    "no_epochs",
    "few_epochs",
    "val_flat",
    "val_rises",
    "noise",
]
"""Which part of the rule spoke."""

_GOOD_SHARE = 0.5
"""Of the way from guessing to the floor; a training loss that has not come half of it is high."""

_STILL_FALLS = 0.05
"""Of a logarithm over the window."""

_WIDE_GAP = 0.3
"""Nats by which validation is above what training has left to learn."""


def describe(
    kind: Kind, reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence, conditions: Conditions
) -> tuple[Message, tuple[Message, ...]]:
    """One sentence with its figures, and advice, the most useful first."""
    line = message("diagnosis", kind=kind_name(kind), facts=_facts(reason, epochs, evidence))
    advice = _ADVICE[kind](reason, epochs, evidence, conditions)
    return line, tuple(advice)


def kind_name(kind: Kind) -> Message:
    """What a diagnosis is called."""
    return message(f"kind_{kind}")


def _slope(trend: Trend) -> Message:
    """A slope of a logarithm with its interval, as "+2.3 % an epoch [+1.1, +3.5]"."""
    slope, low, high = (100.0 * math.expm1(value) for value in (trend.slope, trend.low, trend.high))
    return message("slope", slope=slope, low=low, high=high)


def _facts(reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence) -> Message:
    if reason == "no_epochs":
        return message("no_epochs")
    broken = first_not_finite(epochs)
    if reason == "not_finite" and broken is not None:
        if math.isfinite(broken.train_loss):
            return message("val_not_finite", value=broken.val_loss, epoch=broken.epoch)
        return message("train_not_finite", value=broken.train_loss, epoch=broken.epoch)
    if reason == "exploded":
        worst = max(epochs, key=lambda one: one.train_loss)
        guess = () if evidence.guess is None else (message("guess_is", guess=evidence.guess),)
        return message("exploded", worst=worst.train_loss, epoch=worst.epoch, now=epochs[-1].train_loss, guess=guess)
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        have = len(epochs) - evidence.warmup
        more = LEAST_WINDOW - have
        if evidence.warmup:
            return message("few_epochs_after_warmup", have=have, warmup=evidence.warmup, least=LEAST_WINDOW, more=more)
        return message("few_epochs", have=have, least=LEAST_WINDOW, more=more)
    return message(
        "slopes",
        first=train.first,
        last=train.last,
        train=_slope(train),
        val=_slope(val),
        more=_more(reason, evidence, train, val),
    )


def _more(reason: Reason, evidence: LossEvidence, train: Trend, val: Trend) -> tuple[Message, ...]:
    """What decided besides the slopes; none where they did."""
    if reason == "decayed":
        return (message("rate_spent", share=_share(evidence)),)
    if reason == "learned" and evidence.floor is not None:
        return (message("at_floor", level=math.exp(train.level), floor=evidence.floor),)
    if reason == "memorised" and evidence.guess is not None:
        return (message("memorised", level=math.exp(train.level), val=math.exp(val.level), guess=evidence.guess),)
    if reason == "level" and evidence.rise_since_lowest is not None and evidence.rise_since_lowest > 0.0:
        rise = 100.0 * math.expm1(evidence.rise_since_lowest)
        return (message("risen_since", rise=rise, epoch=evidence.lowest_epoch),)
    if evidence.best_ago:
        return (message("best_epoch_ago", epoch=evidence.best_epoch, ago=evidence.best_ago),)
    return ()


def _learning(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence, conditions: Conditions
) -> list[Message]:
    advice = []
    if conditions.epochs_planned is None or len(epochs) >= conditions.epochs_planned:
        advice.append(message("advise_more_epochs", epochs=2 * len(epochs)))
    else:
        advice.append(message("advise_go_on", left=conditions.epochs_planned - len(epochs)))
    if evidence.macro_f1 is not None and evidence.macro_f1.high < 0.0:
        advice.append(message("advise_f1_falls_all_the_same"))
    return advice


def _overfitting(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence, conditions: Conditions
) -> list[Message]:
    advice = []
    f1 = evidence.macro_f1
    if f1 is not None and f1.low > 0.0:
        advice.append(message("advise_f1_still_rises"))
    elif f1 is not None and f1.high < 0.0:
        advice.append(message("advise_f1_falls"))
    elif f1 is not None:
        advice.append(message("advise_f1_unsure"))
    if evidence.best_epoch is not None:
        advice.append(message("advise_nothing_lost", epoch=evidence.best_epoch))
    advice.append(message("advise_more_images"))
    if reason != "memorised" and evidence.lowest_epoch is not None and evidence.lowest_epoch < len(epochs):
        advice.append(message("advise_fewer_epochs", epochs=max(LEAST_WINDOW, evidence.lowest_epoch + 5)))
    return advice


def _plateau(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence, conditions: Conditions
) -> list[Message]:
    advice = []
    level = math.exp(evidence.train.level) if evidence.train is not None else math.nan
    if evidence.guess is not None and level >= 0.95 * evidence.guess:
        advice.append(
            message(
                "advise_nothing_learned",
                level=level,
                classes=conditions.classes,
                guess=evidence.guess,
                lower=_rate(epochs, 0.1),
                higher=_rate(epochs, 3.0),
            )
        )
    elif evidence.lr_falls:
        advice.append(message("advise_schedule_lowers", share=_share(evidence)))
    advice.append(message("advise_lower_rate", rate=_rate(epochs, 1 / 3)))
    advice.append(message("advise_batch_size"))
    advice.append(message("advise_larger_model"))
    return advice


def _diverging(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence, conditions: Conditions
) -> list[Message]:
    advice = [message("advise_rate_tenfold_lower", rate=_rate(epochs, 0.1))]
    if evidence.best_epoch is not None:
        advice.append(message("advise_judge_best", epoch=evidence.best_epoch))
    return advice


def _finished(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence, conditions: Conditions
) -> list[Message]:
    advice: list[Message] = []
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        return advice
    level, val_level = math.exp(train.level), math.exp(val.level)
    if reason == "decayed":
        advice.append(message("advise_end_of_schedule", share=_share(evidence)))
    else:
        advice.append(message("advise_learned"))
    if reason == "decayed" and val.high < 0.0 and val.change <= -_STILL_FALLS:
        advice.append(message("advise_longer_schedule", epochs=2 * len(epochs)))
    floor, guess = evidence.floor, evidence.guess
    if floor is None:
        advice.append(message("advise_level_unknown"))
    elif guess is not None and level - floor > _GOOD_SHARE * (guess - floor):
        advice.append(
            message(
                "advise_losses_high",
                level=level,
                floor=floor,
                guess=guess,
                epochs=2 * len(epochs),
                rate=_rate(epochs, 3.0),
            )
        )
    elif val_level - (level - floor) > _WIDE_GAP:
        advice.append(message("advise_wide_gap", val=val_level, left=level - floor))
    advice.append(message("advise_judge"))
    return advice


def _inconclusive(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: LossEvidence, conditions: Conditions
) -> list[Message]:
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        return [message("advise_train_for", epochs=evidence.warmup + LEAST_WINDOW)]
    if reason == "val_flat":
        return [message("advise_watch")]
    if reason == "val_rises":
        return [message("advise_check_validation")]
    hidden = 100.0 * max((one.change_high - one.change_low) / 2.0 for one in (train, val))
    return [message("advise_noise", train=100 * train.noise, val=100 * val.noise, hidden=hidden)]


def _rate(epochs: Sequence[EpochRecord], factor: float) -> str:
    rates = [one.lr for one in epochs if math.isfinite(one.lr)]
    return f"{max(rates) * factor:.1g}" if rates and max(rates) > 0.0 else "0.0003"


def _share(evidence: LossEvidence) -> Message:
    if evidence.lr_share is None:
        return message("share_unknown")
    return message("share", percent=100 * evidence.lr_share)


_ADVICE = {
    "learning": _learning,
    "overfitting": _overfitting,
    "plateau": _plateau,
    "diverging": _diverging,
    "finished": _finished,
    "inconclusive": _inconclusive,
}


class EarlyStopping:
    """Looks at a training after each epoch; what it says depends on the epochs alone, so a resumed run stops alike.

    Args:
        config: of the training.
        epochs: those that are done already.
        n_classes: outputs of the network.
        announce: write the diagnosis to stderr when it changes.
    """

    def __init__(self, config: TrainConfig, epochs: Sequence[EpochRecord], *, n_classes: int, announce: bool) -> None:
        self._config = config
        self._conditions = Conditions(
            classes=n_classes, label_smoothing=config.label_smoothing, epochs_planned=config.epochs
        )
        self._announce = False
        self._diagnoses: list[Diagnosis] = []
        self.reason: str | None = None
        """Why to stop now, in words; None: go on."""
        for count in range(max(1, len(epochs) - STOP_AFTER + 1), len(epochs) + 1):
            self.look(epochs[:count])
        self._announce = announce

    @property
    def line(self) -> str:
        """What the curves say so far, in one sentence; "" before the first epoch."""
        return text(self._diagnoses[-1].line) if self._diagnoses else ""

    def look(self, epochs: Sequence[EpochRecord]) -> None:
        """Take one more epoch into account.

        Args:
            epochs: all so far, the new one last.
        """
        config = self._config
        before = self._diagnoses[-1].kind if self._diagnoses else "inconclusive"
        self._diagnoses = [*self._diagnoses[1 - STOP_AFTER :], diagnose(epochs, self._conditions)]
        if self._announce and self._diagnoses[-1].kind != before:
            tqdm.write(self.line, file=sys.stderr)
        if len(epochs) >= config.epochs:
            self.reason = None
            return
        waited = History(tuple(epochs)).epochs_since_best(config.monitor)
        if config.patience is not None and waited >= config.patience:
            self.reason = f"no better {config.monitor} in {waited} epochs"
        elif config.stop_on == "overfit" and should_stop(self._diagnoses, kind="overfitting"):
            self.reason = f"overfitting in {STOP_AFTER} epochs in a row"
