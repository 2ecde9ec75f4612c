"""How well generated images are told from real ones by texture."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from sdcore.messages import message

from ..evaluation.metrics import BoolArray, FloatArray, IntArray
from ..evaluation.stats import percentile_interval
from .result import ClassSeparability, Separability

FOLDS = 5
LEAST_OF_A_CLASS = 5
"""Real and generated images a class needs to be looked at."""

_LEAST_SOURCES = 10
_RESAMPLES = 1000
_MOST_STEPS = 50
_LEAST_SHARE = 1e-6
_CLOSE_ENOUGH = 1e-8
_RIDGE = 1.0
"""Weight of the squared coefficients; as strong as one image of each kind."""


def separability(
    features: FloatArray, is_generated: npt.ArrayLike, labels: Sequence[str], sources: Sequence[str], *, seed: int = 0
) -> Separability:
    """AUROC of a logistic regression that was not fitted to the images it judges, nor to others of their sources.

    Real and generated images are compared within a class alone, and weigh equally there in the fit, so that a
    different mix of classes is not taken for a different look.

    Args:
        features: (N, D), finite.
        is_generated: (N,) bool.
        labels: N classes.
        sources: N names of the real image that each descends from, or is.
        seed: of the division of the sources, and of the interval's resamples.
    """
    generated: BoolArray = np.asarray(is_generated, dtype=bool)
    classes = np.asarray(labels)
    counts = {
        str(name): (int(np.sum((classes == name) & ~generated)), int(np.sum((classes == name) & generated)))
        for name in np.unique(classes)
    }
    usable = [name for name, pair in counts.items() if min(pair) >= LEAST_OF_A_CLASS]
    total = (int(np.sum(~generated)), int(np.sum(generated)))
    if not usable:
        reason = message("too_few_of_a_class", real=LEAST_OF_A_CLASS, generated=LEAST_OF_A_CLASS)
        return Separability(None, None, *total, (), reason)
    keep = np.isin(classes, usable)
    features, generated, classes = features[keep], generated[keep], classes[keep]
    _, group = np.unique(np.asarray(sources)[keep], return_inverse=True)
    if int(group.max()) + 1 < _LEAST_SOURCES:
        reason = message("too_few_sources", count=int(group.max()) + 1, least=_LEAST_SOURCES)
        return Separability(None, None, *total, (), reason)
    score = _scores_out_of_fold(features, generated, classes, group, np.asarray(sources)[keep], seed)
    value, by_class = _within_classes(score, generated, classes, usable, np.ones(len(score)))
    rng = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    drawn = rng.multinomial(groups, np.full(groups, 1.0 / groups), size=_RESAMPLES)
    resampled = np.array(
        [_within_classes(score, generated, classes, usable, weights[group].astype(np.float64))[0] for weights in drawn]
    )
    return Separability(
        auroc=value,
        interval=percentile_interval(resampled),
        real=int(np.sum(~generated)),
        generated=int(np.sum(generated)),
        per_class=tuple(
            ClassSeparability(name, area, *counts[name]) for name, area in zip(usable, by_class, strict=True)
        ),
        reason=None,
    )


def _scores_out_of_fold(
    features: FloatArray,
    generated: BoolArray,
    classes: npt.NDArray[np.str_],
    group: IntArray,
    sources: npt.NDArray[np.str_],
    seed: int,
) -> FloatArray:
    rank: dict[int, str] = {}
    for number, source in zip(group.tolist(), sources.tolist(), strict=True):
        rank[number] = hashlib.sha256(f"{seed}\0{source}".encode()).hexdigest()
    fold_of_group = np.empty(len(rank), dtype=np.int64)
    for place, number in enumerate(sorted(rank, key=rank.__getitem__)):
        fold_of_group[number] = place % FOLDS
    fold = fold_of_group[group]
    score = np.zeros(len(group))
    for number in range(FOLDS):
        inside = fold != number
        weights = _weights(generated[inside], classes[inside])
        centre = np.average(features[inside], axis=0, weights=weights)
        spread = np.sqrt(np.average((features[inside] - centre) ** 2, axis=0, weights=weights))
        scaled = (features - centre) / np.where(spread > 1e-9, spread, 1.0)
        coefficients = fit_logistic(scaled[inside], generated[inside], weights)
        score[~inside] = scaled[~inside] @ coefficients[1:] + coefficients[0]
    return score


def _weights(generated: BoolArray, classes: npt.NDArray[np.str_]) -> FloatArray:
    """Both kinds weigh alike within a class, and a class as much as it has images."""
    weights = np.zeros(len(generated))
    for name in np.unique(classes):
        both = [(classes == name) & (generated == kind) for kind in (False, True)]
        for one in both:
            if one.any():
                weights[one] = 0.5 * (both[0].sum() + both[1].sum()) / one.sum()
    return weights


def fit_logistic(features: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Coefficients, the intercept first, that minimise sum w log(1 + exp(-y z)) + |coefficients|^2 / 2.

    z = intercept + features . coefficients, y = 1 for positives and -1 for the others; the intercept is not held
    down.

    Args:
        features: (N, D).
        positive: (N,) bool.
        weights: (N,) w.
    """
    sign = np.where(positive, 1.0, -1.0)
    design = np.column_stack([np.ones(len(features)), features])
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[0] = 0.0

    def loss(coefficients: FloatArray) -> float:
        fit = weights @ np.logaddexp(0.0, -sign * (design @ coefficients))
        return float(fit + 0.5 * ridge @ coefficients**2)

    coefficients: FloatArray = np.zeros(design.shape[1])
    for _ in range(_MOST_STEPS):  # Newton's, halved until the loss falls
        pull = weights * expit(-sign * (design @ coefficients))
        slope = ridge * coefficients - design.T @ (sign * pull)
        bend = np.diag(ridge) + (design.T * (pull * (1.0 - pull / np.maximum(weights, 1e-300)))) @ design
        step = np.linalg.solve(bend, slope)
        before, share = loss(coefficients), 1.0
        while share > _LEAST_SHARE and loss(coefficients - share * step) > before:
            share /= 2.0
        coefficients = coefficients - share * step
        if np.abs(step).max() < _CLOSE_ENOUGH:
            break
    return coefficients


