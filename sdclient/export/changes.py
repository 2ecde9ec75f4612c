"""Where a generated image differs from the picture it was made on, as boxes.

One connected area of the mask is one box: it is the place that was repainted, and what lies in it belongs together,
however many of its pixels came out as they were. The box is drawn around the changed pixels in that area, so that it
is never larger than the area and holds all of them; the soft edge of the mask counts, since pixels change there too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ..errors import ExportError

_HALF = 128
_TOUCHING = np.ones((3, 3), dtype=np.bool_)


def changed_boxes(
    made: Image.Image, base: Image.Image, mask: Image.Image, *, min_change: int = 1
) -> list[tuple[int, int, int, int]]:
    """A box around the changed pixels of every connected area (8 neighbours) of the mask.

    Args:
        made: the generated image, 8 bit.
        base: the picture whose pixels stay where the mask is 0; of the same mode and size.
        mask: mode "L", of that size.
        min_change: levels from which on a pixel inside the mask counts as changed, in any channel.

    Returns:
        (left, top, right, bottom) in px, right and bottom exclusive; from top to bottom. Areas in which nothing changed
        have none.

    Raises:
        ExportError: sizes differ, or pixels changed where the mask is 0.
    """
    if not made.size == base.size == mask.size:
        raise ExportError(f"sizes {made.size}, {base.size} and mask {mask.size} px; expected them equal")
    change = _change(made, base)
    inside = np.asarray(mask) > 0
    outside = int(np.count_nonzero(change[~inside]))
    if outside:
        raise ExportError(f"{outside} pixels changed outside of its mask")
    areas, _ = ndimage.label(inside, structure=_TOUCHING)
    areas[change < min_change] = 0
    return [
        (across.start, down.start, across.stop, down.stop)
        for found in ndimage.find_objects(areas)
        if found is not None
        for down, across in [found]
    ]


def kept_boxes(of_source: Image.Image, mask: Image.Image) -> list[tuple[int, int, int, int]]:
    """A box around every connected area of a source's mask that an image's mask does not touch: what stayed as it was.

    Args:
        of_source: mode "L", where the source's defect is; its soft edge does not count.
        mask: mode "L", of the same size, where the image was repainted.

    Returns:
        As `changed_boxes`.
    """
    areas, _ = ndimage.label(np.asarray(of_source) >= _HALF, structure=_TOUCHING)
    touched = set(np.unique(areas[np.asarray(mask) > 0]).tolist())
    return [
        (across.start, down.start, across.stop, down.stop)
        for number, (down, across) in enumerate(ndimage.find_objects(areas), start=1)
        if number not in touched
    ]


def _change(made: Image.Image, base: Image.Image) -> NDArray[np.uint8]:
    """(H, W) largest difference over the channels, in levels."""
    first, second = np.asarray(made), np.asarray(base)
    change = np.maximum(first, second) - np.minimum(first, second)
    return change if change.ndim == 2 else np.asarray(change.max(axis=2))
