"""How sure the figures of one set of predictions are, its images being independent or in groups; pure.

A rate over independent images gets the interval of Clopper and Pearson (1934). Images cut from one board are
alike, so that n of them tell less than n independent ones: there the same interval is taken at the effective
number of images, n divided by the design effect (Korn and Graubard, 1998). A bootstrap of groups gives [0, 0]
where nothing was missed, and covers far too seldom at small rates; so it serves only for figures that are no
shares of images: macro-F1, weighted F1, AUROC and average precision. Of these it gives the standard error, taken to
the logit scale, since near 1 its percentiles too cover far too seldom. `bench/interval_coverage.py` measures all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special as scipy_special
from scipy import stats as scipy_stats

from .metrics import BoolArray, FloatArray, IntArray
from .stats import CONFIDENCE, LEAST_DEFINED_SHARE, Interval, clopper_pearson

RATES_OF_IMAGES = "Clopper-Pearson, images taken as independent"
RATES_OF_GROUPS = "Clopper-Pearson at the effective number of images, those of one group taken together (Korn-Graubard)"
SCORES_OF_IMAGES = "bootstrap of images, its standard error on the logit scale"
SCORES_OF_GROUPS = "bootstrap of groups, its standard error on the logit scale"

_CHUNK_CELLS = 2_000_000
_ALIKE = 1e-12


def known_groups(groups: tuple[str, ...] | None) -> IntArray | None:
    """(N,) number of each image's group; None where no two images share one, which says no more than no group."""
    if groups is None:
        return None
    levels, numbers = np.unique(groups, return_inverse=True)
    return numbers.astype(np.int64) if len(levels) < len(groups) else None


def rate_interval(has: BoolArray, groups: IntArray | None = None, *, confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of the share of images that have a property.

    Args:
        has: (n,) bool, over the images that the rate is a share of.
        groups: (n,) number of each one's group; None when the images are independent.
        confidence: coverage, two-sided.

    Returns:
        The interval in [0, 1]; None when n is 0.
    """
    if len(has) == 0:
        return None
    if groups is None:
        return clopper_pearson(int(has.sum()), len(has), confidence=confidence)
    size = effective_images(has, groups, confidence=confidence)
    return clopper_pearson(float(has.mean()) * size, size, confidence=confidence)


def effective_images(has: BoolArray, groups: IntArray, *, confidence: float = CONFIDENCE) -> float:
    """How many independent images would tell as much about a rate as n images in G groups.

    It is p (1 - p) / v, v being the variance of the rate between groups by linearisation, and scaled by
    (t(n - 1) / t(G - 1)) squared for the few groups it was estimated from (Korn and Graubard, 1998); never above
    n. Where every image has the property, or none, or all lie in one group, the groups do not show how alike
    their images are; then as if images of one group were all alike: n^2 / sum of squared group sizes.

    Args:
        has: (n,) bool, n at least 1.
        groups: (n,) number of each one's group.
        confidence: whose quantiles of Student's t are taken.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    sizes = np.bincount(numbers).astype(np.float64)
    count, n = len(sizes), len(has)
    rate = float(has.mean())
    if count == n:
        return float(n)
    if count == 1 or rate in (0.0, 1.0):
        return float(n**2 / (sizes**2).sum())
    apart = np.bincount(numbers, weights=has.astype(np.float64)) - rate * sizes
    variance = count / (count - 1) * float((apart**2).sum()) / n**2
    if variance == 0.0:
        return float(n)
    upper = 0.5 + confidence / 2.0
    for_few_groups = float(scipy_stats.t.ppf(upper, n - 1) / scipy_stats.t.ppf(upper, count - 1)) ** 2
    return min(float(n), rate * (1.0 - rate) / variance * for_few_groups)


def logit_interval(value: float, draws: FloatArray, *, units: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of a figure between 0 and 1 from its resamples: logit(value) -+ t s / (value (1 - value)).

    s is the standard deviation of the resamples, t Student's with units - 1 degrees of freedom. The scale is the usual
    one for areas under curves near 1 (Pepe, 2003, chapter 5), which percentiles cover too seldom.

    Args:
        value: the figure on all images.
        draws: (R,) on resamples; NaN where undefined.
        units: how many groups, or independent images, were drawn from.
        confidence: coverage, two-sided.

    Returns:
        None where the draws know of no doubt, or over 5 % of them are undefined.
    """
    defined = draws[~np.isnan(draws)]
    if len(defined) < 2 or len(defined) < LEAST_DEFINED_SHARE * len(draws):
        return None
    if np.ptp(defined) < _ALIKE or not 0.0 < value < 1.0:
        return None
    reach = scipy_stats.t.ppf(0.5 + confidence / 2.0, units - 1) * defined.std(ddof=1) / (value * (1.0 - value))
    low, high = scipy_special.expit(scipy_special.logit(value) + np.array([-reach, reach]))
    return Interval(float(low), float(high))


def separated_interval(
    above: bool, is_positive: BoolArray, groups: IntArray | None, *, confidence: float = CONFIDENCE
) -> Interval | None:
    """Interval of an AUROC of 1 (or 0), of which every resample is 1 (or 0) too.

    Of m pairs of a positive and a negative that share no image and no group, each is in order with the chance
    that AUROC is, independently of the others. All m are in order (or none is): the interval of Clopper and Pearson.

    Args:
        above: all positives above all negatives; False for the opposite.
        is_positive: (N,) bool.
        groups: (N,) number of each image's group; None when the images are independent.
        confidence: coverage, two-sided.

    Returns:
        None where no such pair can be formed.
    """
    if groups is None:
        pairs = int(min(is_positive.sum(), (~is_positive).sum()))
    else:
        with_positive, with_negative = len(np.unique(groups[is_positive])), len(np.unique(groups[~is_positive]))
        pairs = min(with_positive, with_negative, len(np.unique(groups)) // 2)
    return clopper_pearson(pairs if above else 0, pairs, confidence=confidence)


def draw_weights(images: int, groups: IntArray | None, *, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Draw groups, or images where there are none, with replacement.

    Args:
        images: N.
        groups: (N,) in [0, G), each occurring; None when the images are independent.
        resamples: number of draws R.
        seed: of the draws.

    Yields:
        (r, N): how many times each image is in each of r draws; the r add up to R.
    """
    rng = np.random.default_rng(seed)
    units = images if groups is None else int(groups.max()) + 1
    step = max(1, _CHUNK_CELLS // max(images, units))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, units, (size, units)) + units * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)
        yield weights if groups is None else weights[:, groups]
