"""Findings about pictures out of noise and their nearest neighbours among those learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sdcore.images.similarity import is_changed

from .classifier import Opinions
from .figures import share_of
from .making import MadePictures
from .material import Material, image_of
from .neighbours import (
    Nearest,
    Symmetry,
    nearer_rate,
    nearest_in_features,
    nearest_in_pixels,
    ratio_of_medians,
    turned_towards,
)
from .results import Nearness, NearPair

_LEAST_HELD_OUT = 4
_SHOWN = 12


class NearnessJudge:
    """Looks up neighbours once; findings by class and the nearest pairs come from them.

    Args:
        classes: of the model.
        material: the real pictures.
        made: the made ones.
        learned: what the classifier says of the pictures learned from.
        held_out: of the held-out ones.
        pure: of those out of noise.
        symmetry: which orientations the training showed.
    """

    def __init__(
        self,
        classes: Sequence[str],
        material: Material,
        made: MadePictures,
        *,
        learned: Opinions,
        held_out: Opinions,
        pure: Opinions,
        symmetry: Symmetry,
    ) -> None:
        self._classes, self._material, self._made = classes, material, made
        self._symmetry = symmetry
        self._known = [one.pixels for one in material.learned]
        self._learned_features = learned.features
        self._in_pixels = nearest_in_pixels(made.pure, self._known, symmetry=self._symmetry)
        self._in_features = nearest_in_features(pure.features, learned.features)
        self._held_out_features = held_out.features
        self._is_copy = np.array([self._copies(place) for place in range(len(made.pure))], dtype=bool)
        self._real = [self._real_distances(label) for label in range(len(classes))]

    def of_class(self, label: int) -> Nearness:
        """Findings of one class."""
        mine = np.array(self._made.pure_labels) == label
        pixels, features = self._in_pixels.distance[mine], self._in_features.distance[mine]
        real_pixels, real_features, groups, words = self._real[label]
        return Nearness(
            made=int(mine.sum()),
            real=len(real_pixels),
            real_are=words,
            pixel_ratio=ratio_of_medians(pixels, real_pixels, groups),
            feature_ratio=ratio_of_medians(features, real_features, groups),
            pixel_nearer_rate=nearer_rate(pixels, real_pixels),
            feature_nearer_rate=nearer_rate(features, real_features),
            copies=share_of(self._is_copy[mine], [str(place) for place in np.flatnonzero(mine)]),
        )

    def pairs(self) -> tuple[NearPair, ...]:
        """The pictures that lie nearest, by the measure of their class, copies first."""
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
            made=turned_towards(self._made.pure[place], by_pixels.pixels, self._symmetry),
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
        turned = turned_towards(self._made.pure[place], nearest, self._symmetry)
        return not is_changed(image_of(turned), image_of(nearest))

    def _real_distances(self, label: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[str], str]:
        """Distances of real pictures in pixels and in features, their groups, and which pictures they are."""
        held = [place for place, one in enumerate(self._material.held_out) if one.label == label]
        if len(held) >= _LEAST_HELD_OUT:
            real = [self._material.held_out[place] for place in held]
            pixels = nearest_in_pixels([one.pixels for one in real], self._known, symmetry=self._symmetry)
            features = nearest_in_features(self._held_out_features[held], self._learned_features)
            words = "held-out real pictures"
        else:
            itself = [place for place, one in enumerate(self._material.learned) if one.label == label]
            real = [self._material.learned[place] for place in itself]
            if len(self._known) < 2 or not itself:
                nothing = Nearest(np.zeros(0, dtype=np.intp), np.zeros(0))
                return nothing.distance, nothing.distance, [], "none"
            pixels = nearest_in_pixels(
                [one.pixels for one in real], self._known, symmetry=self._symmetry, not_itself=itself
            )
            features = nearest_in_features(self._learned_features[itself], self._learned_features, not_itself=itself)
            words = "pictures learned from, each without itself"
        return pixels.distance, features.distance, [one.group for one in real], words
