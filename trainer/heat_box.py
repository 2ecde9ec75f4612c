"""A heat map -> its hottest place and a box around the hottest region; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.05
"""The hottest region reaches down to this share of the peak; chosen on validation images by bench/pointing.py."""


@dataclass(frozen=True)
class HeatBox:
    """The hottest region of a picture, in its pixels."""

    peak_x: int
    peak_y: int
    """The hottest pixel, counted from 0 at the top left."""
    x0: int
    y0: int
    x1: int
    y1: int
    """Columns x0 to x1 - 1 and rows y0 to y1 - 1."""
    share: float
    """Of all heat, how much lies in the box; in [0, 1]."""


def find_hot_box(heat: npt.ArrayLike, *, level: float = LEVEL) -> HeatBox | None:
    """The box around the region that holds the peak.

    The region is every pixel of at least `level` times the peak that hangs together with it over edges or
    corners. The peak is the hottest pixel; on a plateau its middle; of several equal peaks the first by rows.
    Negative heat counts as none.

    Args:
        heat: (H, W).
        level: in (0, 1].

    Returns:
        The box, or None where the map points nowhere: no heat above 0, or the same everywhere.

    Raises:
        ValueError: not a map of two dimensions, values that are not finite, or a level out of range.
    """
    values = np.asarray(heat, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"heat: shape {values.shape}; expected (height, width)")
    if not np.isfinite(values).all():
        raise ValueError("heat: holds values that are not finite")
    if not 0 < level <= 1:
        raise ValueError(f"level: {level}; expected above 0 and at most 1")
    values = np.maximum(values, 0.0)
    highest = float(values.max())
    if highest <= 0 or float(values.min()) == highest:
        return None
    peak_y, peak_x = _middle_of_first_plateau(values == highest)
    regions, _ = ndimage.label(values >= level * highest, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(regions == regions[peak_y, peak_x])
    x0, x1 = int(columns.min()), int(columns.max()) + 1
    y0, y1 = int(rows.min()), int(rows.max()) + 1
    # Scaled first, for sums of very large or very small heat.
    scaled = values / highest
    return HeatBox(peak_x, peak_y, x0, y0, x1, y1, float(scaled[y0:y1, x0:x1].sum() / scaled.sum()))


def scale_box(box: HeatBox, *, size: tuple[int, int], to: tuple[int, int]) -> HeatBox:
    """The same region on a picture of another size; the sides may be scaled apart.

    Args:
        box: in pixels of a picture of `size`.
        size: width and height.
        to: width and height of the other picture. The box is rounded outwards, so it is never empty.
    """
    (width, height), (to_width, to_height) = size, to
    return HeatBox(
        peak_x=(2 * box.peak_x + 1) * to_width // (2 * width),
        peak_y=(2 * box.peak_y + 1) * to_height // (2 * height),
        x0=box.x0 * to_width // width,
        y0=box.y0 * to_height // height,
        x1=-(-box.x1 * to_width // width),
        y1=-(-box.y1 * to_height // height),
        share=box.share,
    )


def _middle_of_first_plateau(hottest: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the pixel of the first plateau that is nearest to its middle."""
    plateaus, _ = ndimage.label(hottest, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(plateaus == plateaus[hottest][0])
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(distance.argmin())
    return int(rows[nearest]), int(columns[nearest])
