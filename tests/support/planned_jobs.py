"""Planned images and their sources."""

from __future__ import annotations

from pathlib import Path

from sdclient.batch.jobs import PlannedImage, plan_images
from sdclient.batch.settings import ImageParameters
from sdclient.sources import Source

PARAMETERS = {"denoising_strength": 0.25, "model": "m"}


ALIKE = ImageParameters(0.25, "Euler", None, 20, 7.0, "", "", None)


def source(number: int = 3, class_name: str = "焊盘") -> Source:
    return Source(class_name=class_name, number=number, path=Path("sources") / class_name / f"{number}.png")


def planned(of: Source, sha256: str, count: int) -> list[PlannedImage]:
    return list(
        plan_images(of, sha256, count, run_seed=7, parameters_for=lambda *_: ALIKE, identity=lambda _: PARAMETERS)
    )
