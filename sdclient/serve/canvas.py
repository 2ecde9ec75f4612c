"""How the source meets the asked size; numbered as the WebUI's `resize_mode`."""

from __future__ import annotations

import numpy as np
from PIL import Image

STRETCH, CROP, FILL, LATENT = 0, 1, 2, 3


def resize_source(image: Image.Image, mode: int, size: tuple[int, int]) -> Image.Image:
    """The image at exactly this size.

    Args:
        image: RGB or L.
        mode: 0 stretches, 1 crops what sticks out, 3 stretches too (the WebUI does it in latent space);
            2 and any other number keep the whole picture and repeat its edge where it does not reach.
        size: (width, height) in px.

    Raises:
        ValueError: a size that is not positive.
    """
    width, height = size
    if width <= 0 or height <= 0:
        raise ValueError("height and width must be > 0")
    if mode in (STRETCH, LATENT):
        return image.resize(size, Image.Resampling.LANCZOS)
    wider = width * image.height > height * image.width
    if wider == (mode == CROP):
        scaled = image.resize((width, max(1, image.height * width // image.width)), Image.Resampling.LANCZOS)
    else:
        scaled = image.resize((max(1, image.width * height // image.height), height), Image.Resampling.LANCZOS)
    return _centred(scaled, size)


def _centred(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop to the size about the centre, or extend by repeating the edge."""
    width, height = size
    left, top = (width - image.width) // 2, (height - image.height) // 2
    rows = np.clip(np.arange(height) - top, 0, image.height - 1)
    columns = np.clip(np.arange(width) - left, 0, image.width - 1)
    return Image.fromarray(np.asarray(image)[rows][:, columns])
