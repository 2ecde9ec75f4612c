"""What makes the pixels, behind one small interface."""

from __future__ import annotations

from typing import Protocol

from PIL import Image


class SingleImageEngine(Protocol):
    """Makes one image out of another. Called by one job at a time."""

    name: str
    """What it is, in the words that every reply and every infotext carries."""

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        """An RGB image of the source's size.

        Args:
            source: RGB.
            strength: how far the result may leave the source, 0 (not at all) to 1.
            seed: non-negative integers; source, strength and seed together fix the result.
        """
        ...
