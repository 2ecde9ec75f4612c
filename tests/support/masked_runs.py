"""Sources with masks, and what must hold of images that were repainted inside them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings
from sdclient.client import WebUI
from sdclient.manifest import ImageRecord, Manifest
from sdclient.masks.mask import read_mask, write_mask
from sdclient.sources import discover

Box = tuple[int, int, int, int]


def add_source(folder: Path, name: str, image: Image.Image, box: Box | None) -> None:
    """A source `folder/sources/<name>`, and a hard mask of it in `folder/masks` unless `box` is None."""
    path = folder / "sources" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    if box is not None:
        mask = Image.new("L", image.size)
        mask.paste(255, box)
        write_mask(folder / "masks" / Path(name).with_suffix(".png"), mask)


def board(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A textured image."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(60, 200, (12, 12, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    noise = chance.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).convert(mode)


def repaint(webui: WebUI, folder: Path, *, per_source: int = 2, out: str = "out", **changes: Any) -> list[ImageRecord]:
    """Make `per_source` images of every source of `folder/sources`, with the masks of `folder/masks`."""
    of_the_runner = ("unmasked", "masks", "check")
    options = {"masks": folder / "masks", **{name: changes.pop(name) for name in of_the_runner if name in changes}}
    values = {"native_px": 128, "batch_size": 2, "steps": 4, "denoising_strength": 0.6, **changes}
    runner = BatchRunner(
        webui, folder / "sources", folder / out, GenerationSettings.checked(values), GenerateOptions(**options)
    )
    return list(runner.run([(source, per_source) for source in discover(folder / "sources")]))


def check_masks(output: Path) -> None:
    """Every image that is done has its mask file, as recorded, and nothing else lies among the masks."""
    with Manifest(output) as manifest:
        records = list(manifest.images())
    assert records
    for record in records:
        assert record.mask == f"_masks/{record.file}"
        data = (output / record.mask).read_bytes()
        assert hashlib.sha256(data).hexdigest() == record.asked["mask_sha256"]
        read_mask(output / record.mask, (record.width, record.height))
    lying = {path.relative_to(output).as_posix() for path in (output / "_masks").rglob("*") if path.is_file()}
    assert lying == {record.mask for record in records}
