"""How well generated images can be distinguished from real ones by texture."""

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
"""A class with fewer real, or fewer generated, images is left out."""

_LEAST_SOURCES = 10
_RESAMPLES = 1000
_MOST_STEPS = 50
_LEAST_SHARE = 1e-6
_CLOSE_ENOUGH = 1e-8
_RIDGE = 1.0
"""Weight of the squared coefficients."""


def separability(
    features: FloatArray, is_generated: npt.ArrayLike, labels: Sequence[str], sources: Sequence[str], *, seed: int = 0
) -> Separability:
    """AUROC of a logistic regression, each image scored by a fit without any image of its source.

    Real and generated images are compared only within a class, and both kinds have equal weight there in the fit, so
    a different mix of classes does not count as a different look.

    Args:
        features: (N, D), finite.
        is_generated: (N,) bool.
        labels: N classes.
        sources: for each of the N images, the name of its real source image (a real image is its own source).
        seed: for the division of the sources into folds, and for the resamples of the interval.
    """
    generated: BoolArray = np.asarray(is_generated, dtype=bool)
    classes = np.asarray(labels)
    counts = {str(name): _count_kinds(generated[classes == name]) for name in np.unique(classes)}
    usable = [name for name, pair in counts.items() if min(pair) >= LEAST_OF_A_CLASS]
    total = _count_kinds(generated)
    if not usable:
        reason = message("too_few_of_a_class", real=LEAST_OF_A_CLASS, generated=LEAST_OF_A_CLASS)
        return Separability(None, None, *total, (), reason)
    keep = np.isin(classes, usable)
    features, generated, classes = features[keep], generated[keep], classes[keep]
    names, group = np.unique(np.asarray(sources)[keep], return_inverse=True)
    groups = len(names)
    if groups < _LEAST_SOURCES:
        return Separability(None, None, *total, (), message("too_few_sources", count=groups, least=_LEAST_SOURCES))
    score = _scores_out_of_fold(features, generated, classes, group, names, seed)
    value, by_class = _within_classes(score, generated, classes, usable, np.ones(len(score)))
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1.0 / groups), size=_RESAMPLES)
    resampled = np.array(
        [_within_classes(score, generated, classes, usable, weights[group].astype(np.float64))[0] for weights in drawn]
    )
    per_class = tuple(ClassSeparability(name, area, *counts[name]) for name, area in zip(usable, by_class, strict=True))
    return Separability(value, percentile_interval(resampled), *_count_kinds(generated), per_class, reason=None)


def _count_kinds(generated: BoolArray) -> tuple[int, int]:
    """Numbers of real and of generated images."""
    return int(np.sum(~generated)), int(np.sum(generated))


def _scores_out_of_fold(
    features: FloatArray,
    generated: BoolArray,
    classes: npt.NDArray[np.str_],
    group: IntArray,
    names: npt.NDArray[np.str_],
    seed: int,
) -> FloatArray:
    """Scores of images by fits to the other folds; a hash of seed and source name decides a source's fold."""
    hashes = [hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest() for name in names.tolist()]
    fold_of_group = np.empty(len(hashes), dtype=np.int64)
    fold_of_group[np.argsort(hashes)] = np.arange(len(hashes)) % FOLDS
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
    """Equal total weight for both kinds within a class; a class's total weight is its number of images."""
    weights = np.zeros(len(generated))
    for name in np.unique(classes):
        both = [(classes == name) & (generated == kind) for kind in (False, True)]
        for one in both:
            if one.any():
                weights[one] = 0.5 * (both[0].sum() + both[1].sum()) / one.sum()
    return weights


def fit_logistic(features: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Coefficients, the intercept first, that minimise sum w log(1 + exp(-y z)) + |coefficients|^2 / 2.

    z = intercept + features . coefficients, y = 1 for positives and -1 for the others; the intercept has no penalty.

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
    for _ in range(_MOST_STEPS):  # Newton steps, halved until the loss falls
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
    """Mean AUROC over the classes, weighted by their pairs (NaN without any pair), and the AUROC of every class."""
    found = [_weighted_auroc(score[one], generated[one], weights[one]) for one in (classes == name for name in names)]
    total = sum(pairs for _, pairs in found)
    mean = sum(area * pairs for area, pairs in found if pairs) / total if total else float("nan")
    return mean, [area for area, _ in found]


def _weighted_auroc(score: FloatArray, positive: BoolArray, weights: FloatArray) -> tuple[float, float]:
    """AUROC where each image counts with its weight and a tie counts half; and the total weight of all pairs."""
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
    """Twenty-five numbers that describe the texture of one image, all finite.

    The power of the grey levels in 12 rings of spatial frequency (logarithms, after a Hann window); mean, spread,
    skew and three quantiles of the grey levels; the shares of black and of white pixels; size and kurtosis of the
    output of a 3 x 3 Laplacian; and the differences between the colour channels. Generators, encoders and resizing
    change such numbers, whatever the image shows.

    Args:
        image: (3, S, S), R, G, B, S at least 8.
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
