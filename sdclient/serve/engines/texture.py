"""A picture out of a seed alone, for txt2img: cloudy colour with a grain. Not Stable Diffusion.

Smooth random fields of growing fineness are added up, each half as strong as the one before, and coloured by a
random ramp. No word of a prompt has any influence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_COARSEST_KNOTS = 3
_OCTAVES = 6
_GRAIN_LEVELS = 3.0


def texture(size: tuple[int, int], seed: tuple[int, ...]) -> Image.Image:
    """An RGB picture; size and seed fix it.

    Args:
        size: (width, height) in px.
        seed: non-negative integers.
    """
    rng = np.random.default_rng(seed)
    field = sum(_field(rng, size, _COARSEST_KNOTS * 2**octave) / 2**octave for octave in range(_OCTAVES))
    low, high = np.min(field), np.max(field)
    share = (field - low) / max(float(high - low), 1e-9)
    dark, light = np.sort(rng.uniform(20, 235, (2, 3)), axis=0)
    pixels = dark + share[..., None] * (light - dark)
    pixels = pixels + _GRAIN_LEVELS * rng.standard_normal(pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _field(rng: np.random.Generator, size: tuple[int, int], knots: int) -> npt.NDArray[Any]:
    """A smooth random field, (height, width), with about `knots` bumps across."""
    values = rng.standard_normal((knots, knots)).astype(np.float32)
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
