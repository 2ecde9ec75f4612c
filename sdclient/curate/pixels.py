"""Pictures as arrays, the way every score wants them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdcore.images.decode import to_rgb

Grey: TypeAlias = npt.NDArray[np.float32]
"""(H, W) luma in levels of 0-255, weighted as in ITU-R BT.601."""
Array: TypeAlias = npt.NDArray[Any]


def grey_of(image: Image.Image) -> Grey:
    """The picture's luma.

    Args:
        image: of any mode; deep grey and transparency as `sdcore.images.decode.to_rgb` takes them.
    """
    return np.asarray(_flat(image).convert("L"), dtype=np.float32)


def levels_of(grey: Array) -> npt.NDArray[np.uint8]:
    """Rounded and clipped to 8 bits."""
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def fit_within(image: Image.Image, side_px: int) -> Image.Image:
    """The picture, shrunk so that its longer side is at most `side_px`."""
    factor = side_px / max(image.size)
    if factor >= 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BOX)


def _flat(image: Image.Image) -> Image.Image:
    return image if image.mode in {"L", "RGB"} else to_rgb(image)
