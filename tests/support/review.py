"""A small output to review: two classes, a mask, a transplanted image, a 16-bit source, scores and verdicts."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sdclient.manifest import Curation, ImageRecord, Manifest, Parent
from sdclient.manifest.curation import FilterVerdict

SIZE = (48, 32)
FILES = [
    "pad/1_1.png", "pad/1_2.png", "pad/1_3.png", "pad/2_1.png", "pad/2_2.png", "pad/10_1.png",
    "漏铜/1_1.png", "漏铜/1_2.png", "漏铜/1_3.png",
]  # fmt: skip
SOURCES = {"pad/1.png": "L", "pad/2.tif": "I;16", "pad/10.png": "L", "漏铜/1.bmp": "RGB"}
MASK_BOX = (10, 8, 20, 16)
REASONS = {
    "pad/1_2.png": ("too_alike",),
    "pad/2_1.png": ("noise", "face"),
    "漏铜/1_1.png": ("noise",),
    "pad/1_1.png": (),
}


def noise_image(seed: int, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """Noise that depends on the seed."""
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    top = 2**16 if mode == "I;16" else 256
    return Image.fromarray(rng.integers(0, top, shape).astype(np.uint16 if mode == "I;16" else np.uint8))


def write(path: Path, image: Image.Image) -> str:
    """Write an image; returns the sha256 of its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build_output(folder: Path) -> Path:
    """`folder/output` with its sources in `folder/sources` and good boards in `folder/good`."""
    output, sources, good = folder / "output", folder / "sources", folder / "good"
    digests = {
        name: write(sources / name, noise_image(seed, mode=mode)) for seed, (name, mode) in enumerate(SOURCES.items())
    }
    board = write(good / "Normal" / "5.png", noise_image(50))
    mask = Image.new("L", SIZE)
    mask.paste(255, MASK_BOX)
    write(output / "_masks" / "pad" / "1_1.png", mask)
    by_stem = {name.rpartition(".")[0]: name for name in SOURCES}
    records = []
    for number, file in enumerate(FILES):
        stem, _, k = file.removesuffix(".png").rpartition("_")
        source = by_stem[stem]
        records.append(
            ImageRecord(
                file=file,
                class_name=file.partition("/")[0],
                source=source,
                source_sha256=digests[source],
                k=int(k),
                seed=1000 + number,
                key=f"key {file}",
                sha256=write(output / file, noise_image(100 + number)),
                width=SIZE[0],
                height=SIZE[1],
                server="http://127.0.0.1:1",
                model="model [abc]",
                engine="an engine",
                asked={"denoising_strength": 0.25, "prompt": "<b>macro</b>"},
                used={},
                infotext="",
                created_at="2026-11-24T00:00:00+00:00",
                mask="_masks/pad/1_1.png" if file == "pad/1_1.png" else "",
            )
        )
    records[-1] = replace(records[-1], asked={"base": "other"}, other_parents=(Parent("Normal/5.png", board),))
    with Manifest(output, create=True) as manifest:
        manifest.set_run({"sources": str(sources.resolve()), "other_sources": str(good.resolve()), "parameters": {}})
        manifest.add(records)
        curation = Curation(manifest)
        sha256 = {record.file: record.sha256 for record in records}
        curation.set_filter_verdicts(FilterVerdict(file, sha256[file], words) for file, words in REASONS.items())
        curation.set_scores(
            (file, sha256[file], {"noise": number / 10, "ssim_inside": None}) for number, file in enumerate(FILES)
        )
    return output
