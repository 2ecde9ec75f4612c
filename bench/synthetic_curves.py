"""Loss curves of known truth: what a training would record, drawn from formulas, with noise.

Truth is what the noise-free curves do at their end, over the last two fifths: "learning" is a fall of both losses by
15 % or more; "plateau" one of neither by more than 2 %, at a learning rate that is not spent; "finished" the
same, where the rate is spent or the training loss has reached its floor; "overfitting" a training loss that
falls by 15 % or has reached its floor, under a validation loss that is 20 % or more above its lowest; "diverging" a
training loss that rises by 25 % or more, or lies 60 % above its lowest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.history import Conditions, EpochRecord
from trainer.evaluation.loss_trends import smoothing_floor

Array = NDArray[np.float64]

KINDS = ("learning", "overfitting", "plateau", "diverging", "finished")
SMOOTHING = 0.1


@dataclass(frozen=True)
class Clean:
    """Curves without noise."""

    train: Array
    """(N,) nats."""
    val: Array
    """(N,) nats."""
    lr: Array
    """(N,) learning rates."""
    smoothing: float
    """Of the training loss."""
    classes: int


@dataclass(frozen=True)
class Sample:
    """One recorded training."""

    truth: str
    shape: str
    epochs: tuple[EpochRecord, ...]
    conditions: Conditions


@dataclass(frozen=True)
class _Draw:
    """What a shape may use: time from 0 to 1, the number of epochs, and chance."""

    time: Array
    rng: np.random.Generator
    classes: int
    smoothing: float

    @property
    def floor(self) -> float:
        return smoothing_floor(self.classes, self.smoothing)

    @property
    def guess(self) -> float:
        return math.log(self.classes)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def constant(self) -> Array:
        return np.full(len(self.time), 1e-3)

    def cosine(self) -> Array:
        return 1e-3 * (0.01 + 0.99 * (1.0 + np.cos(np.pi * self.time)) / 2.0)

    def linear(self) -> Array:
        return 1e-3 * (1.0 - 0.99 * self.time)


Curves = tuple[Array, Array, Array]
"""Training loss, validation loss, learning rate."""


def _exponential_fall(d: _Draw) -> Curves:
    rate = d.between(0.9, 3.0)
    train = d.floor + (d.guess - d.floor) * np.exp(-rate * d.time)
    return train, d.guess * np.exp(-rate * d.between(0.6, 1.0) * d.time), d.constant()


def _power_fall(d: _Draw) -> Curves:
    start, power = d.between(0.02, 0.1), d.between(0.5, 1.2)
    fall = (1.0 + d.time / start) ** -power
    return d.floor + (d.guess - d.floor) * fall, d.guess * fall**0.9, d.constant()


def _straight_fall(d: _Draw) -> Curves:
    left = d.between(0.1, 0.5)
    fall = 1.0 - (1.0 - left) * d.time
    return d.floor + (d.guess - d.floor) * fall, d.guess * (0.1 + 0.9 * fall), d.linear()


def _late_fall(d: _Draw) -> Curves:
    """Stuck at first, then off: a sigmoid whose middle lies late."""
    middle, width = d.between(0.6, 0.9), d.between(0.08, 0.2)
    fall = 1.0 / (1.0 + np.exp((d.time - middle) / width))
    return d.floor + (d.guess - d.floor) * (0.1 + 0.9 * fall), d.guess * (0.15 + 0.85 * fall), d.constant()


def _two_speeds(d: _Draw) -> Curves:
    quick, slow, share = d.between(8, 20), d.between(0.8, 1.5), d.between(0.3, 0.5)
    fall = share * np.exp(-quick * d.time) + (1.0 - share) * np.exp(-slow * d.time)
    return d.floor + (d.guess - d.floor) * fall, d.guess * fall**0.95, d.constant()


def _memorise(d: _Draw, *, lr: Array, rate: tuple[float, float] = (3.0, 6.0)) -> tuple[Array, Array]:
    train = d.floor + 0.02 + (d.guess - d.floor) * np.exp(-d.between(*rate) * d.time)
    return train, lr


def _vee(d: _Draw) -> Curves:
    train, lr = _memorise(d, lr=d.constant())
    onset = d.between(0.2, 0.5)
    low = d.between(0.4, 0.7) * d.guess
    down = low + (d.guess - low) * np.clip(1.0 - d.time / onset, 0.0, None)
    return train, down + low * d.between(0.5, 1.5) * np.clip(d.time - onset, 0.0, None) / (1.0 - onset), lr


def _bowl(d: _Draw) -> Curves:
    train, lr = _memorise(d, lr=d.linear())
    onset = d.between(0.25, 0.5)
    low = d.between(0.4, 0.7) * d.guess
    steep = np.where(d.time < onset, (d.guess - low) / onset**2, low * d.between(0.6, 1.6) / (1.0 - onset) ** 2)
    return train, low + steep * (d.time - onset) ** 2, lr


def _saturating_rise(d: _Draw) -> Curves:
    """Cosine: the rise dies with the rate, and the end is flat but high."""
    train, lr = _memorise(d, lr=d.cosine())
    onset = d.between(0.15, 0.35)
    low = d.between(0.4, 0.7) * d.guess
    down = (d.guess - low) * np.exp(-4.0 * d.time / onset)
    return train, low + down + low * d.between(0.35, 1.0) / (1.0 + np.exp(-(d.time - onset - 0.2) / 0.08)), lr


def _logarithmic_rise(d: _Draw) -> Curves:
    train, lr = _memorise(d, lr=d.constant(), rate=(1.5, 4.0))
    onset = d.between(0.15, 0.4)
    low = d.between(0.4, 0.7) * d.guess
    down = (d.guess - low) * np.exp(-5.0 * d.time / onset)
    return train, low + down + low * d.between(0.3, 0.6) * np.log1p(np.clip(d.time - onset, 0.0, None) * 10.0), lr


def _settled(d: _Draw) -> Curves:
    """Fell early, then stayed well above the floor."""
    level = d.between(0.4, 0.8)
    fall = np.exp(-d.between(12, 25) * d.time)
    train = d.floor + (d.guess - d.floor) * (level + (1.0 - level) * fall)
    return train, d.guess * (level + 0.1 + (0.9 - level) * fall), d.constant()


def _never_learned(d: _Draw) -> Curves:
    flat = np.full(len(d.time), d.guess)
    return flat * d.between(0.98, 1.0), flat * d.between(1.0, 1.1), d.constant()


def _settled_while_decaying(d: _Draw) -> Curves:
    """The rate falls to a third only, so it is not what holds the curves."""
    train, val, _ = _settled(d)
    return train, val, 1e-3 * (1.0 - 0.67 * d.time)


def _runaway(d: _Draw) -> Curves:
    start = d.between(0.3, 0.6)
    rise = np.exp(d.between(1.5, 4.0) * np.clip(d.time - start, 0.0, None))
    fall = np.exp(-2.0 * np.minimum(d.time, start))
    return d.guess * fall * rise, d.guess * fall * rise ** d.between(0.5, 1.2), d.constant()


def _jump(d: _Draw) -> Curves:
    """One bad step, and the loss stays high."""
    at = d.between(0.3, 0.9)
    fall = d.guess * np.exp(-2.0 * np.minimum(d.time, at))
    high = d.guess * d.between(1.2, 5.0)
    return np.where(d.time < at, fall, high), np.where(d.time < at, fall, high * 1.1), d.constant()


def _slow_climb(d: _Draw) -> Curves:
    start = d.between(0.2, 0.4)
    fall = d.guess * np.exp(-1.5 * np.minimum(d.time, start))
    climb = 1.0 + d.between(0.6, 1.5) * np.clip(d.time - start, 0.0, None) / (1.0 - start)
    return fall * climb, fall * climb, d.linear() * 0.5 + 5e-4


def _spent(d: _Draw) -> Curves:
    """A cosine that ended, the training loss short of its floor."""
    level = d.between(0.1, 0.6)
    fall = np.exp(-d.between(10, 18) * d.time)
    train = d.floor + (d.guess - d.floor) * (level + (1.0 - level) * fall)
    return train, d.guess * (level + 0.1 + (0.9 - level) * fall), d.cosine()


def _spent_linear(d: _Draw) -> Curves:
    train, val, _ = _spent(d)
    return train, val, d.linear()


def _learned(d: _Draw) -> Curves:
    """The training loss at its floor at a full rate."""
    fall = np.exp(-d.between(12, 25) * d.time)
    train = d.floor + 0.03 + (d.guess - d.floor) * fall
    return train, d.guess * (d.between(0.05, 0.3) + 0.9 * fall), d.constant()


Shape = Callable[[_Draw], Curves]

SHAPES: Mapping[str, Mapping[str, Shape]] = {
    "learning": {
        "exponential": _exponential_fall,
        "power": _power_fall,
        "straight": _straight_fall,
        "late": _late_fall,
        "two speeds": _two_speeds,
    },
    "overfitting": {"vee": _vee, "bowl": _bowl, "saturating": _saturating_rise, "logarithmic": _logarithmic_rise},
    "plateau": {
        "settled": _settled,
        "never learned": _never_learned,
        "settled while decaying": _settled_while_decaying,
    },
    "diverging": {"runaway": _runaway, "jump": _jump, "slow climb": _slow_climb},
    "finished": {"spent cosine": _spent, "spent linear": _spent_linear, "learned": _learned},
}
"""Truth -> shapes."""


def sample(
    truth: str, shape: str, epochs: int, rng: np.random.Generator, *, noise: float, correlation: float
) -> Sample:
    """One training whose losses carry multiplicative noise.

    Args:
        truth: one of `KINDS`.
        shape: one of the truth's shapes.
        epochs: how long, 15 or more.
        rng: chance.
        noise: standard deviation of the logarithm of each loss.
        correlation: lag-1, of that noise from epoch to epoch (an autoregression), in [0, 1).

    Raises:
        RuntimeError: the shape does not give curves of its truth.
    """
    time = np.linspace(0.0, 1.0, epochs)
    for _ in range(1000):
        classes, smoothing = int(rng.choice([2, 3, 7])), float(rng.choice([0.0, SMOOTHING]))
        if truth == "finished" or shape in ("vee", "bowl"):
            smoothing = SMOOTHING
        train, val, lr = SHAPES[truth][shape](_Draw(time, rng, classes, smoothing))
        clean = Clean(train, val, lr, smoothing, classes)
        if truth_of(clean) == truth:
            break
    else:
        raise RuntimeError(f"{truth}, {shape}, {epochs} epochs: found no curve of this truth")
    wobble = np.exp(noise * _correlated(rng, (2, epochs), correlation))
    f1 = np.clip(1.0 - clean.val / (2.0 * math.log(classes)), 0.01, 0.99)
    records = tuple(
        EpochRecord(
            epoch=place + 1,
            train_loss=float(clean.train[place] * wobble[0, place]),
            val_loss=float(clean.val[place] * wobble[1, place]),
            val_accuracy=float(f1[place]),
            val_macro_f1=float(f1[place]),
            lr=float(clean.lr[place]),
            images_per_s=200.0,
            seconds=3.0,
        )
        for place in range(epochs)
    )
    conditions = Conditions(classes=classes, label_smoothing=smoothing, epochs_planned=epochs)
    return Sample(truth, shape, records, conditions)


def truth_of(clean: Clean) -> str | None:
    """What noise-free curves do at their end; None between two truths."""
    tail = max(8, round(0.4 * len(clean.train)))
    floor = smoothing_floor(clean.classes, clean.smoothing)
    train, val = np.log(clean.train[-tail:]), np.log(clean.val[-tail:])
    train_change, val_change = train[-1] - train[0], val[-1] - val[0]
    learned = clean.train[-1] - floor <= 0.05
    risen = float(np.log(clean.val[-1]) - np.log(clean.val).min())
    still = max(np.ptp(train), np.ptp(val)) <= 0.02
    if train_change >= math.log(1.25) or np.log(clean.train[-1]) - np.log(clean.train).min() >= math.log(1.6):
        return "diverging"
    if risen >= math.log(1.2) and val_change >= -0.02 and (train_change <= math.log(0.85) or learned):
        return "overfitting"
    if train_change <= math.log(0.85) and val_change <= math.log(0.85):
        return "learning"
    if still:
        return "finished" if learned or clean.lr[-1] <= 0.05 * clean.lr.max() else "plateau"
    return None


def _correlated(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> Array:
    """Standard normal rows, each value correlated with the one before."""
    steps = rng.standard_normal(shape)
    rows = np.empty(shape)
    rows[:, 0] = steps[:, 0]
    for place in range(1, shape[1]):
        rows[:, place] = correlation * rows[:, place - 1] + math.sqrt(1.0 - correlation**2) * steps[:, place]
    return rows
