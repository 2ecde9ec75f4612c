"""A defect cut out of its picture by its mask, with the surface around it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from ..errors import SourceError
from .pixels import Area, Pixels, Plane, to_levels

_RING_RATE = 0.2
_FEWEST_RING_PIXELS = 16
_NARROWEST_RING_PX, _WIDEST_RING_PX = 5, 64


@dataclass(frozen=True, eq=False)
class Cutout:
    """A window of a picture around a defect; all arrays have its height and width."""

    pixels: Pixels
    alpha: Plane
    """How much of the defect's pixel a result takes, 0-1."""
    is_known: Area
    """False where the window reaches over the picture's border."""
    ring_px: int
    """Width of the surroundings that are compared."""

    @property
    def support(self) -> Area:
        """Where pixels change."""
        return self.alpha > 0

    @property
    def ring(self) -> Area:
        """The surroundings: within `ring_px` of the support, outside of it, and in the picture."""
        support = self.support
        reach = cv2.distanceTransform((~support).astype(np.uint8), cv2.DIST_L2, 5)
        return np.asarray((reach <= self.ring_px) & ~support & self.is_known, dtype=np.bool_)


def cut(picture: Image.Image, mask: Image.Image, name: str, *, fade_px: int = 0) -> Cutout:
    """Cut a defect out.

    Args:
        picture: "L" or "RGB".
        mask: "L", of the same size: white the defect, grey its soft edge.
        name: what to call it in an error.
        fade_px: where the picture ends within the defect, the alpha falls to 0 over this, so that no edge is hard.

    Raises:
        SourceError: the mask is empty, or leaves no surface around the defect to compare.
    """
    pixels = to_levels(picture).astype(np.float32)
    alpha = _fading_at_the_border(np.asarray(mask, dtype=np.float32) / np.float32(255), fade_px)
    rows, columns = np.flatnonzero(alpha.max(axis=1)), np.flatnonzero(alpha.max(axis=0))
    if not rows.size:
        raise SourceError(f"{name}: the mask is empty, so there is nothing to cut; draw the defect white")
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side_px = math.sqrt(float(bottom - top) * float(right - left))
    ring_px = min(_WIDEST_RING_PX, max(_NARROWEST_RING_PX, round(_RING_RATE * side_px)))
    window = (slice(top, bottom + 2 * ring_px), slice(left, right + 2 * ring_px))
    known = np.pad(np.ones(alpha.shape, dtype=np.bool_), ring_px)
    cutout = Cutout(
        pixels=np.pad(pixels, ((ring_px, ring_px), (ring_px, ring_px), (0, 0)), mode="edge")[window],
        alpha=np.pad(alpha, ring_px)[window],
        is_known=known[window],
        ring_px=ring_px,
    )
    if int(cutout.ring.sum()) < max(_FEWEST_RING_PIXELS, int(cutout.support.sum()) // 20):
        raise SourceError(
            f"{name}: the mask covers nearly the whole picture, so nothing shows what surface the defect lies on; "
            "give a narrower mask, or a larger picture"
        )
    return cutout


def _fading_at_the_border(alpha: Plane, fade_px: int) -> Plane:
    down, across = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in alpha.shape)
    ramp = np.clip((np.minimum(down[:, None], across[None, :]) + 1) / (fade_px + 1), 0, 1)
    return (alpha * ramp).astype(np.float32)
