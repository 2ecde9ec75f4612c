"""Robust slopes of loss curves, and the evidence for a diagnosis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from .history import Conditions, EpochRecord, rank_of
from .metrics import FloatArray
from .stats import CONFIDENCE

MIN_POINTS = 5
"""With fewer points the interval of a Theil-Sen slope spans all pairwise slopes."""

_MAX_CORRELATION = 0.9
_NORMAL_MAD = 1.4826


@dataclass(frozen=True)
class Trend:
    """A straight line through part of a curve, with the interval of its slope."""

    first: int
    """First epoch."""
    last: int
    """Last epoch."""
    slope: float
    """Per epoch; of a logarithm, 0.02 is about +2 % an epoch."""
    low: float
    """Lower end of the slope's interval."""
    high: float
    """Upper end of the slope's interval."""
    steepest: float
    """Largest absolute slope by two one-sided intervals of the same confidence (Schuirmann, 1987)."""
    level: float
    """Height of the line at the last epoch."""
    noise: float
    """Robust standard deviation of the points about the line (1.4826 times the median distance)."""
    correlation: float
    """Lag-1 correlation of the points about the line, in [0, 0.9]; the interval is widened by it."""

    @property
    def change(self) -> float:
        """Rise of the line from the first epoch to the last."""
        return self.slope * (self.last - self.first)

    @property
    def change_low(self) -> float:
        """Lower end of the change's interval."""
        return self.low * (self.last - self.first)

    @property
    def change_high(self) -> float:
        """Upper end of the change's interval."""
        return self.high * (self.last - self.first)


def robust_trend(epochs: Sequence[int], values: Sequence[float], *, confidence: float = CONFIDENCE) -> Trend:
    """The median of all pairwise slopes with its distribution-free interval (Theil, 1950; Sen, 1968).

    Sen's interval assumes that the points are independent about the line. Epochs are not: each starts from the
    weights of the previous one. The variance of Kendall's statistic behind the interval is therefore multiplied by
    (1 + r) / (1 - r), the effect of a lag-1 autoregression in a long series (Yue and Wang, 2004). r is the lag-1
    correlation about the line, (n r1 + 2) / (n - 4) clipped to [0, 0.9], which corrects the bias -(2 + 4 r) / n of r1
    after a line fit (Shaman and Stine, 1988). A bend in the curve counts as correlation and widens the interval too.

    Args:
        epochs: (N,) numbers of the epochs, strictly increasing, N >= 5.
        values: (N,) finite heights, such as logarithms of a loss.
        confidence: coverage of the interval, two-sided.

    Raises:
        ValueError: too few points, or points that are not finite or not in order.
    """
    x, y = np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(x) != len(y) or len(x) < MIN_POINTS:
        raise ValueError(f"found {len(x)} epochs and {len(y)} values; expected as many of each, {MIN_POINTS} or more")
    if not np.isfinite(y).all() or not (np.diff(x) > 0).all():
        raise ValueError("values must be finite and epochs strictly increasing")
    plain = scipy_stats.theilslopes(y, x)
    offset = float(np.median(y - plain.slope * x))
    rest = y - (offset + plain.slope * x)
    correlation = _lag_one(rest)
    widening = math.sqrt((1.0 + correlation) / (1.0 - correlation))
    low, high = _interval(x, y, float(scipy_stats.norm.ppf((1.0 + confidence) / 2.0)) * widening)
    inner_low, inner_high = _interval(x, y, float(scipy_stats.norm.ppf(confidence)) * widening)
    return Trend(
        first=int(x[0]),
        last=int(x[-1]),
        slope=float(plain.slope),
        low=low,
        high=high,
        steepest=max(abs(inner_low), abs(inner_high)),
        level=float(offset + plain.slope * x[-1]),
        noise=float(_NORMAL_MAD * np.median(np.abs(rest - np.median(rest)))),
        correlation=correlation,
    )


def _interval(x: FloatArray, y: FloatArray, z: float) -> tuple[float, float]:
    """Sen's interval at z standard deviations; scipy takes the two-sided tail probability of z instead."""
    found = scipy_stats.theilslopes(y, x, alpha=max(2.0 * float(scipy_stats.norm.sf(z)), 1e-300))
    return float(found.low_slope), float(found.high_slope)


def _lag_one(rest: FloatArray) -> float:
    centred = rest - rest.mean()
    total = float(centred @ centred)
    if total <= 0.0:
        return 0.0
    n = len(centred)
    raw = float(centred[1:] @ centred[:-1]) / total
    return min(max((n * raw + 2.0) / (n - 4.0), 0.0), _MAX_CORRELATION)


