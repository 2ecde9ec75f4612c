"""The statistics of a report: shares with intervals, comparisons of image sets, recommended strengths. Pure.

Intervals are of 95 %. That of a share is by Clopper and Pearson (1934), which keeps its coverage at small counts. Where
images are grouped (by source, by board), whole groups are also resampled with replacement (percentile bootstrap), and
at each end the wider interval holds.

A bootstrap draws images twice, and an image that is its own neighbour at distance 0 spoils manifolds and kernel sums.
These intervals therefore draw groups without replacement, half of both sets each time (delete-d jackknife, Shao and Wu
1989): if the error of a figure falls with the square root of the number of images, its spread over halves is the spread
of the figure itself. Where both sets have one distribution, the error of the kernel distance falls faster; its interval
is then too wide by up to the square root of three, never too narrow.

The manifold of a set is the union of balls around its images; each ball reaches to the image's k-th nearest neighbour
in the set. Precision is the share of generated images inside the real manifold, recall the share of real images inside
the generated one (Kynkaanniemi et al. 2019, Improved Precision and Recall). Both depend on the number of images;
compare figures of equal numbers only.

The kernel distance (Binkowski et al. 2018, Demystifying MMD GANs) is the unbiased estimate of the squared maximum mean
discrepancy under (x y / D + 1)^3, with D features. For two sets of one distribution it is 0 on average, so it can be
negative.

With growing strength the share that keeps its class can only fall, and the share that changes can only rise. Random
deviations are removed by isotonic regression (Barlow et al. 1972). Limits between two tested strengths are interpolated
linearly.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Figure:
    """A number with its interval; all three are None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    """Both ends are None where there are too few images for an interval."""


@dataclass(frozen=True)
class Share:
    """A count of images out of a number of images, with the interval of the share."""

    count: int
    of: int
    low: float | None
    """Ends of the interval; None where `of` is 0."""
    high: float | None

    @property
    def rate(self) -> float | None:
        """The share; None where `of` is 0."""
        return self.count / self.of if self.of else None


UNDEFINED = Figure(None)


