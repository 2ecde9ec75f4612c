"""What a transplant run is made of: defects with their masks, good images, areas where these may be changed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import printable, sha256_of
from sdcore.images.folders import is_image_name, list_entries
from sdcore.progress import ProgressTracker, no_progress

from ..errors import MaskError, SourceError
from ..masks import mask_path
from ..sources import Source

_A_DEFECT = "defects, not good images; expected good ones alone: give their folder, as sources/Normal"


@dataclass(frozen=True)
class BackgroundImage:
    """A picture without a defect."""

    relative: str
    """Path relative to the folder of good images, forward slashes."""
    path: Path
    sha256: str


@dataclass(frozen=True)
class Defect:
    """A numbered source image and the mask of its defect."""

    source: Source
    sha256: str
    mask: Path
    mask_sha256: str


def read_defects(sources: Iterable[Source], masks: Path, *, track: ProgressTracker = no_progress) -> list[Defect]:
    """The defects with their masks.

    Raises:
        MaskError: a mask is missing; says how many are.
        OSError: a file cannot be read.
    """
    pairs = [(source, mask_path(masks, source)) for source in sources]
    missing = [mask for _, mask in pairs if not mask.is_file()]
    if missing:
        raise MaskError(
            f"{printable(missing[0])}: no such mask ({len(missing)} of {len(pairs)} sources have none); expected one "
            "for every source that owes images; make them with 'sdclient mask'"
        )
    return [
        Defect(source, sha256_of(source.path), mask, sha256_of(mask)) for source, mask in track(pairs, "read defects")
    ]


def read_good(
    folder: Path, defects: Collection[Defect], classes: Collection[str], *, track: ProgressTracker = no_progress
) -> list[BackgroundImage]:
    """The good images of a folder and of the folders in it, in natural order.

    Args:
        folder: of images, or of class folders with images.
        defects: those that will be put on them.
        classes: names of all defect classes, none of which may be a folder among the good ones.
        track: shows how far reading them is.

    Raises:
        SourceError: there is none, or one of them is a defect's picture.
        OSError: a file cannot be read.
    """
    found: list[BackgroundImage] = []
    of_defects = next((entry for entry in list_entries(folder) if entry.is_dir() and entry.name in classes), None)
    if of_defects is not None:
        raise SourceError(f"{printable(of_defects)}: {_A_DEFECT}")
    files = list(_images_in(folder))
    if not files:
        raise SourceError(f"{printable(folder)}: no image in it; expected good images, as {folder}/1.png")
    by_sha256 = {defect.sha256: defect.source.relative for defect in defects}
    for path in track(files, "read good images"):
        relative = path.relative_to(folder).as_posix()
        sha256 = sha256_of(path)
        if sha256 in by_sha256:
            raise SourceError(f"{printable(path)}: {_A_DEFECT} ({by_sha256[sha256]})")
        found.append(BackgroundImage(relative, path, sha256))
    return found


def allowed_path(allowed: Path, relative: str) -> Path:
    """Where the allowed area of an image lies: at the image's own path, as a .png."""
    return (allowed / relative).with_suffix(".png")


def check_allowed(allowed: Path, relatives: Sequence[str]) -> int:
    """How many of the images have an allowed area of their own.

    Raises:
        SourceError: none has one.
    """
    having = sum(allowed_path(allowed, relative).is_file() for relative in relatives)
    if not having:
        raise SourceError(
            f"{printable(allowed)}: no allowed area for any of the {len(relatives)} pictures; expected masks named as "
            f"they are, as {allowed_path(allowed, relatives[0])}, white where a defect may go"
        )
    return having


def digest(lines: Iterable[str]) -> str:
    """SHA-256 over lines, for what a run depends on as a whole."""
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def describe_good(good: Sequence[BackgroundImage]) -> str:
    """The good images in one line that changes with any of them."""
    return f"{len(good)} images, {digest(f'{one.relative} {one.sha256}' for one in good)[:16]}"


def describe_allowed(allowed: Path) -> str:
    """The allowed areas of a folder in one line that changes with any of them."""
    lines = [f"{path.relative_to(allowed).as_posix()} {sha256_of(path)}" for path in _images_in(allowed)]
    return f"{len(lines)} areas, {digest(lines)[:16]}"


def _images_in(folder: Path) -> Iterable[Path]:
    for entry in list_entries(folder):
        if entry.is_dir() and not entry.name.startswith("_"):
            yield from (path for path in list_entries(entry) if path.is_file() and is_image_name(path.name))
        elif entry.is_file() and is_image_name(entry.name):
            yield entry
