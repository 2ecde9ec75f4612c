"""Drawn classes and a tiny configuration for the generator; `photos` and `tiny` are fixtures for a conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generator.config import TrainConfig, make_config

TINY = {"size_px": 16, "packing": 4, "widths": (16, 32), "layers": 1, "head_channels": 16}


CLASSES = ("Normal", "open", "裂纹")


def drawn(label: str, number: int, *, size: tuple[int, int] = (16, 16), colour: bool = False) -> Image.Image:
    """A light image; a defect is a dark bar across or down, moved a little by its number."""
    width, height = size
    levels = np.random.default_rng([CLASSES.index(label), number]).normal(190, 4, (height, width, 3))
    place = 4 + number % 6
    if label == "open":
        levels[place : place + 3] = 40
    elif label == "裂纹":
        levels[:, place : place + 3] = 40
    pixels = np.clip(levels, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels if colour else pixels[..., 0])


def draw_classes(folder: Path, counts: dict[str, int], **options: Any) -> Path:
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            drawn(label, number, **options).save(folder / label / f"{number + 1}.png")
    return folder


def make_tiny_config(**changes: Any) -> TrainConfig:
    """A config of the smallest network, one thread, four steps; settings may be changed."""
    network = {**TINY, **changes.pop("network", {})}
    usual: dict[str, Any] = {"steps": 4, "batch_size": 4, "threads": 1, "save_every": 2, "warmup_steps": 1}
    return make_config(network=network, **{**usual, **changes})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder `train` of three classes, 22 grey images."""
    return draw_classes(tmp_path / "data" / "train", {"Normal": 10, "open": 6, "裂纹": 6})


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    return make_tiny_config
