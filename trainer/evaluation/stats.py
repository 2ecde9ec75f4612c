"""Intervals and tests, for independent and grouped images.

A rate over independent images gets the interval of Clopper and Pearson (1934). Images cut from one board are alike,
so n of them say less than n independent images: the same interval is then taken at the effective number of images, n
divided by the design effect (Korn and Graubard, 1998). A bootstrap of groups gives [0, 0] where nothing was missed,
and its coverage is far too low at small rates. It is therefore used only for figures that are not shares of images:
macro-F1, weighted F1, AUROC and average precision. It gives their standard error on the logit scale, since
percentiles cover far too seldom near 1. `bench/interval_coverage.py` measures the coverage of all of these.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special as scipy_special, stats as scipy_stats

from .metrics import BoolArray, FloatArray, IntArray

CONFIDENCE = 0.95
"""Coverage of every interval in reports, two-sided."""

RESAMPLES = 2000
MIN_DEFINED_SHARE = 0.95
"""Share of the resamples that must be defined for an interval to be made from them."""

_BOOTSTRAP_CHUNK_CELLS = 4_000_000
"""Weights drawn at a time; limits memory."""


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    high: float


def clopper_pearson(count: float, of: float, *, confidence: float = CONFIDENCE) -> Interval | None:
    """Exact interval of a rate over independent images (Clopper and Pearson, 1934).

    Its coverage is at least `confidence` at every size and rate; Wilson's interval falls short at small rates.

    Args:
        count: images with the property, 0 to `of`; fractional where it is a mean over several trainings judged on the
            same images, so that each image counts once.
        of: number of images; fractional where it is an effective number (see `effective_images`).

    Returns:
        The interval in [0, 1]; None when `of` is 0.
    """
    if of == 0:
        return None
    tail = (1.0 - confidence) / 2.0
    low = float(scipy_stats.beta.ppf(tail, count, of - count + 1)) if count > 0 else 0.0
    high = float(scipy_stats.beta.ppf(1.0 - tail, count + 1, of - count)) if count < of else 1.0
    return Interval(low, high)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test from the two discordant counts; 1 when there are none.

    Under the null hypothesis a discordant image is equally likely to be right in either model, so the count is
    Binomial(n, 1/2).
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    return float(scipy_stats.binomtest(only_first, discordant, 0.5).pvalue)


def binomial_cdf(count: int, of: int, rate: float) -> float:
    """P(X <= count) for X ~ Binomial(of, rate)."""
    return float(scipy_stats.binom.cdf(count, of, rate))


@dataclass(frozen=True, eq=False)
class Resampled:
    """A statistic of A arms over R resamples; the effects of images and of seeds are kept separate."""

    by_images: FloatArray
    """(A, R) means over seeds on drawn groups; NaN where the statistic is undefined on a draw."""
    seed_error: FloatArray
    """(A,) standard error of the mean due to the choice of seeds; 0 for an arm of one seed."""
    seed_draws: FloatArray
    """(A, R) draws of Student's t, which scale `seed_error`; 0 for an arm of one seed."""

    @property
    def values(self) -> FloatArray:
        """(A, R) with both effects, clipped to [0, 1]; intervals are made from these."""
        return np.clip(self.by_images + self.seed_draws * self.seed_error[:, None], 0.0, 1.0)


Statistic = Callable[[npt.NDArray[np.number]], FloatArray]
"""(..., L, K) confusion -> (...) values, NaN where undefined."""


