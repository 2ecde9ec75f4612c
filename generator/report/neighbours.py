"""Whether a model copies: how near its images from noise are to the images that it learned from.

Distances are the root mean square of grey levels, least over the rotations and reflections of the training, and
Euclidean in the classifier's features. They are compared with those of real images that the model did not learn from
(after Meehan et al. 2020): images of a model that has learned the distribution are as near as these.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sdcore.images.similarity import is_changed

from .classifier import ClassPredictions
from .material import GeneratedSamples, Material, image_of
from .results import Nearness, NearPair, Pixels
from .stats import BOOTSTRAP_DRAWS, CONFIDENCE, UNDEFINED, Features, Figure, distances_between, share_of

_LEAST_REAL = 4
"""Real images needed for a median to compare with."""
_SHOWN = 12


@dataclass(frozen=True)
class Symmetry:
    """The orientations that the training showed; they count as the same image."""

    flips: bool = False
    quarter_turns: bool = False


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each of N images, the nearest image learned from."""

    place: npt.NDArray[np.intp]
    """(N,) its index among the images learned from."""
    distance: npt.NDArray[np.float64]


def nearest_in_pixels(
    images: Sequence[Pixels], learned: Sequence[Pixels], *, symmetry: Symmetry, not_itself: Sequence[int] | None = None
) -> Nearest:
    """By root mean square of the levels 0 to 255 of (C, S, S) images; at least one is learned.

    `not_itself` is the index of each image in `learned`, so that it is not its own neighbour; -1 for none.
    """
    flat = np.stack([one.reshape(-1) for one in learned]).astype(np.float32)
    lengths = (flat.astype(np.float64) ** 2).sum(axis=1)
    found = np.empty((len(images), len(learned)))
    for row, image in enumerate(images):
        turned = np.stack([one.reshape(-1) for one in _orientations(image, symmetry)]).astype(np.float32)
        own = (turned.astype(np.float64) ** 2).sum(axis=1)
        squares = own[:, None] + lengths[None] - 2 * (turned @ flat.T)
        found[row] = np.sqrt(np.clip(squares.min(axis=0), 0, None) / flat.shape[1])
    return _nearest(found, not_itself)


def nearest_in_features(images: Features, learned: Features, *, not_itself: Sequence[int] | None = None) -> Nearest:
    """By Euclidean distance of features, (N, D) and (M, D); `not_itself` as in `nearest_in_pixels`."""
    return _nearest(distances_between(images.astype(np.float64), learned.astype(np.float64)), not_itself)


def ratio_of_medians(
    made: npt.NDArray[np.float64], real: npt.NDArray[np.float64], real_groups: Sequence[str], *, seed: int = 0
) -> Figure:
    """Median distance of generated images divided by that of real ones, with a bootstrap interval; 1: as near.

    Distances are to the nearest image learned from, (N,) and (M,). The bootstrap draws real images of one of the (M,)
    groups together. It never draws among the images learned from, so no image becomes its own neighbour.
    """
    if not len(made) or len(real) < _LEAST_REAL or not np.median(real):
        return UNDEFINED
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(np.asarray(real_groups) == name) for name in sorted(set(real_groups))]
    ratios = []
    for _ in range(BOOTSTRAP_DRAWS):
        of_made = made[rng.integers(len(made), size=len(made))]
        drawn = rng.integers(len(members), size=len(members))
        of_real = np.median(real[np.concatenate([members[place] for place in drawn])])
        ratios.append(float(np.median(of_made) / of_real) if of_real else np.inf)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(float(np.median(made) / np.median(real)), float(low), float(high))


def nearer_rate(made: npt.NDArray[np.float64], real: npt.NDArray[np.float64]) -> float | None:
    """How often a generated image is nearer than a real one, ties counting half; 0.5: as near, 1: all nearer."""
    if not len(made) or not len(real):
        return None
    less, equal = made[:, None] < real[None], made[:, None] == real[None]
    return float((less + 0.5 * equal).mean())


def turned_like(image: Pixels, target: Pixels, symmetry: Symmetry) -> Pixels:
    """The image in the orientation that is nearest to the target."""
    aim = target.astype(np.float64)
    return min(_orientations(image, symmetry), key=lambda one: float(((one.astype(np.float64) - aim) ** 2).sum()))


def _orientations(image: Pixels, symmetry: Symmetry) -> list[Pixels]:
    """The image as it is, then its other orientations in the training; each once."""
    mirrored = [(False, False), (True, False), (False, True), (True, True)] if symmetry.flips else [(False, False)]
    found: dict[bytes, Pixels] = {}
    for turns in range(4 if symmetry.quarter_turns else 1):
        for sideways, upside_down in mirrored:
            one = np.rot90(image, turns, axes=(1, 2))
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