MIN_WINDOW = 8
"""Fewest epochs to fit a slope to."""

_MIN_LOSS = 1e-3
"""Lower losses count as this, since changes of their logarithm mean nothing."""

SMOOTH_OVER = 5
"""A level is the median over this many epochs."""


@dataclass(frozen=True)
class LossEvidence:
    """The evidence for a diagnosis; trends are of the logarithm of a loss."""

    train: Trend | None
    """None: too few epochs, or a loss that is not finite."""
    val: Trend | None
    macro_f1: Trend | None
    """Of validation macro-F1 itself (accuracy where a record has no F1), not of its logarithm."""
    warmup: int
    """Epochs at the start in which the learning rate rose; left out of all trends."""
    lr_share: float | None
    """Last learning rate as a share of the highest; None: not recorded."""
    lr_falls: bool
    """The learning rate fell within the window."""
    floor: float | None
    """Least possible training loss; None: label smoothing or number of classes unknown."""
    guess: float | None
    """Loss of equal probabilities for all classes; None: number of classes unknown."""
    best_epoch: int | None
    """Epoch of the highest validation macro-F1 (or accuracy)."""
    best_ago: int | None
    """Epochs since then."""
    lowest_epoch: int | None
    """Epoch around which the validation loss was lowest (running median)."""
    rise_since_lowest: float | None
    """Logarithm of the current validation loss divided by the lowest."""


def smoothing_floor(classes: int, label_smoothing: float) -> float:
    """Least mean cross-entropy with label smoothing e over K classes, in nats.

    With smoothing the target q of an image is 1 - e + e/K for its class and e/K for each other class. The
    cross-entropy of q and the prediction p is H(q) + KL(q || p), which is least at p = q; so the floor is the entropy

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


def gather_evidence(
    epochs: Sequence[EpochRecord],
    conditions: Conditions,
    *,
    window: int | None,
    window_share: float,
    max_window: int,
    confidence: float,
) -> LossEvidence:
    """Trends and levels of the curves up to the last epoch.

    Args:
        window: epochs at the end to fit slopes to; None: from `window_share` and `max_window`, at least `MIN_WINDOW`.
        window_share: of the epochs after the warm-up.
        max_window: most epochs in the window.
    """
    warmup = warmup_length([one.lr for one in epochs])
    after = list(epochs[warmup:])
    size = window or min(max(round(window_share * len(after)), MIN_WINDOW), max_window)
    stretch = after[-size:]
    train = val = macro_f1 = None
    if len(stretch) >= MIN_WINDOW and first_not_finite(epochs) is None:
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
    return LossEvidence(
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
    """The first epoch whose training or validation loss is not finite."""
    return next((one for one in epochs if not (math.isfinite(one.train_loss) and math.isfinite(one.val_loss))), None)


def warmup_length(rates: Sequence[float]) -> int:
    """Epochs at the start during which the learning rate rose; 0 when it never rose, or is not recorded."""
    if not rates or not all(math.isfinite(rate) for rate in rates):
        return 0
    highest = max(rates)
    peak = next(place for place, rate in enumerate(rates) if rate >= highest * (1.0 - 1e-9))
    return peak + 1 if peak > 0 else 0


def best_of(epochs: Sequence[EpochRecord]) -> EpochRecord | None:
    """The best epoch by validation macro-F1, or by accuracy where a record has no F1; None when neither is known."""
    if epochs and all(math.isfinite(one.val_macro_f1) for one in epochs):
        return max(epochs, key=rank_of)
    known = [one for one in epochs if math.isfinite(one.val_accuracy)]
    return max(known, key=lambda one: (one.val_accuracy, -one.val_loss)) if known else None


def lowest_level(epochs: Sequence[EpochRecord], column: str) -> tuple[int, float]:
    """Index and value of the lowest running median, over five epochs, of log loss."""
    logs = np.asarray(logs_of(epochs, column))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(logs, SMOOTH_OVER), axis=1)
    place = int(medians.argmin())
    return place + SMOOTH_OVER // 2, float(medians[place])


def level_now(epochs: Sequence[EpochRecord], column: str) -> float:
    """Median of log loss over the last five epochs."""
    return float(np.median(logs_of(epochs[-SMOOTH_OVER:], column)))


def logs_of(epochs: Sequence[EpochRecord], column: str) -> list[float]:
    """Logarithms of a loss, which counts as 0.001 where it is lower."""
    return [math.log(max(getattr(one, column), _MIN_LOSS)) for one in epochs]


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
