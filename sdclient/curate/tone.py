"""Brightness, contrast and colour of a picture as distributions, and how far they are from those of real images. Pure.

A distribution stands there as `QUANTILES` quantiles of luma and of the colour differences Cb and Cr. The distance of
two is the first Wasserstein distance (earth mover's): by how many levels the pixels of one would have to change on the
average to have the distribution of the other, which is the mean difference of the quantiles.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdcore.images.decode import to_rgb

QUANTILES = 32
"""Those at (i + 1/2) / 32."""

Look: TypeAlias = npt.NDArray[np.float32]
"""(3, QUANTILES) of Y, Cb and Cr (ITU-R BT.601), in levels, ascending along the last axis."""
Looks: TypeAlias = npt.NDArray[np.float32]
"""(N, 3, QUANTILES)"""
Distances: TypeAlias = npt.NDArray[np.float64]

_NEUTRAL_LEVEL = 128
_GREY_LEVELS = 1.0


def look_of(image: Image.Image) -> Look:
    """Distributions of luma and colour of a picture of any mode."""
    planes = to_rgb(image).convert("YCbCr")
    # Counted, not sorted: a quantile is the lowest level that has its share of the pixels at or below it.
    below = np.cumsum(np.array(planes.histogram()).reshape(3, 256), axis=1)
    shares = np.ceil((np.arange(QUANTILES) + 0.5) / QUANTILES * (planes.width * planes.height))
    return np.stack([np.searchsorted(one, shares).astype(np.float32) for one in below])


def tone_distances(one: Look, others: Looks) -> Distances:
    """(N,) distance in luma to each of the others, 0 to 255 levels."""
    return np.asarray(np.abs(others[:, 0] - one[0]).mean(axis=-1), dtype=np.float64)


def colour_distances(one: Look, others: Looks) -> Distances:
    """(N,) distance in luma and colour together, 0 to 442 levels: root of the sum of squares over the three planes.

    Together, for what is told so is a colour that does not belong to its brightness: gold as dark as lacquer.
    """
    by_plane = np.abs(others - one).mean(axis=-1)
    return np.asarray(np.sqrt(np.square(by_plane).sum(axis=-1)), dtype=np.float64)


def is_grey(look: Look | Looks) -> bool:
    """Whether there is no colour in it but rounding."""
    return bool(np.abs(look[..., 1:, :] - _NEUTRAL_LEVEL).max(initial=0) <= _GREY_LEVELS)
