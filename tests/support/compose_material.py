"""Drawn surfaces with round defects, as numbered sources with their masks, and good ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdclient.compose import ComposeOptions, Composer, ComposeSettings
from sdclient.masks.mask import write_mask

Levels = NDArray[np.uint8]


def surface(seed: int, size: tuple[int, int] = (64, 64), colour: tuple[int, ...] = (120, 150, 90)) -> Levels:
    """(H, W, C) a plain colour with grain."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 3, (size[1], size[0], 1))
    return np.clip(np.array(colour) + grain, 0, 255).round().astype(np.uint8)


def disc(size: tuple[int, int], centre: tuple[float, float], radius_px: float) -> NDArray[np.bool_]:
    """(H, W) True inside of a circle."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    return np.asarray(np.hypot(x - centre[0], y - centre[1]) <= radius_px, dtype=np.bool_)


def to_image(levels: Levels) -> Image.Image:
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


@dataclass(frozen=True)
class Material:
    """Where everything lies."""

    root: Path

    @property
    def defects(self) -> Path:
        return self.root / "sources"

    @property
    def masks(self) -> Path:
        return self.root / "masks"

    @property
    def good(self) -> Path:
        return self.root / "sources" / "Normal"

    @property
    def output(self) -> Path:
        return self.root / "out"

    def composer(self, settings: ComposeSettings | None = None, **options: object) -> Composer:
        folders = {"defects": self.defects, "masks": self.masks, "good": self.good, "output": self.output}
        folders |= {name: cast(Path, options.pop(name)) for name in list(options) if name in folders}
        return Composer(**folders, settings=settings or ComposeSettings(), options=ComposeOptions(**options))  # type: ignore[arg-type]

    def add_defect(self, name: str, number: int, image: Image.Image, mask: NDArray[np.bool_]) -> None:
        path = self.defects / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        write_mask(self.masks / name / f"{number}.png", Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))
