"""Drawn surfaces and what may be wrong with them, and an output folder that holds them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from sdclient.manifest import ImageRecord, Manifest, Parent
from sdcore.files import sha256_of

SIDE_PX = 64


def surface(seed: int, *, side_px: int = SIDE_PX) -> Image.Image:
    """A brown board with a trace, a dark spot somewhere, fine texture and noise; RGB."""
    rng = np.random.default_rng([seed, 7])
    y, x = np.mgrid[:side_px, :side_px]
    tone = 110 + 6 * ndimage.gaussian_filter(rng.standard_normal((side_px, side_px)), 1.0) / 0.28
    trace = np.abs(x * np.cos(seed) + y * np.sin(seed) - rng.uniform(0.2, 0.7) * side_px) < side_px / 10
    tone = tone + 50 * trace
    cx, cy = rng.uniform(0.3, 0.7, 2) * side_px
    tone = tone - 70 * (np.hypot(x - cx, y - cy) < side_px / rng.uniform(8, 12))
    pixels = tone[..., None] * np.array([1.15, 1.0, 0.7]) + rng.normal(0, 4, (side_px, side_px, 1))
    return image_of(pixels)


def sibling(picture: Image.Image, seed: int) -> Image.Image:
    """The picture bent, as img2img at a low strength would."""
    rng = np.random.default_rng([seed, 8])
    pixels = np.asarray(picture, dtype=np.float64)
    side = pixels.shape[0]
    y, x = np.mgrid[:side, :side].astype(float)
    bend = [3 * ndimage.gaussian_filter(rng.standard_normal((side, side)), 8) / 0.035 for _ in range(2)]
    planes = [
        ndimage.map_coordinates(pixels[..., c], (y + bend[0], x + bend[1]), order=1, mode="nearest") for c in range(3)
    ]
    grain = rng.normal(0, 3, (side, side, 1))
    return image_of(np.stack(planes, axis=-1) + grain)


def noisy(picture: Image.Image, deviation: float, *, in_colour: bool, seed: int = 0) -> Image.Image:
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float64)
    shape = pixels.shape if in_colour else (*pixels.shape[:2], 1)
    return image_of(pixels + deviation * np.random.default_rng(seed).standard_normal(shape))


def blurred(picture: Image.Image, radius_px: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius_px))


def painted(picture: Image.Image) -> Image.Image:
    """Strokes of one colour each with hard edges between them (Kuwahara's filter, windows of 5 px)."""
    pixels = np.asarray(picture, dtype=np.float64)
    grey = pixels.mean(axis=2)
    mean = ndimage.uniform_filter(grey, 5)
    variance = ndimage.uniform_filter(grey * grey, 5) - mean * mean
    colours = np.stack([ndimage.uniform_filter(pixels[..., c], 5) for c in range(3)], axis=-1)
    shifts = [(dy, dx) for dy in (-2, 2) for dx in (-2, 2)]
    variances = np.stack([np.roll(variance, shift, (0, 1)) for shift in shifts])
    choices = np.stack([np.roll(colours, shift, (0, 1)) for shift in shifts])
    best = variances.argmin(axis=0)
    return image_of(np.take_along_axis(choices, best[None, ..., None], axis=0)[0])


def image_of(pixels: np.ndarray) -> Image.Image:  # type: ignore[type-arg]
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def write_sources(folder: Path, classes: Mapping[str, int]) -> None:
    """Numbered sources: so many in each class."""
    for number, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for k in range(1, count + 1):
            surface(100 * number + k).save(folder / name / f"{k}.png")


def add_images(
    output: Path,
    sources: Path,
    images: Mapping[str, Image.Image],
    *,
    masks: Mapping[str, Image.Image] | None = None,
    others: Mapping[str, tuple[Path, str]] | None = None,
    created_at: str = "2026-01-01T00:00:00+00:00",
) -> None:
    """Images by file name `<class>/<source number>_<k>.png`, written and recorded as a run does.

    Args:
        output: the output folder.
        sources: the numbered sources.
        images: by file.
        masks: by file of the image.
        others: by file of the image, (folder, relative path) of the picture it was put into.
        created_at: when they were made.
    """
    records = []
    with Manifest(output_made(output), create=True) as manifest:
        for file, picture in images.items():
            name, stem = file.split("/")
            source = f"{name}/{stem.split('_')[0]}.png"
            data = png(picture)
            (output / file).parent.mkdir(parents=True, exist_ok=True)
            (output / file).write_bytes(data)
            mask = ""
            if masks and file in masks:
                mask = f"_masks/{file}"
                (output / mask).parent.mkdir(parents=True, exist_ok=True)
                masks[file].save(output / mask)
            other: tuple[Parent, ...] = ()
            if others and file in others:
                folder, relative = others[file]
                other = (Parent(relative, sha256_of(folder / relative)),)
                manifest.set_run({"other_sources": str(folder)})
            records.append(
                ImageRecord(
                    file=file,
                    class_name=name,
                    source=source,
                    source_sha256=sha256_of(sources / source),
                    k=int(Path(stem).stem.split("_")[1]),
                    seed=1,
                    key=file,
                    sha256=hashlib.sha256(data).hexdigest(),
                    width=picture.width,
                    height=picture.height,
                    server="http://127.0.0.1:7860",
                    model="model",
                    engine="test",
                    asked={"base": "other"} if other else {},
                    used={},
                    infotext="",
                    created_at=created_at,
                    mask=mask,
                    other_parents=other,
                )
            )
        manifest.set_run({"sources": str(sources)})
        manifest.add(records)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but those that SQLite keeps beside an open database."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def output_made(output: Path) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    return output
