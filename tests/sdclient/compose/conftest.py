"""Drawn surfaces with round defects, as numbered sources with their masks, and good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sdclient.compose import ComposeSettings
from tests.support.compose_material import Material, disc, surface, to_image


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Two classes, 漏铜 with sources 1 and 3 and pit with 2, in colour, 64 x 64 px; six good images, 80 x 72 px."""
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