def bootstrap_arms(
    arms: Sequence[FloatArray], statistics: Mapping[str, Statistic], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Resampled]:
    """Resampled means of each arm; both test groups and training seeds are treated as random.

    Every resample draws the G groups with replacement, the same draw for all seeds of all arms, so arms are paired:
    subtract one arm's row from another's. A statistic is computed for each seed and averaged; seeds are never stacked
    as if they were more images. The effect of other seeds is added to that mean: a draw of Student's t with S - 1
    degrees of freedom, independent for each arm, scaled by sqrt(v / S). v is the variance between the seeds' values
    minus the share of the interaction of seeds and groups, which the drawing of groups already contains; it is
    estimated from the resamples and at least 0. These are the variance components of readers and cases in
    multi-reader studies (Dorfman, Berbaum and Metz, 1992), with seeds in place of readers. An arm of one seed has no
    such variance: its result holds for that training only.

    Args:
        arms: each (S, G, L, K) confusion counts: seed, group, label, predicted class; only S may differ between arms.
        statistics: by name, what to compute from a confusion, in [0, 1].

    Returns:
        By name, rows in the order of `arms`.
    """
    groups = arms[0].shape[1]
    if any(arm.shape[1:] != arms[0].shape[1:] for arm in arms):
        raise ValueError(f"arms differ in shape: {[arm.shape[1:] for arm in arms]}")
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[list[FloatArray]]] = {name: [[] for _ in arms] for name in statistics}
    step = max(1, _BOOTSTRAP_CHUNK_CELLS // groups)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = rng.multinomial(groups, np.full(groups, 1.0 / groups), size=size).astype(np.float64)
        for row, arm in enumerate(arms):
            resampled = _resample_groups(arm, weights)
            for name, statistic in statistics.items():
                drawn[name][row].append(statistic(resampled))
    seeds = [arm.shape[0] for arm in arms]
    seed_draws = np.stack([rng.standard_t(n - 1, size=resamples) if n > 1 else np.zeros(resamples) for n in seeds])
    found = {}
    for name, statistic in statistics.items():
        resampled_by_arm = [np.concatenate(parts) for parts in drawn[name]]
        observed_by_arm = [statistic(arm.sum(axis=1)) for arm in arms]
        errors = [_seed_error(*both) for both in zip(observed_by_arm, resampled_by_arm, strict=True)]
        found[name] = Resampled(np.stack([one.mean(axis=1) for one in resampled_by_arm]), np.array(errors), seed_draws)
    return found


def percentile_interval(values: FloatArray, *, confidence: float = CONFIDENCE) -> Interval | None:
    """The middle `confidence` of resampled values; None where over 5 % of them are undefined (NaN)."""
    defined = _enough_defined(values)
    if defined is None:
        return None
    tail = 100.0 * (1.0 - confidence) / 2.0
    low, high = np.percentile(defined, [tail, 100.0 - tail])
    return Interval(float(low), float(high))


def bootstrap_p(values: FloatArray) -> float | None:
    """Two-sided p-value of "no difference" from resampled differences: 2 min(P(d <= 0), P(d >= 0)), at most 1.

    One is added to each count and to R, so that no p-value is 0 (Davison and Hinkley, 1997, 4.2). None where over 5 %
    of the values are undefined (NaN).
    """
    defined = _enough_defined(values)
    if defined is None:
        return None
    fewer = min(int(np.sum(defined <= 0)), int(np.sum(defined >= 0)))
    return min(1.0, 2.0 * (fewer + 1) / (len(defined) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for multiple tests (Holm, 1979), in the order given.

    The i-th smallest of m (from 0) is multiplied by m - i and raised, where needed, to the one before it.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = highest
    return adjusted


def _enough_defined(values: FloatArray) -> FloatArray | None:
    """The values that are not NaN; None where they are too few for an interval."""
    defined = values[~np.isnan(values)]
    return None if len(defined) == 0 or len(defined) < MIN_DEFINED_SHARE * len(values) else defined


def _resample_groups(arm: FloatArray, weights: FloatArray) -> FloatArray:
    """(S, G, L, K) counts and (R, G) weights -> (R, S, L, K)."""
    seeds, groups, labels, classes = arm.shape
    flat = arm.transpose(1, 0, 2, 3).reshape(groups, seeds * labels * classes)
    product: FloatArray = weights @ flat
    return product.reshape(len(weights), seeds, labels, classes)


def _seed_error(observed: FloatArray, resampled: FloatArray) -> float:
    """Standard error of a mean over seeds due to the seeds, without that of the images.

    Args:
        observed: (S,) the statistic of each seed on all groups.
        resampled: (R, S) the same on drawn groups.
    """
    seeds = len(observed)
    if seeds == 1:
        return 0.0
    apart = resampled - resampled.mean(axis=1, keepdims=True)
    defined = apart[~np.isnan(apart).any(axis=1)]
    interaction = defined.var(axis=0).mean() * seeds / (seeds - 1) if len(defined) else np.nan
    return float(np.sqrt(np.maximum(0.0, observed.var(ddof=1) - interaction) / seeds))


RATES_OF_IMAGES = "Clopper-Pearson, images taken as independent"
RATES_OF_GROUPS = "Clopper-Pearson at the effective number of images, those of one group taken together (Korn-Graubard)"
SCORES_OF_IMAGES = "bootstrap of images, its standard error on the logit scale"
SCORES_OF_GROUPS = "bootstrap of groups, its standard error on the logit scale"

_WEIGHT_CHUNK_CELLS = 2_000_000
_EQUAL = 1e-12


def known_groups(groups: tuple[str, ...] | None) -> IntArray | None:
    """(N,) number of each image's group; None where no two images share a group, which is the same as no groups."""
    if groups is None:
        return None
    levels, numbers = np.unique(groups, return_inverse=True)
    return numbers.astype(np.int64) if len(levels) < len(groups) else None


def rate_interval(has: BoolArray, groups: IntArray | None = None, *, confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of the share of images that have a property.

    Args:
        has: (n,) bool, over the images that the rate is a share of.
        groups: (n,) number of each one's group; None when the images are independent.

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
    """Number of independent images that say as much about a rate as n images in G groups.

    It is p (1 - p) / v, where v is the variance of the rate between groups by linearisation, scaled by
    (t(n - 1) / t(G - 1))^2 for the small number of groups (Korn and Graubard, 1998), and at most n. Where all images
    or none have the property, or all are in one group, the groups do not show how alike their images are. Images of
    one group then count as identical: n^2 / sum of squared group sizes.

    Args:
        has: (n,) bool, n at least 1.
        groups: (n,) number of each image's group.
        confidence: of the quantiles of Student's t.
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

    s is the standard deviation of the resamples, t Student's with units - 1 degrees of freedom. The logit scale is
    usual for areas under curves near 1 (Pepe, 2003, chapter 5), where percentile intervals cover too seldom.

    Args:
        value: the figure on all images.
        draws: (R,) on resamples; NaN where undefined.
        units: number of groups, or of independent images, that were drawn from.

    Returns:
        None where all draws are equal, or over 5 % of them are undefined.
    """
    defined = _enough_defined(draws)
    if defined is None or len(defined) < 2 or np.ptp(defined) < _EQUAL or not 0.0 < value < 1.0:
        return None
    reach = scipy_stats.t.ppf(0.5 + confidence / 2.0, units - 1) * defined.std(ddof=1) / (value * (1.0 - value))
    low, high = scipy_special.expit(scipy_special.logit(value) + np.array([-reach, reach]))
    return Interval(float(low), float(high))


def separated_interval(
    above: bool, is_positive: BoolArray, groups: IntArray | None, *, confidence: float = CONFIDENCE
) -> Interval | None:
    """Interval of an AUROC of 1 (or 0), where every resample is 1 (or 0) too.

    Take m pairs of a positive and a negative that share no image and no group. Each pair is in order with probability
    AUROC, independently of the others. All m are in order (or none is), which gives the Clopper-Pearson interval.

    Args:
        above: all positives are above all negatives; False for the opposite.
        is_positive: (N,) bool.
        groups: (N,) number of each image's group; None when the images are independent.

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
    """Draw groups with replacement, or images where there are no groups.

    Args:
        groups: (N,) in [0, G), each number used; None when the images are independent.

    Yields:
        (r, N) how often each image is in each of r draws; the r add up to R.
    """
    rng = np.random.default_rng(seed)
    units = images if groups is None else int(groups.max()) + 1
    step = max(1, _WEIGHT_CHUNK_CELLS // max(images, units))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, units, (size, units)) + units * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)
        yield weights if groups is None else weights[:, groups]
