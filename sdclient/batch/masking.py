"""A source and its mask made ready for repainting, and results put back into the source. Pure; Pillow alone.

What is sent is a mask in black and white, a little larger than what will show: a latent diffusion model keeps or
repaints cells of 8 x 8 px of the picture it makes, by whether more than half of a cell is white, and a thin mask would
vanish in that. What shows is decided here, at the source's resolution: where the feathered mask is 0, the pixel is the
source's own.

A model also shifts the tone of all it makes a little. Along the feather, where result and source should meet, the
median of their difference tells by how much, in each of R, G and B, and the result is shifted back before it is put in.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

from PIL import Image, ImageChops

from sdcore.images.decode import to_8_bit

from .. import sizing
from ..masks import box_of, composite, encode_mask, grow_and_feather
from .parameters import Inpainting

Box = tuple[int, int, int, int]

_LARGEST_DRIFT_LEVELS = 32
"""Where result and source differ by more along the feather, they do not show the same there, and nothing is shifted."""
_LATENT_MARGIN_PX = 6
"""In px of the picture that is made: a single pixel grown by this covers more than half of some cell of 8 x 8."""


@dataclass(frozen=True)
class SourceMask:
    """The mask of a source, ready for one way of repainting."""

    shown: Image.Image
    """Mode "L", of the source's size: the share of the repainted picture that shows."""
    sent: Image.Image
    """Mode "L", black and white, of the size of the source as it is sent."""
    kept: Image.Image
    """The source's own pixels, in the form results have."""

    @cached_property
    def data(self) -> bytes:
        """What is shown, as a PNG file."""
        return encode_mask(self.shown)

    @cached_property
    def sha256(self) -> str:
        """Of `data`."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def sent_box(self) -> Box:
        """Around what is repainted, on the source as it is sent."""
        return box_of(self.sent)

    def put_back(self, restored: Image.Image) -> Image.Image:
        """A result at the source's size, with the source's own pixels where the mask is 0."""
        return composite(self.kept, _without_drift(restored, self.kept, self.shown), self.shown)


def mask_source(photo: Image.Image, mask: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> SourceMask:
    """Prepare a mask.

    Args:
        photo: the source as `photos.read_photo` gives it, upright, of any mode.
        mask: mode "L", of the upright source's size.
        inpainting: how to repaint.
        size: (width, height) the server generates at, px.
    """
    shown = soften(mask, inpainting.mask_blur)
    white = shown.point([0] + [255] * 255)
    sent_size = shown.size if inpainting.inpaint_area == "masked" else size
    magnification = _magnification(white, inpainting, size)
    grown = grow_and_feather(white, grow_px=math.ceil(_LATENT_MARGIN_PX / magnification), feather_px=0)
    sent = grown.resize(sent_size, Image.Resampling.BOX).point([0] + [255] * 255)
    return SourceMask(shown, sent, to_8_bit(photo))


def picture_to_send(photo: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> Image.Image:
    """The upright source as it is sent with a mask: of its own size where the server cuts the masked area out of it."""
    return sizing.prepare(photo, photo.size if inpainting.inpaint_area == "masked" else size)


def soften(mask: Image.Image, blur_px: int) -> Image.Image:
    """The mask with a ramp of at least `blur_px` around what is white; nothing gets darker."""
    white = mask.point([0] * 255 + [255])
    return ImageChops.lighter(mask, grow_and_feather(white, grow_px=0, feather_px=blur_px))


def _without_drift(restored: Image.Image, kept: Image.Image, shown: Image.Image) -> Image.Image:
    """The result, its tone shifted so that along the feather it meets the source's."""
    feather = shown.point([0] + [255] * 254 + [0])
    drifts = [_median_difference(made, own, feather) for made, own in zip(restored.split(), kept.split(), strict=True)]
    if not any(drifts) or max(map(abs, drifts)) > _LARGEST_DRIFT_LEVELS:
        return restored
    return restored.point([min(255, max(0, level - drift)) for drift in drifts for level in range(256)])


def _median_difference(one: Image.Image, other: Image.Image, where: Image.Image) -> int:
    """Median of `one` - `other` over the white pixels of a mask, levels; 0 where there are none."""
    above = ImageChops.subtract(one, other).histogram(where)
    below = ImageChops.subtract(other, one).histogram(where)
    # Both count the pixels that are equal or lie on the other side as 0.
    equal = sum(above) - sum(above[1:]) - sum(below[1:])
    counts = [*reversed(below[1:]), equal, *above[1:]]
    half, total = sum(counts) / 2, 0
    for difference, count in enumerate(counts, start=-255):
        total += count
        if count and total >= half:
            return difference
    return 0


def _magnification(white: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> float:
    """How many px of the picture that is made a px of the source becomes."""
    if inpainting.inpaint_area == "whole":
        return min(size[0] / white.width, size[1] / white.height)
    left, top, right, bottom = box_of(white)
    context = 2 * inpainting.inpaint_padding
    cut = min(right - left + context, white.width), min(bottom - top + context, white.height)
    return min(size[0] / cut[0], size[1] / cut[1])
