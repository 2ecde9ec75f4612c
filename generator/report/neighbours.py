"""How near pictures out of noise lie to those learned from, so that learning by heart shows.

Distances are the root mean square of levels, over the turns and mirrorings that the training showed, and Euclidean in
the classifier's features. The measure is how much nearer a made picture lies than a real one that was not learned from
(after Meehan et al. 2020): a model that has learned the distribution lies as near as those do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .figures import BOOTSTRAP_DRAWS, CONFIDENCE, UNDEFINED, Figure
from .manifold import Features, distances_between
from .material import Pixels

_LEAST_REAL = 4
"""Fewer real pictures than this give no median to compare with."""


@dataclass(frozen=True)
class Symmetry:
    """Which orientations of a picture count as the same, for the training showed all of them."""

    flips: bool = False
    quarter_turns: bool = False


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest picture learned from, of each of N pictures."""

    place: npt.NDArray[np.intp]
    """(N,) in those learned from."""
    distance: npt.NDArray[np.float64]
    """(N,)."""


def nearest_in_pixels(
    pictures: Sequence[Pixels],
    learned: Sequence[Pixels],
    *,
    symmetry: Symmetry,
    not_itself: Sequence[int] | None = None,
) -> Nearest:
    """By root mean square of levels, 0 to 255.

    Args:
        pictures: (C, S, S) each.
        learned: (C, S, S) each, one or more.
        symmetry: which orientations count as the same.
        not_itself: place in `learned` of each picture, which does not count as its neighbour; -1 for none.
    """
    flat = np.stack([one.reshape(-1) for one in learned]).astype(np.float32)
    lengths = (flat.astype(np.float64) ** 2).sum(axis=1)
    found = np.empty((len(pictures), len(learned)))
    for row, picture in enumerate(pictures):
        turned = np.stack([one.reshape(-1) for one in _orientations(picture, symmetry)]).astype(np.float32)
        own = (turned.astype(np.float64) ** 2).sum(axis=1)
        squares = own[:, None] + lengths[None] - 2 * (turned @ flat.T)
        found[row] = np.sqrt(np.clip(squares.min(axis=0), 0, None) / flat.shape[1])
    return _nearest(found, not_itself)


def nearest_in_features(pictures: Features, learned: Features, *, not_itself: Sequence[int] | None = None) -> Nearest:
    """By Euclidean distance.

    Args:
        pictures: (N, D).
        learned: (M, D).
        not_itself: as in `nearest_in_pixels`.
    """
    return _nearest(distances_between(pictures.astype(np.float64), learned.astype(np.float64)), not_itself)


def ratio_of_medians(
    made: npt.NDArray[np.float64], real: npt.NDArray[np.float64], real_groups: Sequence[str], *, seed: int = 0
) -> Figure:
    """Median distance of made pictures by that of real ones, with a bootstrap interval; 1 is as near as real ones lie.

    The pictures learned from stay as they are, so nothing becomes its own neighbour when pictures are drawn twice.

    Args:
        made: (N,) distances to the nearest picture learned from.
        real: (M,) the same of real pictures.
        real_groups: (M,) which are drawn together.
        seed: of the bootstrap.
    """
    if not len(made) or len(real) < _LEAST_REAL or not np.median(real):
        return UNDEFINED
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(np.asarray(real_groups) == name) for name in sorted(set(real_groups))]
    ratios = []
    for _ in range(BOOTSTRAP_DRAWS):
        of_made = made[generator.integers(len(made), size=len(made))]
        drawn = generator.integers(len(members), size=len(members))
        of_real = np.median(real[np.concatenate([members[place] for place in drawn])])
        ratios.append(float(np.median(of_made) / of_real) if of_real else np.inf)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(float(np.median(made) / np.median(real)), float(low), float(high))


def nearer_rate(made: npt.NDArray[np.float64], real: npt.NDArray[np.float64]) -> float | None:
    """How often a made picture lies nearer than a real one, ties counting half: 0.5 is as real ones, 1 all nearer."""
    if not len(made) or not len(real):
        return None
    less, equal = made[:, None] < real[None], made[:, None] == real[None]
    return float((less + 0.5 * equal).mean())


def turned_towards(picture: Pixels, target: Pixels, symmetry: Symmetry) -> Pixels:
    """The picture in that one of its orientations which is nearest to the target."""
    aim = target.astype(np.float64)
    return min(_orientations(picture, symmetry), key=lambda one: float(((one.astype(np.float64) - aim) ** 2).sum()))


def _orientations(picture: Pixels, symmetry: Symmetry) -> list[Pixels]:
    """The picture itself first, then what the training made of it; none twice."""
    mirrored = [(False, False), (True, False), (False, True), (True, True)] if symmetry.flips else [(False, False)]
    found: dict[bytes, Pixels] = {}
    for turns in range(4 if symmetry.quarter_turns else 1):
        for sideways, upside_down in mirrored:
            one = np.rot90(picture, turns, axes=(1, 2))
            one = one[:, :, ::-1] if sideways else one
            one = np.ascontiguousarray(one[:, ::-1] if upside_down else one)
            found.setdefault(one.tobytes(), one)
    return list(found.values())


def _nearest(distances: npt.NDArray[np.float64], not_itself: Sequence[int] | None) -> Nearest:
    if not_itself is not None:
        rows = [row for row, place in enumerate(not_itself) if place >= 0]
        distances = distances.copy()
        distances[rows, [not_itself[row] for row in rows]] = np.inf
    place = distances.argmin(axis=1)
    return Nearest(place, distances[np.arange(len(distances)), place])
