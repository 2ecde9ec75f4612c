"""Precision and recall of a set of pictures, and a kernel distance to real ones. Pure.

(Kynkaanniemi et al. 2019, Improved Precision and Recall; Binkowski et al. 2018, Demystifying MMD GANs.)

The manifold of a set is the union of balls about its pictures, each as far as the picture's k-th nearest neighbour in
the set. Precision is the share of made pictures inside the real manifold, recall the share of real ones inside the made
manifold. Both depend on how many pictures a set has; compare figures of equal numbers only.

The kernel distance is the unbiased estimate of the squared maximum mean discrepancy under (x y / D + 1)^3, D being the
number of features. Of two sets of one distribution it is 0 on average, so it can be below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .figures import UNDEFINED, Figure, clopper_pearson
from .halves import DRAWS, Places, draw_halves, interval_of

Features = npt.NDArray[np.floating]
_Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SetComparison:
    """How made pictures compare with real ones."""

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
    """Precision, recall and kernel distance, each with its interval.

    A figure is undefined where a set has not more than k pictures (kernel distance: fewer than 2).

    Args:
        made: (N, D) features of made pictures.
        real: (M, D) of real ones.
        made_groups: (N,) which made pictures hang together.
        real_groups: (M,) which real ones do.
        k: the neighbour that gives the radius of a ball, 1 or more.
        draws: halves drawn for the intervals.
        seed: of these.
    """
    n, m = len(made), len(real)
    if min(n, m) < 2:
        return SetComparison(n, m, UNDEFINED, UNDEFINED, UNDEFINED)
    both = np.concatenate([made, real]).astype(np.float64)
    distances, kernel = distances_between(both, both), kernel_between(both, both)
    everything = np.arange(n), np.arange(m)

    def figures(of_made: Places, of_real: Places) -> tuple[float | None, float | None, float | None]:
        places = np.concatenate([of_made, n + of_real])
        taken = np.ix_(places, places)
        precision, recall = _precision_and_recall(distances[taken], len(of_made), k)
        return precision, recall, _discrepancy(kernel[taken], len(of_made))

    value = figures(*everything)
    generator = np.random.default_rng(seed)
    pairs = zip(draw_halves(made_groups, draws, generator), draw_halves(real_groups, draws, generator), strict=True)
    found = [figures(*pair) for pair in pairs]
    precision, recall, kernel_distance = (
        interval_of(one, [replicate[place] for replicate in found]) for place, one in enumerate(value)
    )
    return SetComparison(
        n, m, _no_narrower_than_counts(precision, n), _no_narrower_than_counts(recall, m), kernel_distance
    )


def precision_and_recall(made: Features, real: Features, k: int) -> tuple[float | None, float | None]:
    """Both shares; None where a set has not more than k pictures.

    Args:
        made: (N, D).
        real: (M, D).
        k: 1 or more.
    """
    both = np.concatenate([made, real]).astype(np.float64)
    return _precision_and_recall(distances_between(both, both), len(made), k)


def kernel_distance(made: Features, real: Features) -> float | None:
    """The unbiased squared discrepancy; None where a set has fewer than 2 pictures.

    Args:
        made: (N, D).
        real: (M, D).
    """
    both = np.concatenate([made, real]).astype(np.float64)
    return _discrepancy(kernel_between(both, both), len(made))


def distances_between(one: Features, other: Features) -> _Matrix:
    """Euclidean distances, (N, M); of equal rows exactly 0."""
    from scipy.spatial.distance import cdist

    found: _Matrix = cdist(one, other)
    return found


def kernel_between(one: Features, other: Features) -> _Matrix:
    """(x y / D + 1)^3 of all pairs, (N, M)."""
    return np.asarray((one @ other.T / one.shape[1] + 1) ** 3, dtype=np.float64)


def _precision_and_recall(distances: _Matrix, made: int, k: int) -> tuple[float | None, float | None]:
    if min(made, len(distances) - made) <= k:
        return None, None
    of_made, of_real, across = distances[:made, :made], distances[made:, made:], distances[:made, made:]
    # The nearest of all is the picture itself, or a copy of it at the same distance 0.
    precision = (across <= np.partition(of_real, k, axis=1)[:, k]).any(axis=1).mean()
    recall = (across <= np.partition(of_made, k, axis=1)[:, k][:, None]).any(axis=0).mean()
    return float(precision), float(recall)


def _discrepancy(kernel: _Matrix, made: int) -> float | None:
    real = len(kernel) - made
    if min(made, real) < 2:
        return None
    of_made, of_real, across = kernel[:made, :made], kernel[made:, made:], kernel[:made, made:]

    def mean_of_pairs(square: _Matrix) -> float:
        return float((square.sum() - np.trace(square)) / (len(square) * (len(square) - 1)))

    return mean_of_pairs(of_made) + mean_of_pairs(of_real) - 2 * float(across.mean())


def _no_narrower_than_counts(figure: Figure, of: int) -> Figure:
    """A share's interval, not narrower than counting alone makes it: all of 20 is not surely all."""
    if figure.value is None or figure.low is None or figure.high is None:
        return figure
    low, high = clopper_pearson(round(figure.value * of), of)
    return replace(figure, low=max(0.0, min(low, figure.low)), high=min(1.0, max(high, figure.high)))
