"""How much of the border a defect was put in by can be seen."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .pixels import Area, Pixels, Plane

_CALM_LEVELS = 1.0


def border_of(alpha: Plane) -> Area:
    """The mask's border: its soft edge, and a pixel to either side."""
    support = (alpha > 0).astype(np.uint8)
    core = (alpha >= 1).astype(np.uint8)
    kernel = np.ones((3, 3), dtype=np.uint8)
    outside = cv2.dilate(support, kernel)
    inside = cv2.erode(core, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray((outside > 0) & (inside == 0), dtype=np.bool_)


def gradient_across(pixels: Pixels, alpha: Plane) -> float:
    """Mean gradient across the mask's border, in levels a px.

    The picture's gradient (Sobel's, a px apart) is projected onto the mask's own direction from outside to inside, and
    its absolute value averaged over border and channels, so that a step along the border counts and a trace that
    crosses it does not.
    """
    border = border_of(alpha)
    if not border.any():
        return 0.0
    soft = cv2.GaussianBlur(alpha, (0, 0), 2.0)
    normal_x, normal_y = _gradient(soft)
    length = np.hypot(normal_x, normal_y)
    border &= length > 1e-6
    if not border.any():
        return 0.0
    across = np.zeros(int(border.sum()))
    for channel in range(pixels.shape[2]):
        x, y = _gradient(np.ascontiguousarray(pixels[..., channel]))
        across += np.abs(x * normal_x + y * normal_y)[border] / length[border]
    return float(across.mean() / pixels.shape[2])


def seam_score(here: float, own: float) -> float:
    """Gradient across the result's border over that across the defect's own; 1 is no more of a seam than real.

    Args:
        here: `gradient_across` of the result.
        own: of the defect where it really lies.
    """
    return (here + _CALM_LEVELS) / (own + _CALM_LEVELS)


def _gradient(plane: NDArray[Any]) -> tuple[Plane, Plane]:
    x, y = (
        np.asarray(cv2.Sobel(plane, cv2.CV_32F, *order, ksize=3, scale=1 / 8), dtype=np.float32)
        for order in ((1, 0), (0, 1))
    )
    return x, y
