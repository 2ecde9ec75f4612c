"""How well the noise score tells spoiled pictures from good ones: recall and false rejects at the default limits.

    python bench/spoiled_pictures.py --sources photos --sources other-photos [--size 512] [--per-class 4]

Spoiled pictures are planted: noise over real sources, at several strengths and blob sizes. Good ones are what the
embedded server's engine makes of the sources, and what may rightly happen to a picture's look. Needs the extra `serve`.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from tqdm import tqdm

from sdclient.output.artifacts import ArtifactLimits, measure_artifacts, rejection_reason
from sdclient.serve.classical_engine import ClassicalEngine
from sdclient.sources.source import fit_to_model, generation_size, read_photo
from sdcore.images.folders import is_image_name, natural_key

Pixels = NDArray[np.float32]


def main() -> None:
    """Print one table of all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=Path, action="append", required=True, help="a folder of class folders")
    parser.add_argument("--size", type=int, default=512, help="native size in px")
    parser.add_argument("--per-class", type=int, default=4)
    arguments = parser.parse_args()
    print(f"| case | set | images | lowest | median | highest | rejected |\n|{'---|' * 7}")
    seconds: list[float] = []
    for folder in arguments.sources:
        scores: dict[str, list[tuple[float, bool]]] = defaultdict(list)
        rng = np.random.default_rng(0)
        for picture in tqdm(pick(folder, arguments.per_class), desc=folder.name):
            source = fit_to_model(picture, generation_size(*picture.size, native_px=arguments.size))
            for case, image in cases(source, rng):
                begin = time.process_time()
                findings = measure_artifacts(image, source)
                seconds.append(time.process_time() - begin)
                scores[case].append((findings.noise_score, rejection_reason(findings) is not None))
        for case, found in scores.items():
            values = [score for score, _ in found]
            rejected = sum(is_spoiled for _, is_spoiled in found)
            print(
                f"| {case} | {folder.name} | {len(found)} | {min(values):.2f} | {np.median(values):.2f} "
                f"| {max(values):.2f} | {rejected} |"
            )
    print(
        f"\nlimit {ArtifactLimits().noise_score}, native size {arguments.size} px, "
        f"{1000 * float(np.median(seconds)):.1f} ms of CPU a picture and its source (median of {len(seconds)})"
    )


def pick(folder: Path, per_class: int) -> list[Image.Image]:
    """Some pictures of each class, spread evenly over the names, and up to as many of one colour only."""
    picked: list[Image.Image] = []
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        names = sorted((path.name for path in class_folder.iterdir() if is_image_name(path.name)), key=natural_key)
        step = max(1, len(names) // per_class)
        picked.extend(read_photo(class_folder / name) for name in names[::step][:per_class])
        flat = (picture for name in names if is_flat(picture := read_photo(class_folder / name)))
        picked.extend(picture for picture, _ in zip(flat, range(per_class), strict=False))
    return picked


def is_flat(picture: Image.Image) -> bool:
    """Whether it has one colour."""
    low, high = picture.convert("L").getextrema()
    return bool(low == high)


def cases(source: Image.Image, rng: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    """Every picture made of one source, and what it is."""
    pixels = np.asarray(source, dtype=np.float32)
    # A black or white source would hide what is planted by its colour alone, and excuse a flat result.
    if not is_flat(source):
        yield from planted(pixels, rng)
    for strength in (0.1, 0.25, 0.5, 0.75):
        for seed in range(2):
            yield f"good: engine at {strength}", ClassicalEngine().vary(source, strength=strength, seed=(seed,))
    for quality in (10, 50, 80):
        buffer = io.BytesIO()
        source.save(buffer, "JPEG", quality=quality)
        yield f"good: JPEG quality {quality}", Image.open(buffer)
    yield "good: sharpened", source.filter(ImageFilter.UnsharpMask(2, 150, 0))
    yield "good: contrast x 1.6", ImageEnhance.Contrast(source).enhance(1.6)
    yield "good: colour x 1.8", ImageEnhance.Color(source).enhance(1.8)
    yield "good: oil painting (median of 7 px)", source.filter(ImageFilter.MedianFilter(7))
    yield "good: tinted", ImageOps.colorize(source.convert("L"), (10, 30, 20), (230, 200, 120))
    yield "good: grey grain of 6 levels", to_image(pixels + 6 * rng.standard_normal((*pixels.shape[:2], 1)))
    yield "good: cloud of colour, 12 levels, 256 px", to_image(pixels + 12 * blobs(rng, pixels.shape, 256))


def planted(pixels: Pixels, rng: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    """Spoiled pictures."""
    for level in (0, 4, 8):
        yield f"spoiled: black, level {level}", to_image(np.full_like(pixels, level))
    yield "spoiled: one colour", to_image(np.full_like(pixels, (200, 60, 140)))
    for blob_px in (1, 8, 32):
        yield f"spoiled: rainbow alone, blobs {blob_px} px", to_image(128 + 70 * blobs(rng, pixels.shape, blob_px))
    for share in (0.3, 0.5, 0.7):
        for blob_px in (1, 8, 32):
            noise = 128 + 70 * blobs(rng, pixels.shape, blob_px)
            yield f"spoiled: {share:.0%} rainbow, blobs {blob_px} px", to_image((1 - share) * pixels + share * noise)
    for deviation in (10, 20, 40):
        for blob_px in (1, 8, 32, 64):
            noisy = pixels + deviation * blobs(rng, pixels.shape, blob_px)
            yield f"spoiled: rainbow of {deviation} levels added, blobs {blob_px} px", to_image(noisy)
    for blob_px in (1, 8, 32):
        grey = 128 + 70 * blobs(rng, (*pixels.shape[:2], 1), blob_px)
        yield f"spoiled: grey noise alone, blobs {blob_px} px", to_image(np.repeat(grey, 3, axis=2))
    for share in (0.02, 0.1):
        drawn = rng.random(pixels.shape[:2])[..., None]
        salted = np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 255, pixels))
        yield f"spoiled: salt and pepper on {share:.0%}", to_image(salted)


def blobs(rng: np.random.Generator, shape: tuple[int, ...], blob_px: int) -> Pixels:
    """Noise of zero mean and unit variance in each channel, in smooth blobs."""
    height, width, channels = shape
    knots = (max(2, height // blob_px), max(2, width // blob_px))
    planes = []
    for _ in range(channels):
        coarse = Image.fromarray(rng.standard_normal(knots).astype(np.float32))
        plane = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        planes.append((plane - plane.mean()) / plane.std())
    return np.stack(planes, axis=-1)


def to_image(pixels: NDArray[np.floating]) -> Image.Image:
    """Levels clipped to 0-255."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
