"""Diagnosis of loss curves with advice, and early stopping.

Both losses fall: learning. Training falls and validation rises: overfitting. Both are flat: a plateau, or finished
when the learning rate has decayed or the training loss has reached its floor. Training rises: diverging. Everything
else is inconclusive, also what noise hides: a loss counts as flat when its interval is narrow, not when no slope was
found.
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
    MIN_WINDOW,
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
"""Consecutive epochs with the same diagnosis before a training is stopped for it."""

_STILL_GUESSING = 0.75
"""Times the loss of guessing; a network that knows only the class frequencies may reach this."""


@dataclass(frozen=True)
class DiagnosisThresholds:
    """Thresholds of the rule; the defaults were chosen on synthetic curves (bench/diagnosis_on_synthetic.py)."""

    confidence: float = CONFIDENCE
    """Of the intervals of slopes."""
    window_share: float = 0.4
    """Share of the epochs after the warm-up that are in the window."""
    max_window: int = 25
    """Most epochs in the window."""
    min_fall: float = 0.05
    """Change of log loss over the window; a significant but smaller fall does not count."""
    min_rise: float = 0.15
    """Change of log loss over the window; a significant but smaller rise does not count."""
    flat_change: float = 0.2
    """Change of log loss over the window, either way; flat when the change is certainly no larger."""
    min_rise_nats: float = 0.02
    """Change of the loss over the window; near 0 a relatively large rise may be negligible."""
    overfit_rise: float = 0.15
    """Log validation loss above its lowest level, for a rise before the window."""
    diverged_rise: float = 0.3
    """Log training loss above its lowest level, for a rise before the window."""
    level_noises: float = 4.0
    """A rise of a level counts when it is at least this many times the noise of the level."""
    decayed_share: float = 0.1
    """Share of the highest learning rate at or below which the rate has decayed."""
    exploded: float = 3.0
    """Times the loss of guessing; a training loss that was this high and is not below guessing now has diverged."""
    near_floor: float = 0.1
    """Nats above the least possible training loss, within which everything is learned."""


DEFAULT_THRESHOLDS = DiagnosisThresholds()

DiagnosisKind = Literal["learning", "overfitting", "plateau", "diverging", "finished", "inconclusive"]


@dataclass(frozen=True)
class Diagnosis:
    """What the curves say, why, and what to do."""

    kind: DiagnosisKind
    line: Message
    """One sentence with its figures."""
    advice: tuple[Message, ...]
    """Sentences, the most useful first."""
    evidence: LossEvidence


def diagnose(
    epochs: Sequence[EpochRecord],
    conditions: Conditions | None = None,
    *,
    window: int | None = None,
    thresholds: DiagnosisThresholds = DEFAULT_THRESHOLDS,
) -> Diagnosis:
    """Diagnose the loss curves up to the last epoch.

    Args:
        window: epochs at the end to fit slopes to, 8 or more; None: 40 % of those after the warm-up, 8 to 25.

    Raises:
        ValueError: a window below 8.
    """
    if window is not None and window < MIN_WINDOW:
        raise ValueError(f"window: found {window}; expected {MIN_WINDOW} epochs or more")
    conditions = conditions or Conditions()
    evidence = gather_evidence(
        epochs,
        conditions,
        window=window,
        window_share=thresholds.window_share,
        max_window=thresholds.max_window,
        confidence=thresholds.confidence,
    )
    kind, reason = _judge(epochs, evidence, thresholds)
    line = message("diagnosis", kind=describe_kind(kind), facts=_facts(reason, epochs, evidence))
    return Diagnosis(kind, line, tuple(_ADVICE[kind](_Case(reason, epochs, evidence, conditions))), evidence)


def should_stop(
    diagnoses: Sequence[Diagnosis], *, kind: DiagnosisKind = "overfitting", after: int = STOP_AFTER
) -> bool:
    """Whether a training that is diagnosed after each epoch should stop.

    It should when the last `after` diagnoses are all `kind` and none of those epochs was the best so far: the
    decisions of an overconfident network may still improve, and then the training continues.

    Args:
        diagnoses: one per epoch, in order.
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


def _judge(
    epochs: Sequence[EpochRecord], evidence: LossEvidence, limits: DiagnosisThresholds
) -> tuple[DiagnosisKind, DiagnosisReason]:
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


