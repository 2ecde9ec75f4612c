"""How fast `sdclient export` is and what memory it takes: 10,000 small images, first export, repeat, and with boxes.

    python bench/export_speed.py [COUNT]

The images are drawn noise of 96 x 96 px, each with a mask of two areas, as PNG files of about 20 kB.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from sdclient.manifest import Curation, ImageRecord, Manifest
from sdclient.manifest.curation import FilterVerdict
from sdclient.output.store import encode_png

SIDE, SOURCES = 96, 50


def main(count: int) -> None:
    """Make an output, then export it in processes of their own."""
    with tempfile.TemporaryDirectory(prefix="export-speed-") as folder:
        root = Path(folder)
        make_output(root, count)
        for name, place, options in (
            ("class folders, first", "data/train", []),
            ("class folders, repeat", "data/train", []),
            ("YOLO boxes, first", "detection", ["--labels", "yolo"]),
            ("YOLO boxes, repeat", "detection", ["--labels", "yolo"]),
        ):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "sdclient", "export", str(root / "output"), str(root / place), *options],
                check=True,
                capture_output=True,
            )
            seconds = time.perf_counter() - began
            # The highest of all children so far, in kB on Linux.
            peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
            print(f"{name}: {count / seconds:.0f} images/s ({seconds:.1f} s), peak so far {peak_mb:.0f} MB")


def make_output(root: Path, count: int) -> None:
    """An output of `count` accepted images with masks, and its sources."""
    rng = np.random.default_rng(0)
    sources = []
    for number in range(1, SOURCES + 1):
        path = root / "sources" / "spur" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(60, 180, (SIDE, SIDE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        sources.append((pixels, hashlib.sha256(path.read_bytes()).hexdigest()))
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[10:30, 10:30] = mask[50:80, 40:90] = 255
    records = []
    for place in range(count):
        number = place % SOURCES
        pixels, source_sha256 = sources[number]
        made = pixels.copy()
        made[mask > 0] = rng.integers(0, 256, (int((mask > 0).sum()), 3))
        file = f"spur/{number + 1}_{place // SOURCES + 1}.png"
        data = encode_png(
            Image.fromarray(made), infotext="Steps: 20", lineage={"source_sha256": source_sha256, "key": file}
        )
        for name, content in (
            (file, data),
            (f"_masks/{file}", encode_png(Image.fromarray(mask), infotext="", lineage={})),
        ):
            (root / "output" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "output" / name).write_bytes(content)
        records.append(
            ImageRecord(
                file=file, class_name="spur", source=f"spur/{number + 1}.png", source_sha256=source_sha256, k=place,
                seed=place, key=file, sha256=hashlib.sha256(data).hexdigest(), width=SIDE, height=SIDE, server="",
                model="", engine="drawn", asked={"denoising_strength": 0.25}, used={}, infotext="Steps: 20",
                created_at="", mask=f"_masks/{file}",
            )
        )  # fmt: skip
    with Manifest(root / "output", create=True) as manifest:
        manifest.set_run({"sources": str(root / "sources")})
        manifest.add(records)
        Curation(manifest).set_filter_verdicts(FilterVerdict(one.file, one.sha256, ()) for one in records)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
