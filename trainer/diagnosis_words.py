"""The words of a diagnosis: its one line, and the advice with the next command. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from .evidence import LEAST_WINDOW, Conditions, Evidence, first_not_finite
from .history import EpochRecord
from .trend import Trend

Kind = Literal["learning", "overfitting", "plateau", "diverging", "finished", "inconclusive"]

CHINESE: Mapping[Kind, str] = {
    "learning": "正常学习",
    "overfitting": "过拟合",
    "plateau": "欠拟合/平台期",
    "diverging": "发散",
    "finished": "已收敛",
    "inconclusive": "无法判断",
}

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
) -> tuple[str, tuple[str, ...]]:
    """One sentence with its figures, and advice, the most useful first."""
    line = f"{kind} {CHINESE[kind]}: {_facts(reason, epochs, evidence)}"
    advice = _ADVICE[kind](reason, epochs, evidence, conditions)
    return line, tuple(advice)


def percent_an_epoch(trend: Trend) -> str:
    """A slope of a logarithm with its interval, as "+2.3 % an epoch [+1.1, +3.5]"."""
    slope, low, high = (100.0 * math.expm1(value) for value in (trend.slope, trend.low, trend.high))
    return f"{slope:+.1f} % an epoch [{low:+.1f}, {high:+.1f}]"


def _facts(reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence) -> str:
    if reason == "no_epochs":
        return "no epoch is recorded yet"
    broken = first_not_finite(epochs)
    if reason == "not_finite" and broken is not None:
        name, value = ("training", broken.train_loss)
        if math.isfinite(value):
            name, value = ("validation", broken.val_loss)
        return f"the {name} loss is {value} in epoch {broken.epoch}"
    if reason == "exploded":
        worst = max(epochs, key=lambda one: one.train_loss)
        now = epochs[-1].train_loss
        guess = "" if evidence.guess is None else f"; guessing has {evidence.guess:.2f}"
        return f"the training loss went up to {worst.train_loss:.3g} in epoch {worst.epoch} and is {now:.3g} now{guess}"
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        have = len(epochs) - evidence.warmup
        warmup = f" after {evidence.warmup} of warm-up" if evidence.warmup else ""
        return f"{have} epochs{warmup}; a slope needs {LEAST_WINDOW}, so {LEAST_WINDOW - have} more"
    text = (
        f"epochs {train.first}-{train.last}, training loss {percent_an_epoch(train)}, "
        f"validation loss {percent_an_epoch(val)}"
    )
    if reason == "decayed":
        return f"{text}; the learning rate is spent ({_share(evidence)} of its highest)"
    if reason == "learned" and evidence.floor is not None:
        return f"{text}; training loss {math.exp(train.level):.3f}, least possible {evidence.floor:.3f}"
    if reason == "memorised" and evidence.guess is not None:
        return (
            f"{text}; training is learned ({math.exp(train.level):.3f}), but validation loss {math.exp(val.level):.2f} "
            f"is no better than guessing ({evidence.guess:.2f})"
        )
    if reason == "level" and evidence.rise_since_lowest is not None and evidence.rise_since_lowest > 0.0:
        rise = 100.0 * math.expm1(evidence.rise_since_lowest)
        return f"{text}; validation loss is {rise:.0f} % above its level about epoch {evidence.lowest_epoch}"
    if evidence.best_ago:
        return f"{text}; best epoch {evidence.best_epoch}, {evidence.best_ago} ago"
    return text


def _learning(reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions) -> list[str]:
    advice: list[str] = []
    if conditions.epochs_planned is None or len(epochs) >= conditions.epochs_planned:
        advice.append(
            "Both losses still fell at the end, so more epochs will help: "
            f"trainer train DATA -o NEW_RUN --epochs {2 * len(epochs)}."
        )
    else:
        advice.append(f"Go on: {conditions.epochs_planned - len(epochs)} epochs are left.")
    if evidence.macro_f1 is not None and evidence.macro_f1.high < 0.0:
        advice.append(
            "Validation macro-F1 falls all the same: rare classes may be losing to the frequent ones; look at "
            "'trainer evaluate RUN DATA', or train with --balance."
        )
    return advice


def _overfitting(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
) -> list[str]:
    advice: list[str] = []
    f1 = evidence.macro_f1
    if f1 is not None and f1.low > 0.0:
        advice.append(
            "Validation macro-F1 still rises while the loss does: the network grows too sure of its mistakes, but its "
            "decisions get better. Judge by macro-F1, and take care with its probabilities."
        )
    elif f1 is not None and f1.high < 0.0:
        advice.append("Validation macro-F1 falls too, so the decisions themselves get worse.")
    elif f1 is not None:
        advice.append(
            "Validation macro-F1 neither rises nor falls for certain: going on makes the network surer, not better."
        )
    if evidence.best_epoch is not None:
        advice.append(f"Nothing is lost: best.pt holds epoch {evidence.best_epoch}. trainer evaluate RUN DATA")
    advice.append("More training images, generated ones among them: trainer train DATA --generated OUTPUT -o NEW_RUN.")
    if reason != "memorised" and evidence.lowest_epoch is not None and evidence.lowest_epoch < len(epochs):
        advice.append(
            f"Or fewer epochs, so that the learning rate falls in time: trainer train DATA -o NEW_RUN --epochs "
            f"{max(LEAST_WINDOW, evidence.lowest_epoch + 5)}; or --stop-on overfit."
        )
    return advice


def _plateau(reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions) -> list[str]:
    advice: list[str] = []
    level = math.exp(evidence.train.level) if evidence.train is not None else math.nan
    if evidence.guess is not None and level >= 0.95 * evidence.guess:
        advice.append(
            f"The training loss {level:.2f} is that of guessing (ln {conditions.classes} = {evidence.guess:.2f}): "
            "nothing was learned. Look whether the labels fit the images ('trainer check DATA/train'), and try "
            f"--lr {_rate(epochs, 0.1)} and --lr {_rate(epochs, 3.0)}."
        )
    elif evidence.lr_falls:
        advice.append(
            f"The schedule is lowering the learning rate already ({_share(evidence)} of its highest); let it end "
            "before you change anything."
        )
    advice.append(f"Lower the learning rate: trainer train DATA -o NEW_RUN --lr {_rate(epochs, 1 / 3)}.")
    advice.append("Or change the batch size: --batch-size 16 for more steps, 64 for steadier ones.")
    advice.append("If neither moves it, the network may be too small for the images: a larger --model or --imgsz.")
    return advice


def _diverging(reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions) -> list[str]:
    advice = [f"Lower the learning rate tenfold: trainer train DATA -o NEW_RUN --lr {_rate(epochs, 0.1)}."]
    if evidence.best_epoch is not None:
        advice.append(
            f"best.pt holds epoch {evidence.best_epoch}; judge it before you use it: trainer evaluate RUN DATA"
        )
    return advice


def _finished(reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions) -> list[str]:
    advice: list[str] = []
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        return advice
    level, val_level = math.exp(train.level), math.exp(val.level)
    left = None if evidence.floor is None else level - evidence.floor
    if reason == "decayed":
        advice.append(
            f"The learning rate is down to {_share(evidence)} of its highest, so the curves can hardly move any more: "
            "this is the end of the schedule and no plateau, and a lower rate would gain nothing."
        )
    else:
        advice.append("The training images are learned as far as label smoothing allows; a lower rate gains nothing.")
    if reason == "decayed" and val.high < 0.0 and val.change <= -_STILL_FALLS:
        advice.append(
            "Validation loss still fell to the end, so a longer schedule may gain more: "
            f"trainer train DATA -o NEW_RUN --epochs {2 * len(epochs)}."
        )
    if (
        left is not None
        and evidence.guess is not None
        and left > _GOOD_SHARE * (evidence.guess - (evidence.floor or 0))
    ):
        advice.append(
            f"Both losses are still high (training {level:.2f}, least possible {evidence.floor:.2f}, guessing "
            f"{evidence.guess:.2f}): train longer (--epochs {2 * len(epochs)}), faster (--lr {_rate(epochs, 3.0)}), or "
            "with a larger --model."
        )
    elif left is not None and val_level - left > _WIDE_GAP:
        advice.append(
            f"Validation ({val_level:.2f}) stays far above what training has left to learn ({left:.2f}): more "
            "training images will help more than more epochs: trainer train DATA --generated OUTPUT -o NEW_RUN."
        )
    elif left is None:
        advice.append("Whether the losses are low cannot be said: label smoothing or the number of classes is unknown.")
    advice.append("Judge it: trainer evaluate RUN DATA")
    return advice


def _inconclusive(
    reason: Reason, epochs: Sequence[EpochRecord], evidence: Evidence, conditions: Conditions
) -> list[str]:
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        return [f"Train for {evidence.warmup + LEAST_WINDOW} epochs or more."]
    if reason == "val_flat":
        words = (
            "Training loss falls and validation loss no longer follows, which comes before overfitting. Watch it, or "
            "end in time: trainer train DATA -o NEW_RUN --stop-on overfit."
        )
        return [words]
    if reason == "val_rises":
        words = (
            "Validation loss rises though training loss does not fall: the validation images may be few, or unlike the "
            "training ones. Look at both: trainer check DATA/val."
        )
        return [words]
    hidden = 100.0 * max((one.change_high - one.change_low) / 2.0 for one in (train, val))
    words = (
        f"The losses vary from epoch to epoch by {100 * train.noise:.0f} % (training) and {100 * val.noise:.0f} % "
        f"(validation), which hides changes under about {hidden:.0f} % over the window. More epochs, a wider --window "
        "or more validation images would show them."
    )
    return [words]


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


def _share(evidence: Evidence) -> str:
    return "an unknown share" if evidence.lr_share is None else f"{100 * evidence.lr_share:.0f} %"
