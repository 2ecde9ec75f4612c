"""A diagnosis as messages: its one line, and the advice with the next command. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from sdcore.messages import Message, message

from .evidence import LEAST_WINDOW, Conditions, Evidence, first_not_finite
from .history import EpochRecord
from .trend import Trend

Kind = Literal["learning", "overfitting", "plateau", "diverging", "finished", "inconclusive"]

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
    kind: Kind, reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
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


def _facts(reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence) -> Message:
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


def _more(reason: Reason, evidence: Evidence, train: Trend, val: Trend) -> tuple[Message, ...]:
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
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
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
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
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
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
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
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
) -> list[Message]:
    advice = [message("advise_rate_tenfold_lower", rate=_rate(epochs, 0.1))]
    if evidence.best_epoch is not None:
        advice.append(message("advise_judge_best", epoch=evidence.best_epoch))
    return advice


def _finished(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
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
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
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


_ADVICE = {
    "learning": _learning,
    "overfitting": _overfitting,
    "plateau": _plateau,
    "diverging": _diverging,
    "finished": _finished,
    "inconclusive": _inconclusive,
}


def _rate(epochs: Sequence[EpochRecord], factor: float) -> str:
    rates = [one.lr for one in epochs if math.isfinite(one.lr)]
    return f"{max(rates) * factor:.1g}" if rates and max(rates) > 0.0 else "0.0003"


def _share(evidence: Evidence) -> Message:
    if evidence.lr_share is None:
        return message("share_unknown")
    return message("share", percent=100 * evidence.lr_share)
