"""What one image is made with, besides its source and its seed."""

from __future__ import annotations

from dataclasses import dataclass


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
