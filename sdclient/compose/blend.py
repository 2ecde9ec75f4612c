"""A defect joined to the surface at its new place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from ..masks import composite
from .pixels import Area, Levels, Pixels, Plane, to_bytes, to_levels, to_picture
from .seam import gradient_across, seam_score
from .settings import Blend

Way = Literal["feather", "clone", "mixed"]
WAYS: tuple[Way, ...] = ("feather", "clone", "mixed")

LEAST_KEPT_RATE = 0.9
LEAST_LIKENESS = 0.99
"""A way of joining that leaves less of the defect is not taken, however little its seam."""
_LEAST_CLONED_PX = 4


@dataclass(frozen=True, eq=False)
class Blended:
    """A window with the defect in it."""

    levels: Levels
    way: Way
    seam: float
    """`seam_score` of it."""
    kept_rate: float
    """Share of the defect's contrast that is left; about 1 where nothing is lost."""
    likeness: float
    """Correlation of the levels inside the mask with the defect's own, -1 to 1; 1 where it only changed tone."""


def blend(patch: Pixels, there: Pixels, alpha: Plane, ring: Area, *, own_gradient: float, how: Blend) -> Blended:
    """Join a defect to a surface; outside the alpha's support the window stays as it is.

    "feather" takes each pixel by its alpha. "clone" and "mixed" solve Poisson's equation inside the support
    (Perez, Gangnet and Blake 2003, cv2.seamlessClone) and take that by its alpha. "auto" takes the way with the least
    seam among those that keep the defect.

    Args:
        patch: (H, W, C) the defect's window, its tone matched.
        there: (H, W, C) the new place's.
        alpha: (H, W) in steps of 1/255, as the mask file has it.
        ring: (H, W) the surroundings.
        own_gradient: `seam.gradient_across` of the defect where it really lies, in its pose.
        how: which way.
    """
    ways = WAYS if how == "auto" else (how,)
    return best_blend([_one(way, patch, there, alpha, ring, own_gradient) for way in ways])


def best_blend(tried: Sequence[Blended]) -> Blended:
    """The one with the least seam among those that keep the defect; the first one where none does.

    Less of a seam than a real defect has is no gain: of those the first is taken.
    """
    keeping = [one for one in tried if one.kept_rate >= LEAST_KEPT_RATE and one.likeness >= LEAST_LIKENESS]
    return min(keeping or tried[:1], key=lambda one: max(1.0, one.seam))


def _one(way: Way, patch: Pixels, there: Pixels, alpha: Plane, ring: Area, own_gradient: float) -> Blended:
    joined = patch if way == "feather" else _cloned(patch, there, alpha > 0, way)
    mask = Image.fromarray(to_bytes(255 * alpha))
    levels = to_levels(composite(to_picture(to_bytes(there)), to_picture(to_bytes(joined)), mask))
    pixels = levels.astype(np.float32)
    seam = seam_score(gradient_across(pixels, alpha), own_gradient)
    return Blended(levels, way, seam, *_kept(patch, pixels, alpha, ring))


def _cloned(patch: Pixels, there: Pixels, support: Area, way: Way) -> Pixels:
    """The window with the defect cloned into it; a support too small to have an inside stays as the patch has it."""
    rows, columns = np.flatnonzero(support.any(axis=1)), np.flatnonzero(support.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if min(bottom - top, right - left) < _LEAST_CLONED_PX:
        return patch
    colours = [np.ascontiguousarray(np.repeat(to_bytes(one), 3 // one.shape[2], axis=2)) for one in (patch, there)]
    # It puts the middle of the mask's bounding box at this point of the picture: where it is already.
    middle = (int(left + (right - left) // 2), int(top + (bottom - top) // 2))
    flag = cv2.NORMAL_CLONE if way == "clone" else cv2.MIXED_CLONE
    # Three channels: with a mask of one, OpenCV 5.0 gives the surface back and says nothing.
    mask = np.repeat(support.astype(np.uint8)[..., None] * np.uint8(255), 3, axis=2)
    cloned = cv2.seamlessClone(colours[0], colours[1], mask, middle, flag)
    return np.asarray(cloned, dtype=np.float32)[..., : patch.shape[2]]


def _kept(patch: Pixels, result: Pixels, alpha: Plane, ring: Area) -> tuple[float, float]:
    """How much of the defect is left inside the mask, as (slope, correlation) of the result's levels on the patch's.

    The slope is taken through the surroundings' median, the correlation through the means. Where the defect hardly
    differs from its surroundings there is nothing to lose: 1 and 1.
    """
    inside = alpha > 0.5
    if not inside.any() or not ring.any():
        return 1.0, 1.0
    wanted = (patch[inside] - np.median(patch[ring], axis=0)).astype(np.float64)
    found = (result[inside] - np.median(result[ring], axis=0)).astype(np.float64)
    power = float((wanted**2).sum())
    slope = float((wanted * found).sum() / power) if power > wanted.size else 1.0
    apart, found_apart = wanted - wanted.mean(axis=0), found - found.mean(axis=0)
    spread = float(np.sqrt((apart**2).sum() * (found_apart**2).sum()))
    return slope, float((apart * found_apart).sum() / spread) if spread > wanted.size else 1.0
