"""The size a picture is trained at (pure)."""

from __future__ import annotations

import math

STEP_PX = 64
"""Sides are multiples of this: the networks halve a side three times after the VAE has divided it by eight."""


def training_size(width_px: int, height_px: int, native_px: int) -> tuple[int, int]:
    """The (width, height) a picture is scaled to: its aspect, at about the area `native_px` squared.

    Sides are multiples of 64 px and at least 64 px, so that pictures of like aspect share a size; the aspect is off by
    at most half a step of the longer side. `sdclient generate` asks for sizes by the same rule, in steps of 8 px.

    Raises:
        ValueError: a size is not positive.
    """
    if min(width_px, height_px, native_px) < 1:
        raise ValueError(f"sizes must be positive, got {width_px} x {height_px}, native {native_px}")
    short, long = sorted((width_px, height_px))
    most = max(STEP_PX, _nearest(native_px * native_px / STEP_PX))
    out_short = max(STEP_PX, _nearest(math.sqrt(native_px * native_px * short / long)))
    out_long = min(most, max(out_short, _nearest(out_short * long / short)))
    return (out_short, out_long) if width_px <= height_px else (out_long, out_short)


def _nearest(value: float) -> int:
    return math.floor(value / STEP_PX + 0.5) * STEP_PX
