"""Drawn surfaces with round defects, as numbered sources with their masks, and good ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sdclient.compose import Composer, ComposeSettings
from sdclient.masks import write_mask

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
        values = {"defects": self.defects, "masks": self.masks, "good": self.good, "output": self.output, **options}
        return Composer(settings=settings or ComposeSettings(), **values)  # type: ignore[arg-type]

    def add_defect(self, name: str, number: int, image: Image.Image, mask: NDArray[np.bool_]) -> None:
        path = self.defects / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        write_mask(self.masks / name / f"{number}.png", Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Two classes, 漏铜 with sources 1 and 3 and pit with 2, in colour, 64 x 64 px; six good pictures, 80 x 72 px."""
    made = Material(tmp_path)
    for seed, (name, number, level) in enumerate([("漏铜", 1, 240), ("漏铜", 3, 200), ("pit", 2, 30)]):
        levels = surface(seed)
        hole = disc((64, 64), (30 + seed, 34), 5)
        levels[hole] = level
        made.add_defect(name, number, to_image(levels), disc((64, 64), (30 + seed, 34), 6))
    made.good.mkdir()
    for number in range(1, 7):
        to_image(surface(100 + number, (80, 72))).save(made.good / f"{number}.png")
    return made


@pytest.fixture
def composed(material: Material) -> Callable[..., Material]:
    """Make so many images a class; settings replace the usual ones."""
    from sdclient.compose import share_evenly
    from sdclient.sources import discover

    def run(per_class: int = 2, **settings: object) -> Material:
        composer = material.composer(ComposeSettings.checked(settings))
        list(composer.run(share_evenly(discover(material.defects), per_class)))
        return material

    return run
