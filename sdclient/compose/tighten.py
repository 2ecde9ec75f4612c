"""A mask that was drawn as a box, drawn in to the defect in it.

A box holds the defect and surface around it, and that surface has to find its like at a new place: the larger the box,
the fewer the places. What the surroundings go on as within the box is painted by cv2.inpaint (Navier-Stokes, after
Bertalmio, Bertozzi and Sapiro 2001); what differs from it by more than the surface's own grain is the defect.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from .pixels import Area, to_levels

BOX_RATE = 0.93
"""A mask that fills so much of the box around it is a box."""

_RADIUS_PX = 3
_LEAST_LEVELS = 14.0
_GRAINS = 4.0
_LEAST_SHARE = 0.01
_MOST_SHARE = 0.9


def is_box(mask: Image.Image) -> bool:
    """Whether a mask's hard area is a filled box, one alone."""
    hard = np.asarray(mask, dtype=np.uint8) >= 128
    rows, columns = np.flatnonzero(hard.any(axis=1)), np.flatnonzero(hard.any(axis=0))
    if not rows.size:
        return False
    box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return bool(hard.sum() >= BOX_RATE * box)


def tighten_mask(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The part of the mask in which the picture is not what its surroundings go on as; hard.

    The whole mask where hardly anything or nearly everything of it is.

    Args:
        picture: "L" or "RGB".
        mask: "L", of the same size.
    """
    levels = to_levels(picture)
    hard = np.asarray(mask, dtype=np.uint8) >= 128
    if hard.all() or not hard.any():
        return mask
    expected = cv2.inpaint(levels, hard.astype(np.uint8), _RADIUS_PX, cv2.INPAINT_NS)
    apart = np.abs(np.asarray(expected, dtype=np.float32).reshape(levels.shape) - levels).max(axis=2)
    apart = cv2.GaussianBlur(apart, (0, 0), 0.8)
    found = hard & (apart > max(_LEAST_LEVELS, _GRAINS * _grain(levels, hard)))
    found = np.asarray(cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))) > 0
    share = float(found.sum()) / float(hard.sum())
    if not _LEAST_SHARE <= share <= _MOST_SHARE:
        return mask
    return Image.fromarray(found.astype(np.uint8) * np.uint8(255))


def _grain(levels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], hard: Area) -> float:
    """Deviation of the finest detail around the mask, robustly, in levels."""
    near = np.asarray(cv2.dilate(hard.astype(np.uint8), np.ones((17, 17), np.uint8))) > 0
    ring = near & ~hard
    pixels = levels.astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.0)).reshape(pixels.shape)
    return 1.4826 * float(np.median(np.abs(pixels - smooth)[ring])) if ring.any() else 0.0