def clopper_pearson(count: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Ends of the exact interval of a binomial share; (0, 1) where `of` is 0."""
    from scipy.stats import beta

    if of == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, of - count + 1))
    high = 1.0 if count == of else float(beta.ppf(1 - tail, count + 1, of - count))
    return low, high


def share_of(flags: Sequence[bool] | npt.NDArray[np.bool_], groups: Sequence[str], *, seed: int = 0) -> Share:
    """The share of the (N,) flags that are set; images of one of the (N,) groups are not independent."""
    found = np.asarray(flags, dtype=bool)
    count, of = int(found.sum()), len(found)
    if of == 0:
        return Share(0, 0, None, None)
    low, high = clopper_pearson(count, of)
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < of:
        hits, sizes = np.bincount(member_of, weights=found), np.bincount(member_of)
        drawn = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAP_DRAWS, len(names)))
        rates = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
        ends = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    return Share(count, of, low, high)


def mean_of(figures: Sequence[Figure]) -> Figure:
    """Mean of independent figures, without the undefined; half-widths add up as the root of their squares."""
    known = [one for one in figures if one.value is not None]
    if not known:
        return UNDEFINED
    value = sum(one.value or 0.0 for one in known) / len(known)
    if any(one.low is None or one.high is None for one in known):
        return Figure(value)
    below = sum(((one.value or 0.0) - (one.low or 0.0)) ** 2 for one in known) ** 0.5 / len(known)
    above = sum(((one.high or 0.0) - (one.value or 0.0)) ** 2 for one in known) ** 0.5 / len(known)
    return Figure(value, value - below, value + above)


DRAWS = 200
_Z = 1.959964
"""Two-sided 95 % of a normal distribution."""

Places = npt.NDArray[np.intp]


def random_halves(groups: Sequence[str], draws: int, rng: np.random.Generator) -> Iterator[Places]:
    """Indices of the images of a random half of the (N,) groups; an odd number is rounded up or down at random."""
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    for _ in range(draws):
        size = (len(names) + int(rng.integers(2))) // 2
        yield np.flatnonzero(np.isin(member_of, rng.permutation(len(names))[:size]))


def interval_of(value: float | None, replicates: Sequence[float | None]) -> Figure:
    """A figure of the whole sets, with the interval that follows from its replicates over halves.

    A replicate is None if its half was too small; if more than a tenth are None, there is no interval.
    """
    known = [one for one in replicates if one is not None]
    if value is None or len(known) < max(2, 0.9 * len(replicates)):
        return Figure(value)
    reach = _Z * float(np.std(known, ddof=1))
    return Figure(value, value - reach, value + reach)


Features = npt.NDArray[np.floating]
_Matrix = npt.NDArray[np.float64]


def kernel_distance(made: Features, real: Features) -> float | None:
    """The unbiased squared discrepancy of (N, D) and (M, D) features; None if a set has fewer than 2 images."""
    both = np.concatenate([made, real]).astype(np.float64)
    return _discrepancy(kernel_between(both, both), len(made))


def kernel_between(one: Features, other: Features) -> _Matrix:
    """(x y / D + 1)^3 of all pairs, (N, M)."""
    return np.asarray((one @ other.T / one.shape[1] + 1) ** 3, dtype=np.float64)


def _discrepancy(kernel: _Matrix, made: int) -> float | None:
    real = len(kernel) - made
    if min(made, real) < 2:
        return None
    of_made, of_real, across = kernel[:made, :made], kernel[made:, made:], kernel[:made, made:]

    def mean_of_pairs(square: _Matrix) -> float:
        return float((square.sum() - np.trace(square)) / (len(square) * (len(square) - 1)))

    return mean_of_pairs(of_made) + mean_of_pairs(of_real) - 2 * float(across.mean())


@dataclass(frozen=True)
class SetComparison:
    """How generated images compare with real ones."""

    made: int
    real: int
    precision: Figure
    recall: Figure
    kernel_distance: Figure


def compare_sets(
    made: Features,
    real: Features,
    *,
    made_groups: Sequence[str],
    real_groups: Sequence[str],
    k: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> SetComparison:
    """Precision, recall and kernel distance of (N, D) and (M, D) features, each with its interval.

    Precision and recall are undefined if a set has k images or fewer, the kernel distance below 2 images. The intervals
    come from `draws` random halves of the (N,) and (M,) groups; balls reach to the k-th neighbour, k at least 1.
    """
    n, m = len(made), len(real)
    if min(n, m) < 2:
        return SetComparison(n, m, UNDEFINED, UNDEFINED, UNDEFINED)
    both = np.concatenate([made, real]).astype(np.float64)
    distances, kernel = distances_between(both, both), kernel_between(both, both)

    def figures(of_made: Places, of_real: Places) -> tuple[float | None, float | None, float | None]:
        places = np.concatenate([of_made, n + of_real])
        taken = np.ix_(places, places)
        precision, recall = _precision_and_recall(distances[taken], len(of_made), k)
        return precision, recall, _discrepancy(kernel[taken], len(of_made))

    value = figures(np.arange(n), np.arange(m))
    rng = np.random.default_rng(seed)
    pairs = zip(random_halves(made_groups, draws, rng), random_halves(real_groups, draws, rng), strict=True)
    found = [figures(*pair) for pair in pairs]
    precision, recall, kernel_distance = (
        interval_of(one, [replicate[place] for replicate in found]) for place, one in enumerate(value)
    )
    return SetComparison(
        n, m, _no_narrower_than_counts(precision, n), _no_narrower_than_counts(recall, m), kernel_distance
    )


def precision_and_recall(made: Features, real: Features, k: int) -> tuple[float | None, float | None]:
    """Precision and recall of (N, D) and (M, D) features, k at least 1; None if a set has k images or fewer."""
    both = np.concatenate([made, real]).astype(np.float64)
    return _precision_and_recall(distances_between(both, both), len(made), k)


def distances_between(one: Features, other: Features) -> _Matrix:
    """Euclidean distances, (N, M); exactly 0 between equal rows."""
    from scipy.spatial.distance import cdist

    found: _Matrix = cdist(one, other)
    return found


def _precision_and_recall(distances: _Matrix, made: int, k: int) -> tuple[float | None, float | None]:
    if min(made, len(distances) - made) <= k:
        return None, None
    of_made, of_real, across = distances[:made, :made], distances[made:, made:], distances[:made, made:]
    # Index 0 is the image itself, or a copy of it, at distance 0.
    precision = (across <= np.partition(of_real, k, axis=1)[:, k]).any(axis=1).mean()
    recall = (across <= np.partition(of_made, k, axis=1)[:, k][:, None]).any(axis=0).mean()
    return float(precision), float(recall)


def _no_narrower_than_counts(figure: Figure, of: int) -> Figure:
    """The share with its interval widened to that of its count alone: 20 of 20 does not prove 100 %."""
    if figure.value is None or figure.low is None or figure.high is None:
        return figure
    low, high = clopper_pearson(round(figure.value * of), of)
    return replace(figure, low=max(0.0, min(low, figure.low)), high=min(1.0, max(high, figure.high)))


KEEP_RATE = 0.9
CHANGE_RATE = 0.5
LEAST_IMAGES = 5
"""Strengths with fewer images are left out."""
_DIGITS = 2


@dataclass(frozen=True)
class StrengthLimits:
    """The recommended strengths of a class, or of all classes together."""

    low: float | None
    """From this strength on, enough images change; None: at no tested strength."""
    high: float | None
    """Up to this strength, enough images keep their class; None: not even at the lowest tested strength."""
    images: int
    """Images at each strength that could lose their class; below `LEAST_IMAGES` there are no limits."""

    @property
    def is_range(self) -> bool:
        """Whether the two limits leave a range."""
        return self.low is not None and self.high is not None and self.low < self.high


def find_limits(
    strengths: Sequence[float],
    kept: Sequence[Share],
    changed: Sequence[Share],
    *,
    keep_rate: float = KEEP_RATE,
    change_rate: float = CHANGE_RATE,
) -> StrengthLimits:
    """The limits that follow from the counts at tested strengths, which rise.

    `kept` counts images that keep their class, among those whose source is predicted correctly; `changed` counts images
    that differ from their source by more than a second photograph of it would. At least `keep_rate` must keep, at least
    `change_rate` must change.
    """
    least = min((share.of for share in kept), default=0)
    tested = [place for place, share in enumerate(kept) if share.of >= LEAST_IMAGES <= changed[place].of]
    if not tested:
        return StrengthLimits(None, None, least)
    at = [strengths[place] for place in tested]
    falling = [-value for value in _isotonic([-kept[place].count / kept[place].of for place in tested])]
    rising = _isotonic([changed[place].count / changed[place].of for place in tested])
    scale = 10**_DIGITS
    low, high = _first_at_least(at, rising, change_rate), _last_at_least(at, falling, keep_rate)
    return StrengthLimits(
        low=None if low is None else math.ceil(round(low * scale, 6)) / scale,
        high=None if high is None else math.floor(round(high * scale, 6)) / scale,
        images=least,
    )


def _isotonic(values: Sequence[float]) -> list[float]:
    """The nearest non-decreasing sequence, by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools[-2:]
            pools[-2:] = [((one * n + other * m) / (n + m), n + m)]
    return [value for value, count in pools for _ in range(count)]


def _first_at_least(at: Sequence[float], rising: Sequence[float], rate: float) -> float | None:
    place = next((place for place, value in enumerate(rising) if value >= rate), None)
    if not place:
        return None if place is None else at[0]
    return _between(at, rising, place - 1, rate)


def _last_at_least(at: Sequence[float], falling: Sequence[float], rate: float) -> float | None:
    place = sum(value >= rate for value in falling) - 1  # they fall, so the first ones reach the rate
    if place == len(at) - 1:
        return at[-1]
    return None if place < 0 else _between(at, falling, place, rate)


def _between(at: Sequence[float], values: Sequence[float], place: int, rate: float) -> float:
    """Where the line from this place to the next reaches the rate."""
    left, right = values[place : place + 2]
    return at[place] + (at[place + 1] - at[place]) * (rate - left) / (right - left)