class MemorisationCheck:
    """Finds the nearest neighbours of all images from noise: findings of each class, and the nearest pairs.

    `learned`, `held_out` and `pure` are the classifier's predictions on the images learned from, on the held-out
    images, and on the images from noise.
    """

    def __init__(
        self,
        classes: Sequence[str],
        material: Material,
        made: GeneratedSamples,
        *,
        learned: ClassPredictions,
        held_out: ClassPredictions,
        pure: ClassPredictions,
        symmetry: Symmetry,
    ) -> None:
        self._classes, self._material, self._made = classes, material, made
        self._symmetry, self._known = symmetry, [one.pixels for one in material.learned]
        self._learned_features, self._held_out_features = learned.features, held_out.features
        self._in_pixels = nearest_in_pixels(made.pure, self._known, symmetry=symmetry)
        self._in_features = nearest_in_features(pure.features, learned.features)
        self._is_copy = np.array([self._copies(place) for place in range(len(made.pure))], dtype=bool)
        self._real = [self._real_distances(label) for label in range(len(classes))]

    def of_class(self, label: int) -> Nearness:
        """Findings of one class."""
        mine = np.array(self._made.pure_labels) == label
        pixels, features = self._in_pixels.distance[mine], self._in_features.distance[mine]
        real_pixels, real_features, groups, real_are = self._real[label]
        return Nearness(
            made=int(mine.sum()),
            real=len(real_pixels),
            real_are=real_are,
            pixel_ratio=ratio_of_medians(pixels, real_pixels, groups),
            feature_ratio=ratio_of_medians(features, real_features, groups),
            pixel_nearer_rate=nearer_rate(pixels, real_pixels),
            feature_nearer_rate=nearer_rate(features, real_features),
            copies=share_of(self._is_copy[mine], [str(place) for place in np.flatnonzero(mine)]),
        )

    def pairs(self) -> tuple[NearPair, ...]:
        """The nearest pairs: copies first, then by distance relative to real images of the class."""
        found = [self._pair(place) for place in range(len(self._made.pure))]
        found.sort(key=lambda one: (not one.is_copy, one.distance if one.ratio is None else one.ratio))
        return tuple(found[:_SHOWN])

    def _pair(self, place: int) -> NearPair:
        label = self._made.pure_labels[place]
        by_pixels = self._material.learned[int(self._in_pixels.place[place])]
        by_features = self._material.learned[int(self._in_features.place[place])]
        distance = float(self._in_pixels.distance[place])
        usual = float(np.median(self._real[label][0])) if len(self._real[label][0]) else 0.0
        return NearPair(
            class_name=self._classes[label],
            made=turned_like(self._made.pure[place], by_pixels.pixels, self._symmetry),
            in_pixels=by_pixels.pixels,
            in_features=by_features.pixels,
            in_pixels_file=by_pixels.file,
            in_features_file=by_features.file,
            distance=distance,
            ratio=distance / usual if usual else None,
            is_copy=bool(self._is_copy[place]),
        )

    def _copies(self, place: int) -> bool:
        nearest = self._known[int(self._in_pixels.place[place])]
        turned = turned_like(self._made.pure[place], nearest, self._symmetry)
        return not is_changed(image_of(turned), image_of(nearest))

    def _real_distances(self, label: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[str], str]:
        """Distances of real images in pixels and in features, their groups, and which images these are, in words."""
        held = [place for place, one in enumerate(self._material.held_out) if one.label == label]
        itself: list[int] | None
        if len(held) >= _LEAST_REAL:
            real, real_features = [self._material.held_out[place] for place in held], self._held_out_features[held]
            itself, real_are = None, "held-out real pictures"
        else:
            itself = [place for place, one in enumerate(self._material.learned) if one.label == label]
            if len(self._known) < 2 or not itself:
                return np.zeros(0), np.zeros(0), [], "none"
            real = [self._material.learned[place] for place in itself]
            real_features, real_are = self._learned_features[itself], "pictures learned from, each without itself"
        in_pixels = [one.pixels for one in real]
        pixels = nearest_in_pixels(in_pixels, self._known, symmetry=self._symmetry, not_itself=itself)
        features = nearest_in_features(real_features, self._learned_features, not_itself=itself)
        return pixels.distance, features.distance, [one.group for one in real], real_are
