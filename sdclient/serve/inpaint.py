"""Masks of inpainting requests, and resizing a source to the requested size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

_FILL_SURROUNDINGS, _FILL_SOURCE, _FILL_NOISE, _FILL_NOTHING = 0, 1, 2, 3
_FILL_NAMES = {_FILL_SURROUNDINGS: "fill", _FILL_NOISE: "latent noise", _FILL_NOTHING: "latent nothing"}
_BLUR_TRUNCATE = 2.5
_Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class MaskSettings:
    """The fields of a request that concern its mask, under the request's names."""

    blur_x: int
    blur_y: int
    fill: int
    full_res: bool
    padding: int
    invert: bool
    round: bool
    resize_mode: int


@dataclass(frozen=True)
class InpaintRegion:
    """One source prepared for inpainting: the engine's input, and how its result is put back."""

    canvas: Image.Image
    """RGB of the requested size: the engine's input."""
    change_mask: Image.Image
    """L of the requested size: how much of the engine's result will show at each pixel."""
    base: Image.Image
    """RGB; shows outside of the mask."""
    alpha: Image.Image
    """L of the base's size: how much of the engine's result shows."""
    box: _Box | None
    """Where the result goes on the base; None for everywhere."""

    def finish(self, result: Image.Image) -> Image.Image:
        """The result put into the base where the mask is white."""
        placed = result
        if self.box is not None:
            left, top, right, bottom = self.box
            placed = self.base.copy()
            placed.paste(result.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
        return Image.composite(placed, self.base, self.alpha)


@dataclass(frozen=True)
class PreparedMask:
    """A mask prepared once for all sources of a request."""

    mask: Image.Image
    """L, inverted and blurred as requested, of its own size."""
    box: _Box | None
    """The part to inpaint at full resolution; None for the whole image."""
    settings: MaskSettings

    def apply(self, source: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> InpaintRegion:
        """Prepare one RGB source for the engine's (width, height) in px; `rng` draws the fill with noise."""
        mode = self.settings.resize_mode
        if self.box is None:
            base = canvas = resize_source(source, mode, size)
            mask = resize_source(self.mask, mode, size)
            alpha = change_mask = mask.point(lambda level: min(255, 2 * level))
        else:
            base = source
            alpha = self.mask if self.mask.size == base.size else resize_source(self.mask, mode, base.size)
            canvas = resize_source(base.crop(self.box), FILL, size)
            mask = change_mask = resize_source(alpha.crop(self.box), FILL, size)
        return InpaintRegion(_fill(canvas, mask, self.settings.fill, rng), change_mask, base, alpha, self.box)

    def parameters(self, mask_blur: int | None) -> dict[str, Any]:
        """Entries of `extra_generation_params` about the mask; the blur in px is None if its directions differ."""
        parameters: dict[str, Any] = {}
        if self.settings.invert:
            parameters["Mask mode"] = "Inpaint not masked"
        if mask_blur:
            parameters["Mask blur"] = mask_blur
        if self.box is not None:
            parameters["Inpaint area"] = "Only masked"
            parameters["Masked area padding"] = self.settings.padding
        if self.settings.fill in _FILL_NAMES:
            parameters["Masked content"] = _FILL_NAMES[self.settings.fill]
        return parameters


def prepare_mask(
    image: Image.Image, settings: MaskSettings, source_size: tuple[int, int], size: tuple[int, int]
) -> PreparedMask | None:
    """Read a mask of any mode; opaque parts of a transparent one count as white.

    The sizes in px are those of the first source and of the engine. Returns None if the mask is blank and only its area
    was to be inpainted; the request then counts as unmasked.
    """
    mask = _to_black_and_white(image, settings.round)
    if settings.invert:
        mask = ImageOps.invert(mask)
    mask = _blur(mask, settings.blur_x, settings.blur_y)
    if not settings.full_res:
        return PreparedMask(mask, None, settings)
    if mask.size != source_size:
        mask = resize_source(mask, settings.resize_mode, source_size)
    bounds = mask.getbbox()
    if bounds is None:
        return None
    return PreparedMask(mask, _expand(bounds, settings.padding, mask.size, size), settings)


def _to_black_and_white(image: Image.Image, rounded: bool) -> Image.Image:
    is_transparent = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    mask = image.getchannel("A") if is_transparent else image.convert("L")
    return mask.point(lambda level: 255 if level > 128 else 0) if rounded else mask


def _blur(mask: Image.Image, blur_x: int, blur_y: int) -> Image.Image:
    if blur_x <= 0 and blur_y <= 0:
        return mask
    sigma = (max(blur_y, 0), max(blur_x, 0))
    blurred = ndimage.gaussian_filter(np.asarray(mask, dtype=np.float32), sigma, truncate=_BLUR_TRUNCATE, mode="mirror")
    return Image.fromarray(np.rint(blurred).astype(np.uint8))


def _expand(bounds: _Box, padding: int, image_size: tuple[int, int], size: tuple[int, int]) -> _Box:
    """The bounds with padding, grown to the requested aspect ratio as far as the image reaches."""
    left, top = max(0, bounds[0] - padding), max(0, bounds[1] - padding)
    right, bottom = min(image_size[0], bounds[2] + padding), min(image_size[1], bounds[3] + padding)
    ratio = size[0] / size[1]
    width, height = right - left, bottom - top
    if width < height * ratio:
        left, right = _grow(left, right, round(height * ratio), image_size[0])
    else:
        top, bottom = _grow(top, bottom, round(width / ratio), image_size[1])
    return left, top, right, bottom


def _grow(low: int, high: int, wanted: int, limit: int) -> tuple[int, int]:
    """A range of the wanted length about the same centre, kept inside 0..limit."""
    length = min(max(wanted, high - low), limit)
    start = min(max(0, (low + high - length) // 2), limit - length)
    return start, start + length


def _fill(canvas: Image.Image, mask: Image.Image, fill: int, rng: np.random.Generator) -> Image.Image:
    """The canvas with the masked area filled: with its surroundings, the source, noise or nothing, as requested."""
    white = np.asarray(mask) > 0
    if fill == _FILL_SOURCE or white.all() or not white.any():
        return canvas
    pixels = np.asarray(canvas, dtype=np.float32).copy()
    kept = pixels[~white]
    if fill == _FILL_NOISE:
        pixels[white] = rng.normal(kept.mean(axis=0), kept.std(axis=0) + 1, (int(white.sum()), 3))
    elif fill == _FILL_NOTHING:
        pixels[white] = kept.mean(axis=0)
    else:
        pixels[white] = _surroundings(pixels, white)[white]
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _surroundings(pixels: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Each masked pixel's nearest kept one, smoothed inside the mask."""
    distance, nearest = ndimage.distance_transform_edt(white, return_indices=True)
    grown = pixels[tuple(nearest)]
    sigma = float(distance.max()) / 2
    return np.asarray(ndimage.gaussian_filter(grown, (sigma, sigma, 0), mode="nearest"))


STRETCH, CROP, FILL, LATENT = 0, 1, 2, 3


def resize_source(image: Image.Image, mode: int, size: tuple[int, int]) -> Image.Image:
    """The RGB or L image at exactly (width, height) px.

    Mode 0 stretches, and so does 3 (the WebUI does it in latent space); 1 crops what does not fit; 2 and any other
    number keep the whole image and repeat its edge beyond it.

    Raises:
        ValueError: a size that is not positive.
    """
    width, height = size
    if width <= 0 or height <= 0:
        raise ValueError("height and width must be > 0")
    if mode in (STRETCH, LATENT):
        return image.resize(size, Image.Resampling.LANCZOS)
    is_wider = width * image.height > height * image.width
    if is_wider == (mode == CROP):
        scaled_size = (width, max(1, image.height * width // image.width))
    else:
        scaled_size = (max(1, image.width * height // image.height), height)
    return _centred(image.resize(scaled_size, Image.Resampling.LANCZOS), size)


def _centred(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop to the size about the centre, or extend by repeating the edge."""
    width, height = size
    left, top = (width - image.width) // 2, (height - image.height) // 2
    rows = np.clip(np.arange(height) - top, 0, image.height - 1)
    columns = np.clip(np.arange(width) - left, 0, image.width - 1)
    return Image.fromarray(np.asarray(image)[rows][:, columns])
