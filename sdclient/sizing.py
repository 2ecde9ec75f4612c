"""The size a model can handle <-> the size of a source image."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps

from sdcore.images.decode import is_grey, to_rgb

SMALLEST_SIDE_PX = 64
SENT_MODE = "RGB"
"""What every server takes; grey ones are not sent as such."""


@dataclass(frozen=True)
class SourceForm:
    """What a result must be turned back into: size of the upright source, and grey or colour."""

    width_px: int
    height_px: int
    mode: Literal["L", "RGB"]

    @classmethod
    def of(cls, image: Image.Image) -> SourceForm:
        """The form of a source image, which may still carry its EXIF rotation."""
        upright = ImageOps.exif_transpose(image)
        return cls(upright.width, upright.height, "L" if is_grey(upright) else "RGB")


def generation_size(width_px: int, height_px: int, *, native_px: int = 512, multiple: int = 8) -> tuple[int, int]:
    """The (width, height) to generate at for a source of the given size.

    Near the area `native_px` squared, both sides multiples of `multiple` and at least 64 px. The aspect is
    the source's to within one multiple on the longer side; only strips longer than native_px^2 / 64^2 times
    their width are squeezed, for no side can be under 64 px.

    Raises:
        ValueError: a size is not positive.
    """
    if min(width_px, height_px, native_px, multiple) < 1:
        raise ValueError(f"sizes must be positive, got {width_px} x {height_px}, native {native_px}, step {multiple}")
    short, long = sorted((width_px, height_px))
    floor = math.ceil(SMALLEST_SIDE_PX / multiple) * multiple
    area = native_px * native_px
    out_short = max(floor, _nearest(math.sqrt(area * short / long), multiple))
    # From the rounded short side, so that the error of the aspect stays within half a multiple of the long side.
    out_long = max(out_short, _nearest(out_short * long / short, multiple))
    out_long = min(out_long, max(floor, _nearest(area / floor, multiple)))
    return (out_short, out_long) if width_px <= height_px else (out_long, out_short)


def prepare(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The source as the model wants it: upright, 8-bit RGB, scaled to `size`.

    Deep grey is scaled by its camera's depth (8, 10, 12, 14 or 16 bit, the smallest that holds the
    brightest pixel), alpha is flattened on white as the WebUI does.

    Args:
        image: a decoded source image of any mode.
        size: (width, height) in pixels, from `generation_size`.
    """
    return _resize(to_rgb(image), size)


def restore(image: Image.Image, form: SourceForm) -> Image.Image:
    """A generated image back at its source's size, grey where the source was grey; 8 bit."""
    return _resize(image.convert("RGB").convert(form.mode), (form.width_px, form.height_px))


def native_px_for(model_name: str) -> int:
    """Side in pixels of the square a checkpoint was trained on, guessed from its name; 512 when nothing tells."""
    # The hash a WebUI appends in brackets may hold any digits.
    name = re.sub(r"\[[0-9a-f]*\]", "", model_name.casefold())
    # A model of one's own, on the embedded server, tells its size.
    if told := re.search(r"(?<!\d)(\d+)px-not-stable-diffusion", name):
        return int(told.group(1))
    if "turbo" in name or re.search(r"(?<!\d)512(?!\d)", name):
        return 512
    if re.search(r"xl|flux|sd[-_. ]?3|pony|illustrious|noobai|animagine|(?<!\d)1024(?!\d)", name):
        return 1024
    if re.search(r"(?<!\d)768(?!\d)|(?:^|[^a-z0-9])(?:sd[-_. ]?)?v?2[-_.][01](?!\d)", name):
        return 768
    return 512


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    # Lanczos widens its kernel with the step when shrinking, so that no pixel is skipped and thin lines keep their
    # contrast; enlarging with it would draw halos along hard edges, bicubic draws weaker ones.
    smaller = size[0] * size[1] < image.width * image.height
    return image.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)


def _nearest(value: float, multiple: int) -> int:
    return math.floor(value / multiple + 0.5) * multiple
