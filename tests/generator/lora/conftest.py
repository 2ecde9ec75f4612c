"""Tiny bases and images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.lora_models import write_sd1, write_sdxl


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_sd1(tmp_path_factory.mktemp("base") / "sd1"))


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_sdxl(tmp_path_factory.mktemp("base") / "sdxl"))


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., Path]:
    """Writes random images into class folders."""

    def make(
        classes: tuple[str, ...] = ("open", "short"),
        *,
        each: int = 3,
        size: tuple[int, int] = (48, 48),
        keyword: str | None = None,
    ) -> Path:
        rng = np.random.default_rng(0)
        for name in classes:
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            for number in range(each):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                chunks = PngInfo()
                if keyword and number == 0:
                    chunks.add_text(keyword, "{}")
                Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png", pnginfo=chunks)
        return tmp_path / "data"

    return make