def _exploded(epochs: Sequence[EpochRecord], evidence: LossEvidence, limits: DiagnosisThresholds) -> bool:
    """Whether the loss was once very high; the weights are lost even if the loss has come back to guessing since."""
    guess = evidence.guess or epochs[0].train_loss
    highest = max(one.train_loss for one in epochs)
    return highest >= limits.exploded * guess and math.exp(level_now(epochs, "train_loss")) >= _STILL_GUESSING * guess


def _risen(
    epochs: Sequence[EpochRecord], column: str, min_rise: float, limits: DiagnosisThresholds, noise: float
) -> int | None:
    """Index of the lowest level if the current level is clearly above it, else None."""
    place, lowest = lowest_level(epochs, column)
    # The standard error of a median of n is about 1.25 sd / sqrt(n); two medians are compared.
    uncertain = 1.25 * noise * math.sqrt(2.0 / SMOOTH_OVER)
    now = level_now(epochs, column)
    big = math.exp(now) - math.exp(lowest) >= limits.min_rise_nats
    return place if big and now - lowest >= max(min_rise, limits.level_noises * uncertain) else None


def _fell_while_val_rose(epochs: Sequence[EpochRecord], limits: DiagnosisThresholds, noise: float) -> bool:
    place = _risen(epochs, "val_loss", limits.overfit_rise, limits, noise)
    if place is None:
        return False
    around = epochs[place - SMOOTH_OVER // 2 : place + SMOOTH_OVER // 2 + 1]
    return level_now(epochs, "train_loss") <= level_now(around, "train_loss") - limits.min_fall


def _rises(trend: Trend, limits: DiagnosisThresholds) -> bool:
    rise = math.exp(trend.level) - math.exp(trend.level - trend.change)
    return trend.low > 0.0 and trend.change >= limits.min_rise and rise >= limits.min_rise_nats


def _falls(trend: Trend, limits: DiagnosisThresholds) -> bool:
    return trend.high < 0.0 and trend.change <= -limits.min_fall


def _flat(trend: Trend, limits: DiagnosisThresholds) -> bool:
    return trend.steepest * (trend.last - trend.first) <= limits.flat_change


DiagnosisReason = Literal[
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
"""The part of the rule that decided."""

_GOOD_SHARE = 0.5
"""Share of the way from guessing to the floor; a training loss that has not come this far is high."""

_STILL_FALLS = 0.05
"""Change of log validation loss over the window."""

_WIDE_GAP = 0.3
"""Nats between the validation loss and what training has left to learn."""


@dataclass(frozen=True)
class _Case:
    """A diagnosis and what advice on it depends on."""

    reason: DiagnosisReason
    epochs: Sequence[EpochRecord]
    evidence: LossEvidence
    conditions: Conditions


def describe_kind(kind: DiagnosisKind) -> Message:
    """Name of a diagnosis."""
    return message(f"kind_{kind}")


def _slope(trend: Trend) -> Message:
    """A slope of log loss with its interval, as "+2.3 % an epoch [+1.1, +3.5]"."""
    slope, low, high = (100.0 * math.expm1(value) for value in (trend.slope, trend.low, trend.high))
    return message("slope", slope=slope, low=low, high=high)


def _facts(reason: DiagnosisReason, epochs: Sequence[EpochRecord], evidence: LossEvidence) -> Message:
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
        more = MIN_WINDOW - have
        if evidence.warmup:
            return message("few_epochs_after_warmup", have=have, warmup=evidence.warmup, least=MIN_WINDOW, more=more)
        return message("few_epochs", have=have, least=MIN_WINDOW, more=more)
    besides = _more(reason, evidence, train, val)
    return message("slopes", first=train.first, last=train.last, train=_slope(train), val=_slope(val), more=besides)


def _more(reason: DiagnosisReason, evidence: LossEvidence, train: Trend, val: Trend) -> tuple[Message, ...]:
    """What decided the diagnosis besides the slopes."""
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


def _learning(case: _Case) -> list[Message]:
    advice = []
    if case.conditions.epochs_planned is None or len(case.epochs) >= case.conditions.epochs_planned:
        advice.append(message("advise_more_epochs", epochs=2 * len(case.epochs)))
    else:
        advice.append(message("advise_go_on", left=case.conditions.epochs_planned - len(case.epochs)))
    if case.evidence.macro_f1 is not None and case.evidence.macro_f1.high < 0.0:
        advice.append(message("advise_f1_falls_all_the_same"))
    return advice


def _overfitting(case: _Case) -> list[Message]:
    advice = []
    f1 = case.evidence.macro_f1
    if f1 is not None and f1.low > 0.0:
        advice.append(message("advise_f1_still_rises"))
    elif f1 is not None and f1.high < 0.0:
        advice.append(message("advise_f1_falls"))
    elif f1 is not None:
        advice.append(message("advise_f1_unsure"))
    if case.evidence.best_epoch is not None:
        advice.append(message("advise_nothing_lost", epoch=case.evidence.best_epoch))
    advice.append(message("advise_more_images"))
    lowest = case.evidence.lowest_epoch
    if case.reason != "memorised" and lowest is not None and lowest < len(case.epochs):
        advice.append(message("advise_fewer_epochs", epochs=max(MIN_WINDOW, lowest + 5)))
    return advice


def _plateau(case: _Case) -> list[Message]:
    advice = []
    level = math.exp(case.evidence.train.level) if case.evidence.train is not None else math.nan
    if case.evidence.guess is not None and level >= 0.95 * case.evidence.guess:
        advice.append(
            message(
                "advise_nothing_learned",
                level=level,
                classes=case.conditions.classes,
                guess=case.evidence.guess,
                lower=_rate(case.epochs, 0.1),
                higher=_rate(case.epochs, 3.0),
            )
        )
    elif case.evidence.lr_falls:
        advice.append(message("advise_schedule_lowers", share=_share(case.evidence)))
    advice.append(message("advise_lower_rate", rate=_rate(case.epochs, 1 / 3)))
    advice.append(message("advise_batch_size"))
    advice.append(message("advise_larger_model"))
    return advice


def _diverging(case: _Case) -> list[Message]:
    lower, best = message("advise_rate_tenfold_lower", rate=_rate(case.epochs, 0.1)), case.evidence.best_epoch
    return [lower] if best is None else [lower, message("advise_judge_best", epoch=best)]


def _finished(case: _Case) -> list[Message]:
    advice: list[Message] = []
    train, val = case.evidence.train, case.evidence.val
    if train is None or val is None:
        return advice
    level, val_level = math.exp(train.level), math.exp(val.level)
    if case.reason == "decayed":
        advice.append(message("advise_end_of_schedule", share=_share(case.evidence)))
    else:
        advice.append(message("advise_learned"))
    if case.reason == "decayed" and val.high < 0.0 and val.change <= -_STILL_FALLS:
        advice.append(message("advise_longer_schedule", epochs=2 * len(case.epochs)))
    floor, guess = case.evidence.floor, case.evidence.guess
    if floor is None:
        advice.append(message("advise_level_unknown"))
    elif guess is not None and level - floor > _GOOD_SHARE * (guess - floor):
        advice.append(
            message(
                "advise_losses_high",
                level=level,
                floor=floor,
                guess=guess,
                epochs=2 * len(case.epochs),
                rate=_rate(case.epochs, 3.0),
            )
        )
    elif val_level - (level - floor) > _WIDE_GAP:
        advice.append(message("advise_wide_gap", val=val_level, left=level - floor))
    advice.append(message("advise_judge"))
    return advice


def _inconclusive(case: _Case) -> list[Message]:
    train, val = case.evidence.train, case.evidence.val
    if train is None or val is None:
        return [message("advise_train_for", epochs=case.evidence.warmup + MIN_WINDOW)]
    if case.reason == "val_flat":
        return [message("advise_watch")]
    if case.reason == "val_rises":
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
    """Diagnoses a training after each epoch and says when to stop it; with `announce`, on stderr when it changes.

    The result depends on the epochs only, so a resumed run stops at the same epoch.
    """

    def __init__(self, config: TrainConfig, epochs: Sequence[EpochRecord], *, n_classes: int, announce: bool) -> None:
        self._config = config
        self._conditions = Conditions(
            classes=n_classes, label_smoothing=config.label_smoothing, epochs_planned=config.epochs
        )
        self._announce = False
        self._diagnoses: list[Diagnosis] = []
        self.reason: str | None = None
        """Why to stop now, in words; None: continue."""
        for count in range(max(1, len(epochs) - STOP_AFTER + 1), len(epochs) + 1):
            self.update(epochs[:count])
        self._announce = announce

    @property
    def line(self) -> str:
        """The last diagnosis in one sentence; "" before the first epoch."""
        return text(self._diagnoses[-1].line) if self._diagnoses else ""

    def update(self, epochs: Sequence[EpochRecord]) -> None:
        """Diagnose again; `epochs` are all so far, the new one last."""
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