def _within_classes(
    score: FloatArray, generated: BoolArray, classes: npt.NDArray[np.str_], names: Sequence[str], weights: FloatArray
) -> tuple[float, list[float]]:
    """Weighted AUROC of every class, and their mean by weight of pairs; NaN where nothing can be compared."""
    areas, pairs = [], []
    for name in names:
        inside = classes == name
        area, weight = _weighted_auroc(score[inside], generated[inside], weights[inside])
        areas.append(area)
        pairs.append(weight)
    total = sum(pairs)
    mean = sum(area * pair for area, pair in zip(areas, pairs, strict=True) if pair) / total if total else float("nan")
    return mean, areas


def _weighted_auroc(score: FloatArray, positive: BoolArray, weights: FloatArray) -> tuple[float, float]:
    """AUROC where an image counts as often as its weight says, a tie as half; and the weight of all pairs."""
    levels, level_of = np.unique(score, return_inverse=True)
    positives = np.bincount(level_of, weights * positive, minlength=len(levels))
    negatives = np.bincount(level_of, weights * ~positive, minlength=len(levels))
    pairs = float(positives.sum() * negatives.sum())
    if pairs == 0:
        return float("nan"), 0.0
    below = np.cumsum(negatives) - negatives
    return float(positives @ below + 0.5 * positives @ negatives) / pairs, pairs


_BANDS = 12
_LUMA = np.array([0.299, 0.587, 0.114])
_LEAST = 1e-6


def describe_texture(image: npt.NDArray[np.uint8]) -> FloatArray:
    """Twenty-five figures of one image.

    The power of its grey levels in 12 rings of spatial frequency (logarithms, after a Hann window), mean, spread,
    skew and three quantiles of the grey levels, the shares of black and white pixels, size and peakedness of what a
    3 x 3 Laplacian leaves, and how far the colour channels lie apart. Generators, encoders and resizing leave their
    marks in such figures, whatever the image shows.

    Args:
        image: (3, S, S), R, G, B, S at least 8.

    Returns:
        (25,), all finite.
    """
    colours = image.astype(np.float64) / 255.0
    grey = np.tensordot(_LUMA, colours, axes=1)
    side = grey.shape[0]
    window = np.hanning(side)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(window, window))) ** 2
    frequency = np.fft.fftfreq(side)
    ring = np.minimum((2 * _BANDS * np.hypot(frequency[:, None], frequency[None, :])).astype(int), _BANDS - 1)
    rings = np.bincount(ring.ravel(), power.ravel(), minlength=_BANDS) / np.bincount(ring.ravel(), minlength=_BANDS)
    spread = grey.std()
    skew = ((grey - grey.mean()) ** 3).mean() / (spread**3 + _LEAST)
    inner = grey[1:-1, 1:-1]
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    peaked = (edges**4).mean() / (edges.var() ** 2 + _LEAST)
    apart = [np.abs(colours[first] - colours[second]).mean() for first, second in ((0, 1), (1, 2))]
    chroma = (colours.max(axis=0) - colours.min(axis=0)).std()
    return np.array(
        [
            *np.log(rings + _LEAST),
            grey.mean(),
            spread,
            np.clip(skew, -10, 10),
            *np.quantile(grey, [0.05, 0.5, 0.95]),
            (grey <= 1 / 255).mean(),
            (grey >= 254 / 255).mean(),
            np.log(np.abs(edges).mean() + _LEAST),
            np.log(peaked + _LEAST),
            *apart,
            chroma,
        ]
    )
