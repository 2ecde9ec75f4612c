"""Pictures into numbers: decoding and normalising.

Every picture is resized to a square, its sides scaled apart when it is not one: a letterbox would show the
network bars, and no part of a picture, where a defect may be, is ever cut off.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sdcore.images.decode import to_rgb

from .errors import DataError

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
"""Images in [0, 1] are normalised as (image - MEAN) / STD; constants, so that no data set changes them."""


def decode(path: Path, imgsz: int) -> npt.NDArray[np.uint8]:
    """Read one picture as (3, imgsz, imgsz) uint8, R, G, B.

    The image is decoded as `sdcore.images.decode.to_rgb` says: upright, deep grey by its camera's depth, transparency
    on white.

    Raises:
        DataError: the file is missing or no readable picture.
    """
    return np.ascontiguousarray(decode_rows(path, imgsz).transpose(2, 0, 1))


def decode_rows(path: Path, imgsz: int) -> npt.NDArray[np.uint8]:
    """The same as (imgsz, imgsz, 3), not to be written to: the order in which it comes, and which channels_last wants.

    Raises:
        DataError: as `decode`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; what cannot be decoded raises
            with Image.open(path) as picture:
                square = to_rgb(picture).resize((imgsz, imgsz), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise DataError(
            f"{path}: cannot be read as a picture ({type(error).__name__}: {error}); "
            f"run 'trainer check {path.parent}' for all such files"
        ) from error
    return np.asarray(square, dtype=np.uint8)


def normalise(
    images: torch.Tensor,
    mean: tuple[float, float, float] = MEAN,
    std: tuple[float, float, float] = STD,
) -> torch.Tensor:
    """(N, 3, H, W) uint8 or float in [0, 255] -> float32 as the network takes it."""
    scale = torch.tensor(std, device=images.device).view(1, 3, 1, 1) * 255
    offset = torch.tensor(mean, device=images.device).view(1, 3, 1, 1) * 255
    return (images.to(torch.float32) - offset).div_(scale)
