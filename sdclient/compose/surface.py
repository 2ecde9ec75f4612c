"""How well the surface at a new place fits the surface around a defect, at every place of a picture at once.

Compared are the pixels of the ring around the defect with those that would lie around it. Three things, in levels:

structure  what is left between the two after their mean levels are brought together, in a slightly smoothed picture:
           an edge or a trace that does not go on; as the root of the mean square over ring and channels.
texture    how far the strength of the finest detail differs: a matt surface is no weave.
tone       how far the mean levels lie apart; the tone is matched afterwards, so this weighs a quarter.

The mismatch is the root of their summed squares over `hypot(FLOOR_LEVELS, spread)`, where the spread is the standard
deviation of the defect's own ring: a busy surface forgives more than a plain one. 0 is the very same surface; two
unrelated places of a busy one are at about 1.4.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .cut import Cutout
from .pixels import Area, Levels, Pixels, Plane

FLOOR_LEVELS = 40.0
_TONE_WEIGHT = 0.25
_SMOOTH_SIGMA_PX = 1.0
_WORST_SHARE = 0.95


class Surface:
    """A picture that defects may be put on.

    Args:
        levels: (H, W, C), 8 bit.
    """

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self._reduced: dict[int, Surface] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), px."""
        return self.levels.shape[0], self.levels.shape[1]

    def reduced(self, factor: int) -> Surface:
        """The same picture so many times smaller."""
        if factor not in self._reduced:
            height, width = self.size
            size = (max(1, width // factor), max(1, height // factor))
            small = cv2.resize(self.levels, size, interpolation=cv2.INTER_AREA)
            self._reduced[factor] = Surface(np.asarray(small, dtype=np.uint8).reshape(size[1], size[0], -1))
        return self._reduced[factor]

    def window(self, top: int, left: int, height: int, width: int) -> Pixels:
        """Levels of a window; mirrored where it reaches over the border."""
        rows, columns = self.size
        down = _mirrored(np.arange(top, top + height), rows)
        across = _mirrored(np.arange(left, left + width), columns)
        return self.levels[down[:, None], across[None, :]].astype(np.float32)


def mismatch_map(pixels: Pixels, cutout: Cutout) -> Plane:
    """The mismatch of each place; element (y, x) is that of the window whose upper left corner lies at (y, x).

    Args:
        pixels: of the picture, or of the part of it to look at; no smaller than the cutout.
        cutout: the defect in its pose, in as many channels as the surface.
    """
    ring = cutout.ring
    weight = ring.astype(np.float32) / max(1, int(ring.sum()))
    smooth = _smoothed(pixels)
    own = _smoothed_within(cutout.pixels, ring)
    total = np.zeros((), dtype=np.float32)
    tone = np.zeros((), dtype=np.float32)
    variance = 0.0
    for channel in range(own.shape[2]):
        mine, there = own[..., channel], smooth[..., channel]
        mean = float((weight * mine).sum())
        spread = float((weight * (mine - mean) ** 2).sum())
        # Levels around a middle one: squares of small numbers lose fewer digits.
        centred = there - mean
        level = _correlated(centred, weight)
        square = _correlated(centred * centred, weight)
        cross = _correlated(centred, weight * (mine - mean))
        total = total + np.maximum(square - level**2 + spread - 2 * cross, 0)
        tone = tone + level**2
        variance += spread
    channels = own.shape[2]
    fine = np.sqrt(np.maximum(_correlated(_squared_detail(pixels, smooth), weight), 0))
    own_fine = float(np.sqrt((weight * _squared_detail(cutout.pixels, own)).sum()))
    levels = np.sqrt((total + _TONE_WEIGHT**2 * tone) / channels + (fine - own_fine) ** 2)
    return np.asarray(levels / np.hypot(FLOOR_LEVELS, np.sqrt(variance / channels)), dtype=np.float32)


def worst_mismatch(pixels: Pixels, cutout: Cutout) -> float:
    """The mismatch of the ring's worst parts, where a trace ends at the border though most of the ring fits.

    The 95 % quantile, over the ring, of how far the smoothed levels lie apart after their mean levels are brought
    together (the mean over the channels), in the same unit as the mismatch.

    Args:
        pixels: the new place's window, as large as the cutout's.
        cutout: the defect in its pose.
    """
    ring = cutout.ring
    own = _smoothed_within(cutout.pixels, ring)[ring]
    apart = _smoothed(pixels)[ring] - own
    worst = float(np.quantile(np.abs(apart - apart.mean(axis=0)).mean(axis=1), _WORST_SHARE))
    return worst / float(np.hypot(FLOOR_LEVELS, np.sqrt(own.var(axis=0).mean())))


def touches(area: Area, support: Area) -> Area:
    """Whether the support, its window put at each place, meets the area; shaped as a mismatch map."""
    if not area.any():
        shape = (area.shape[0] - support.shape[0] + 1, area.shape[1] - support.shape[1] + 1)
        return np.zeros(shape, dtype=np.bool_)
    return np.asarray(_correlated(area, support) > 0.5, dtype=np.bool_)


def _correlated(plane: NDArray[Any], kernel: NDArray[Any]) -> Plane:
    there, own = (np.ascontiguousarray(one, dtype=np.float32) for one in (plane, kernel))
    return np.asarray(cv2.matchTemplate(there, own, cv2.TM_CCORR), dtype=np.float32)


def _smoothed(pixels: Pixels) -> Pixels:
    smooth = cv2.GaussianBlur(pixels, (0, 0), _SMOOTH_SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(smooth, dtype=np.float32).reshape(pixels.shape)


def _smoothed_within(pixels: Pixels, area: Area) -> Pixels:
    """Smoothed out of the area's own pixels alone, so that the defect does not shine into its surroundings."""
    weight = area.astype(np.float32)[..., None]
    total = np.maximum(_smoothed(weight), 1e-6)
    return np.where(weight > 0, _smoothed(pixels * weight) / total, 0).astype(np.float32)


def _squared_detail(pixels: Pixels, smooth: Pixels) -> Plane:
    """What smoothing took away, squared, as the mean over the channels."""
    return np.asarray(((pixels - smooth) ** 2).mean(axis=2), dtype=np.float32)


def _mirrored(places: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    period = max(1, 2 * (length - 1))
    folded = np.asarray(np.abs(places) % period, dtype=np.intp)
    return np.minimum(folded, period - folded)
