"""What real images teach: the limits of each class, and the looks that an image is compared with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .limits import Threshold, lower_limits, upper_limits
from .real import ClassStatistics
from .tone import Distances, Look, Looks, colour_distances, is_grey, tone_distances

OWN_LOOKS = 100
"""A class with fewer real images is compared with the looks of all classes: nearest neighbours in a handful are far."""
LEAST_TONE_LEVELS = 16.0
"""No limit of tone is below this: another exposure is no fault."""
LEAST_COLOUR_LEVELS = 10.0
LEAST_GRAIN_LEVELS = 2.0
MOST_SHARPNESS = 0.9
_UNKNOWN = ""


@dataclass(frozen=True)
class LearnedThresholds:
    """Thresholds of one class; None where the real images do not tell."""

    sharpness: Threshold | None
    """Lowest that is real."""
    soft: float | None
    """Sharpness below which a picture without texture is called blurred, not an oil painting."""
    texture: Threshold | None
    """Lowest that is real, levels."""
    grain: Threshold | None
    """Highest that is real, levels."""
    tone_distance: Threshold | None
    colour_distance: Threshold | None


class ReferenceModel:
    """Real images of all classes, and the limits that follow from them.

    Args:
        real: measures by class, at least one class with an image.
    """

    def __init__(self, real: Mapping[str, ClassStatistics]) -> None:
        self._looks = {name: measured.looks for name, measured in real.items()}
        self._everything: Looks = np.concatenate(list(self._looks.values()))
        self.counts = {name: measured.count for name, measured in real.items()}
        self._limits = self._learn(real)

    def looks_for(self, class_name: str) -> Looks:
        """What an image of this class is compared with."""
        own = self._looks.get(class_name)
        return own if own is not None and len(own) >= OWN_LOOKS else self._everything

    def tone_distance(self, class_name: str, look: Look) -> float:
        """Distance in luma to the nearest real image, levels from 0."""
        return float(tone_distances(look, self.looks_for(class_name)).min())

    def colour_distance(self, class_name: str, look: Look) -> float | None:
        """Distance in luma and colour to the nearest real image; None where neither has colour."""
        looks = self.looks_for(class_name)
        return None if is_grey(look) and is_grey(looks) else float(colour_distances(look, looks).min())

    def limits_for(self, class_name: str) -> LearnedThresholds:
        """Thresholds of a class; one without real images gets those of all classes together."""
        return self._limits.get(class_name, self._limits[_UNKNOWN])

    def _learn(self, real: Mapping[str, ClassStatistics]) -> dict[str, LearnedThresholds]:
        sharp = {name: _known(measured.sharpness) for name, measured in real.items()} | {_UNKNOWN: np.zeros(0)}
        texture = {name: measured.texture for name, measured in real.items()} | {_UNKNOWN: np.zeros(0)}
        grain = {name: measured.grain for name, measured in real.items()} | {_UNKNOWN: np.zeros(0)}
        sharpness = lower_limits(sharp, most=MOST_SHARPNESS)
        textures = lower_limits(texture, most=np.inf)
        grains = upper_limits(grain, least=LEAST_GRAIN_LEVELS)
        tones = upper_limits(self._left_out(tone_distances), least=LEAST_TONE_LEVELS)
        colours = upper_limits(self._left_out(colour_distances), least=LEAST_COLOUR_LEVELS)
        everything = np.concatenate(list(sharp.values()))
        return {
            name: LearnedThresholds(
                sharpness=sharpness.get(name),
                soft=_soft(sharp[name] if len(sharp[name]) else everything),
                texture=textures.get(name),
                grain=grains.get(name),
                tone_distance=tones.get(name),
                colour_distance=colours.get(name),
            )
            for name in (*real, _UNKNOWN)
        }

    def _left_out(self, distances: Callable[[Look, Looks], Distances]) -> dict[str, Distances]:
        """Distance of each real image to the nearest of those it would be compared with, itself left out."""
        found: dict[str, Distances] = {_UNKNOWN: np.zeros(0)}
        start = 0
        for name, own in self._looks.items():
            others = self.looks_for(name)
            first = 0 if others is own else start
            start += len(own)
            rows = np.full(len(own), np.inf)
            for place, look in enumerate(own):
                row = distances(look, others)
                row[first + place] = np.inf
                rows[place] = row.min()
            found[name] = rows[np.isfinite(rows)]
        return found


def _known(values: Distances) -> Distances:
    return values[~np.isnan(values)]


def _soft(values: Distances) -> float | None:
    """A little under the median: with texture gone, edges that are no crisper than this were blurred, not painted."""
    return 0.85 * float(np.median(values)) if len(values) else None
