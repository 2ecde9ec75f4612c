"""A defect cut out by its mask.

A mask that is a box also covers surface around the defect, and a new place has to match that surface too: the larger
the box, the fewer places fit. `tighten_mask` therefore continues the surroundings into the box with cv2.inpaint
(Navier-Stokes, after Bertalmio, Bertozzi and Sapiro 2001); the pixels that differ from that by more than the surface's
own grain are the defect.

Results are 8 bit, grey on a grey base image and colour on a colour one, like those of `generate`: deep grey is scaled
by the camera's depth, alpha is put on white (`sdcore.images.decode`). A colour defect becomes grey on a grey image; a
grey defect takes the colour of a colour image when the tone is matched.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdcore.images.decode import to_rgb

from ..errors import SourceError
from ..sources.source import ImageForm

_RING_RATE = 0.2
_FEWEST_RING_PIXELS = 16
_NARROWEST_RING_PX, _WIDEST_RING_PX = 5, 64

Pixels: TypeAlias = NDArray[np.float32]
"""(H, W, C) levels 0-255; C is 1 (grey) or 3 (R, G, B)."""
Levels: TypeAlias = NDArray[np.uint8]
"""The same in 8 bits."""
Plane: TypeAlias = NDArray[np.float32]
"""(H, W)."""
Area: TypeAlias = NDArray[np.bool_]
"""(H, W)."""
Form = Literal["L", "RGB"]


@dataclass(frozen=True, eq=False)
class Cutout:
    """A window of an image around a defect; all arrays have its height and width."""

    pixels: Pixels
    alpha: Plane
    """Share of the defect's pixel in the result, 0-1."""
    is_known: Area
    """False where the window reaches beyond the image's border."""
    ring_px: int
    """Width of the surroundings that are compared with a new place."""

    @property
    def support(self) -> Area:
        """Where pixels change."""
        return self.alpha > 0

    @property
    def ring(self) -> Area:
        """The surroundings: within `ring_px` of the support, outside of it, and in the image."""
        support = self.support
        reach = cv2.distanceTransform((~support).astype(np.uint8), cv2.DIST_L2, 5)
        return np.asarray((reach <= self.ring_px) & ~support & self.is_known, dtype=np.bool_)


def cut_out(image: Image.Image, mask: Image.Image, name: str, *, fade_px: int = 0) -> Cutout:
    """Cut a defect out.

    The image is "L" or "RGB", the mask "L" and as large: white the defect, grey its soft edge. Where the defect touches
    the image's border, the alpha falls to 0 over `fade_px`, so that no edge is hard.

    Raises:
        SourceError: the mask is empty, or leaves no surface around the defect to compare.
    """
    pixels = to_levels(image).astype(np.float32)
    alpha = _fade_at_border(np.asarray(mask, dtype=np.float32) / np.float32(255), fade_px)
    if not alpha.any():
        raise SourceError(f"{name}: the mask is empty, so there is nothing to cut; draw the defect white")
    top, bottom, left, right = bounds_of(alpha > 0)
    side_px = math.sqrt(float(bottom - top) * float(right - left))
    ring_px = min(_WIDEST_RING_PX, max(_NARROWEST_RING_PX, round(_RING_RATE * side_px)))
    window = (slice(top, bottom + 2 * ring_px), slice(left, right + 2 * ring_px))
    cutout = Cutout(
        pixels=np.pad(pixels, ((ring_px, ring_px), (ring_px, ring_px), (0, 0)), mode="edge")[window],
        alpha=np.pad(alpha, ring_px)[window],
        is_known=np.pad(np.ones(alpha.shape, dtype=np.bool_), ring_px)[window],
        ring_px=ring_px,
    )
    if int(cutout.ring.sum()) < max(_FEWEST_RING_PIXELS, int(cutout.support.sum()) // 20):
        raise SourceError(
            f"{name}: the mask covers nearly the whole picture, so nothing shows what surface the defect lies on; "
            "give a narrower mask, or a larger picture"
        )
    return cutout


def bounds_of(area: Area) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of an area that is not empty; bottom and right exclusive."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _fade_at_border(alpha: Plane, fade_px: int) -> Plane:
    down, across = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in alpha.shape)
    ramp = np.clip((np.minimum(down[:, None], across[None, :]) + 1) / (fade_px + 1), 0, 1)
    return (alpha * ramp).astype(np.float32)


BOX_RATE = 0.93
"""A mask that fills at least this share of its bounding box is a box."""

_RADIUS_PX = 3
_LEAST_LEVELS = 14.0
_GRAINS = 4.0
_LEAST_SHARE = 0.01
_MOST_SHARE = 0.9


def is_box(mask: Image.Image) -> bool:
    """Whether a mask's hard area is a single filled box."""
    hard = np.asarray(mask, dtype=np.uint8) >= 128
    if not hard.any():
        return False
    top, bottom, left, right = bounds_of(hard)
    return bool(hard.sum() >= BOX_RATE * ((bottom - top) * (right - left)))


def tighten_mask(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The hard part of the mask ("L") in which the image ("L" or "RGB") differs from its continued surroundings.

    The mask unchanged if less than 1 % or more than 90 % of it differs.
    """
    levels = to_levels(image)
    hard = np.asarray(mask, dtype=np.uint8) >= 128
    if hard.all() or not hard.any():
        return mask
    expected = cv2.inpaint(levels, hard.astype(np.uint8), _RADIUS_PX, cv2.INPAINT_NS)
    apart = np.abs(np.asarray(expected, dtype=np.float32).reshape(levels.shape) - levels).max(axis=2)
    found = hard & (cv2.GaussianBlur(apart, (0, 0), 0.8) > max(_LEAST_LEVELS, _GRAINS * _grain(levels, hard)))
    found = np.asarray(cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))) > 0
    if not _LEAST_SHARE <= float(found.sum()) / float(hard.sum()) <= _MOST_SHARE:
        return mask
    return Image.fromarray(found.astype(np.uint8) * np.uint8(255))


def _grain(levels: Levels, hard: Area) -> float:
    """Robust deviation of the finest detail around the mask, in levels."""
    ring = (np.asarray(cv2.dilate(hard.astype(np.uint8), np.ones((17, 17), np.uint8))) > 0) & ~hard
    pixels = levels.astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.0)).reshape(pixels.shape)
    return 1.4826 * float(np.median(np.abs(pixels - smooth)[ring])) if ring.any() else 0.0


def form_of(image: Image.Image) -> Form:
    """The form of a result on this base image."""
    return ImageForm.of(image).mode


def to_form(image: Image.Image, form: Form) -> Image.Image:
    """An upright image of any mode converted to 8 bits, grey or colour."""
    return to_rgb(image).convert(form)


def to_levels(image: Image.Image) -> Levels:
    """Levels of an image that is "L" or "RGB"."""
    levels = np.asarray(image, dtype=np.uint8)
    return levels[..., None] if levels.ndim == 2 else levels


def to_bytes(pixels: NDArray[np.float32]) -> Levels:
    """Levels rounded to 8 bits and cut off at 0 and 255."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def to_image(levels: Levels) -> Image.Image:
    """The image of these levels."""
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
