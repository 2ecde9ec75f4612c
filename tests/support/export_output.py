"""Outputs with sources, masks and verdicts, written by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from sdclient.manifest import Curation, ImageRecord, Manifest, Parent
from sdclient.manifest.curation import FilterVerdict
from sdclient.output.store import encode_png

WIDTH, HEIGHT = 40, 30


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Output:
    """An output folder that grows image by image."""

    root: Path
    sources: Path
    changed: dict[str, np.ndarray] = field(default_factory=dict)
    """File -> (H, W) whether a pixel differs from its source."""

    def source(self, class_name: str, number: int) -> Path:
        path = self.sources / class_name / f"{number}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([number, *class_name.encode()])
            Image.fromarray(rng.integers(60, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(path)
        return path

    def add(
        self,
        class_name: str,
        number: int,
        k: int = 1,
        *,
        areas: Iterable[tuple[int, int, int, int]] = (),
        feather: int = 0,
        others: tuple[Parent, ...] = (),
        base: Path | None = None,
        asked: dict[str, object] | None = None,
    ) -> str:
        """Record an image: areas (left, top, right, bottom) are repainted and make its mask; none: all, no mask."""
        source = self.source(class_name, number)
        with Image.open(base or source) as picture:
            pixels = np.asarray(picture).astype(int)
        rng = np.random.default_rng([7, number, k])
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for left, top, right, bottom in areas:
            mask[top - feather : bottom + feather, left - feather : right + feather] = 90
            mask[top:bottom, left:right] = 255
        alpha = (mask / 255.0)[..., None] if areas else 1.0
        made = np.rint(pixels * (1 - alpha) + rng.integers(0, 256, pixels.shape) * alpha).astype(np.uint8)
        file = f"{class_name}/{number}_{k}.png"
        self.changed[file] = (made != pixels).any(axis=2)
        lineage = {"class": class_name, "source_sha256": sha256_of(source), "key": file, "engine": "stand-in"}
        if others:
            lineage["parents_sha256"] = [sha256_of(source), *(one.sha256 for one in others)]
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_bytes(encode_png(Image.fromarray(made), infotext="", lineage=lineage))
        mask_file = f"_masks/{file}" if areas else ""
        if areas:
            (self.root / mask_file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(self.root / mask_file)
        record = ImageRecord(
            file=file, class_name=class_name, source=f"{class_name}/{number}.png", source_sha256=sha256_of(source),
            k=k, seed=k, key=f"{self.root.name} {file}", sha256=sha256_of(self.root / file), width=WIDTH, height=HEIGHT,
            server="", model="", engine="stand-in", asked=asked or {}, used={}, infotext="", created_at="",
            mask=mask_file, other_parents=others,
        )  # fmt: skip
        with Manifest(self.root, create=True) as manifest:
            manifest.set_run({"sources": str(self.sources)})
            manifest.add([record])
        return file

    def judge(self, *, accepted: Iterable[str] = (), rejected: Iterable[str] = ()) -> None:
        with Manifest(self.root, create=True) as manifest:
            hashes = {record.file: record.sha256 for record in manifest.images()}
            verdicts = [FilterVerdict(file, hashes[file], ()) for file in accepted]
            verdicts += [FilterVerdict(file, hashes[file], ("noise",)) for file in rejected]
            Curation(manifest).set_filter_verdicts(verdicts)


MakeOutput = Callable[..., Output]


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every visible file: bytes and time of its last change."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
