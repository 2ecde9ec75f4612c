"""What one image is made with, besides its source and its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

InpaintFill: TypeAlias = Literal["original", "fill", "latent-noise", "latent-nothing"]
InpaintArea: TypeAlias = Literal["masked", "whole"]

INPAINTING_NAMES = ("inpaint_fill", "inpaint_area", "inpaint_padding", "mask_blur")
"""Settings that mean something only where a source has a mask."""


@dataclass(frozen=True, slots=True)
class Inpainting:
    """What an image is repainted with inside its mask.

    All but the last mean what the field of the same name in `GenerationSettings` means.
    """

    inpaint_fill: InpaintFill
    inpaint_area: InpaintArea
    inpaint_padding: int
    mask_blur: int
    mask_sha256: str
    """Of the mask file's bytes: another mask makes another image."""


@dataclass(frozen=True, slots=True)
class ImageParameters:
    """Plain values that change pixels; images of one source with equal parameters can share a request.

    Each means what the field of the same name in `GenerationSettings` means.
    """

    denoising_strength: float
    sampler: str
    scheduler: str | None
    steps: int
    cfg_scale: float
    prompt: str
    """Ready to send: placeholders and wildcards are filled in."""
    negative_prompt: str
    native_px: int | None
    """None: the model's own, by its name."""
    inpainting: Inpainting | None = None
    """None: the whole picture is made anew."""
