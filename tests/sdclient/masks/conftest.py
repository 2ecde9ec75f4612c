"""Numbered sources that were photographs with other names."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sdclient.sources.numbering import number_images


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """photos/pad: IMG_20 (40x30) and 1 (50x50); photos/漏铜: a (32x32); numbered into sources: 1, 2 and 1.

    In natural order "1" comes before "IMG_20", so that it stays 1.png; "0" of 漏铜 becomes 1.png, "1" 2.png.
    """
    for name, size in (
        ("pad/1.png", (50, 50)),
        ("pad/IMG_20.png", (40, 30)),
        ("漏铜/0.png", (32, 32)),
        ("漏铜/1.png", (32, 24)),
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(size, 30).save(path)
    number_images(tmp_path / "photos", tmp_path / "sources")
    return tmp_path
