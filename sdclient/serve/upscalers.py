"""The upscalers that need no model, and how they enlarge: real resampling, to the genuine server's pixels."""

from __future__ import annotations

from typing import Any

from PIL import Image

from ..models import SIZE_MULTIPLE_PX

NONE = "None"
"""The upscaler that does nothing."""

_RESAMPLING = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
_LATENT = {
    "Latent": Image.Resampling.BILINEAR,
    "Latent (antialiased)": Image.Resampling.BILINEAR,
    "Latent (bicubic)": Image.Resampling.BICUBIC,
    "Latent (bicubic antialiased)": Image.Resampling.BICUBIC,
    "Latent (nearest)": Image.Resampling.NEAREST,
    "Latent (nearest-exact)": Image.Resampling.NEAREST,
}
"""A WebUI does these in latent space; here there is none, and they work on pixels."""
_LISTED_SCALE = 4.0
_MOST_PASSES = 3


def upscalers() -> list[dict[str, Any]]:
    """Reply of `/sdapi/v1/upscalers`."""
    return [
        {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": _LISTED_SCALE}
        for name in (NONE, *_RESAMPLING)
    ]


def latent_upscale_modes() -> list[dict[str, Any]]:
    """Reply of `/sdapi/v1/latent-upscale-modes`."""
    return [{"name": name} for name in _LATENT]


def find_upscaler(name: str) -> Image.Resampling | None:
    """How an upscaler resamples; None for the one that does nothing.

    Raises:
        AssertionError: there is none of this name, as in the WebUI.
    """
    if name == NONE:
        return None
    if name not in _RESAMPLING:
        raise AssertionError(f"could not find upscaler named {name}")
    return _RESAMPLING[name]


def find_second_pass_upscaler(name: str | None) -> Image.Resampling:
    """How the second pass of txt2img enlarges; no name is "Latent".

    Raises:
        Exception: there is none of this name, as in the WebUI.
    """
    found = {**_RESAMPLING, **_LATENT, NONE: Image.Resampling.LANCZOS}.get(name or "Latent")
    if found is None:
        raise Exception(f"could not find upscaler named {name}")
    return found


def enlarge(image: Image.Image, resampling: Image.Resampling, size: tuple[int, int]) -> Image.Image:
    """The image at exactly this size."""
    return image.resize(size, resampling)


def upscale_by(image: Image.Image, resampling: Image.Resampling, factor: float) -> Image.Image:
    """Enlarge as the WebUI does: to whole multiples of 8 px, in up to three passes, Lanczos for what is left."""
    width, height = target_size(image.size, factor)
    for _ in range(_MOST_PASSES):
        if image.width >= width and image.height >= height and factor != 1:
            break
        before = image.size
        image = image.resize((int(image.width * factor), int(image.height * factor)), resampling)
        if image.size == before:
            break
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def target_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Size after enlarging by a factor: rounded down to multiples of 8 px.

    Raises:
        ValueError: nothing would be left.
    """
    width, height = (int((side * factor) // SIZE_MULTIPLE_PX * SIZE_MULTIPLE_PX) for side in size)
    if min(width, height) <= 0:
        raise ValueError("height and width must be > 0")
    return width, height
