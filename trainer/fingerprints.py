"""Image files -> fingerprints: bytes, pixels, look, size.

Every file is decoded once. Worker processes may share the reading; what comes back does not depend on their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdcore.images.decode import to_rgb
from sdcore.images.hashes import perceptual_hash, shrink_to_grey

from .unusable import Unusable, find_oddities, opened_picture
from .workers import map_files

GRID = 16
"""Cells a side of the coarse picture that a fingerprint keeps."""


@dataclass(frozen=True)
class Fingerprint:
    """What is known of one file after reading it once."""

    path: Path
    error: str | None = None
    """Why it cannot be trained on; then all below is empty."""
    sha256: str = ""
    """Of the file's bytes."""
    pixel_sha256: str = ""
    """Of the upright RGB pixels and their size."""
    perceptual_hash: int = 0
    """64 bits; see `sdcore.images.hashes.perceptual_hash`."""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels, upright."""
    mode: str = ""
    """Pillow's word for the pixels as stored."""
    format: str = ""
    """Pillow's word for the content, such as JPEG."""
    oddities: tuple[str, ...] = ()
    """Keys of `trainer.unusable.ODDITIES`."""
    contrast: float = 0.0
    """Standard deviation of the grey levels at 32 x 32, in [0, 127.5]; near 0 the perceptual hash means nothing."""
    grid: bytes = b""
    """16 x 16 RGB means, row by row, uint8."""


def pixel_sha256(path: Path) -> str:
    """SHA-256 of the decoded, upright RGB pixels with their size; the same for one picture in PNG and BMP.

    Raises:
        Unusable: the file is no picture that can be read to its end.
    """
    with opened_picture(path) as (picture, _):
        return _hash_pixels(to_rgb(picture))


def fingerprint(path: Path) -> Fingerprint:
    """Read one file; what cannot be used has its reason in `error`."""
    try:
        with opened_picture(path) as (picture, file):
            oddities = find_oddities(picture, path.suffix)
            mode, kind = picture.mode, picture.format or ""
            pixels = to_rgb(picture)
            grey = shrink_to_grey(pixels)
            grid = pixels.resize((GRID, GRID), Image.Resampling.BOX).tobytes()
            file.seek(0)
            return Fingerprint(
                path,
                sha256=_hash_stream(iter(lambda: file.read(1 << 20), b"")),
                pixel_sha256=_hash_pixels(pixels),
                perceptual_hash=perceptual_hash(grey),
                size=pixels.size,
                mode=mode,
                format=kind,
                oddities=oddities,
                contrast=float(grey.std()),
                grid=grid,
            )
    except Unusable as why:
        return Fingerprint(path, error=str(why))


def fingerprint_files(
    paths: Sequence[Path], *, workers: int = 0, progress: bool = False, label: str = "read"
) -> list[Fingerprint]:
    """Read every file; one fingerprint a file, in the order of `paths`, whatever the number of workers.

    Args:
        paths: files of any kind.
        workers: processes that share the reading. 0 reads in this process, which is quickest for few files;
            with 1 or more a file that crashes its process, or that the system kills for its hunger, is one file
            with an error.
        progress: show a bar on stderr.
        label: what the bar is called.
    """
    results = map_files(fingerprint, paths, workers=workers, progress=progress, label=label)
    return [
        result if isinstance(result, Fingerprint) else Fingerprint(path, error=result.reason)
        for path, result in zip(paths, results, strict=True)
    ]


def _hash_pixels(pixels: Image.Image) -> str:
    return _hash_stream(iter([f"{pixels.width}x{pixels.height};".encode(), pixels.tobytes()]))


def _hash_stream(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
