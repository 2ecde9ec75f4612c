"""The classical control: for every generated image one augmented image of the same source, as a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..augment import augment
from ..config import AugmentConfig
from ..loader import decode

ENGINE = "classical augmentation, not generated"

_TWICE_AS_STRONG = {"rotation_degrees": 45.0, "brightness": 1.0, "contrast": 1.0, "hue": 0.5, "saturation": 1.0}
"""Settings that the control doubles, with the most they may be."""


def stronger(base: AugmentConfig) -> AugmentConfig:
    """How the control varies its images where the experiment file does not say.

    Every image is warped, and what turns or recolours it is twice as strong as in training; scale and shift stay,
    since they could move a defect out of the picture. Flips and quarter turns are those of training: a board with
    one right way up keeps it.

    Repeating the sources and leaving the variation to training would be no such control: with the same number of
    steps it only changes how often a class is drawn. Here, as with generated images, new fixed files join.
    """
    changed = {name: min(most, 2.0 * getattr(base, name)) for name, most in _TWICE_AS_STRONG.items()}
    return base.model_copy(update={**changed, "warp_rate": 1.0})


def vary(source: Path, *, config: AugmentConfig, imgsz: int, chance: str) -> Image.Image:
    """One augmented image of a source, square as the network sees it.

    Args:
        source: the real image.
        config: which changes, and how strong.
        imgsz: side in pixels.
        chance: text that decides the draws; the same text gives the same pixels.

    Raises:
        DataError: the source cannot be read.
    """
    seed = int.from_bytes(hashlib.sha256(chance.encode()).digest()[:8], "big") >> 1
    pixels = torch.from_numpy(decode(source, imgsz))[None]
    varied = augment(pixels, config, torch.Generator().manual_seed(seed))[0]
    return Image.fromarray(varied.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy().astype(np.uint8))
