"""Which image files a folder holds, by class."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_JUNK_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".localized", "ehthumbs.db", "__macosx"})


@dataclass(frozen=True)
class LabelledImage:
    """An image file and the class whose folder it lies in."""

    path: Path
    label: str


def list_labelled_images(folder: Path) -> tuple[LabelledImage, ...]:
    """Every image of every class folder in `folder`, by class and then by name; what systems leave is passed over.

    Raises:
        DataError: no such folder, no class folder, images beside the class folders, or a class without images.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one folder of images per class in it")
    entries = [entry for entry in folder.iterdir() if not _is_junk(entry.name)]
    loose = sorted(entry.name for entry in entries if entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES)
    if loose:
        raise DataError(
            f"{folder}: {len(loose)} image(s) lie beside the class folders, the first is {loose[0]!r}; "
            "move each into the folder of its class"
        )
    classes = sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
    if not classes:
        raise DataError(f"{folder}: no class folders in it; expected one folder of images per class")
    if {entry.name for entry in classes} >= {"train", "val"}:
        raise DataError(f"{folder}: holds train/ and val/; give the one to learn from: {folder / 'train'}")
    found: list[LabelledImage] = []
    for entry in classes:
        images = _images_below(entry)
        if not images:
            raise DataError(f"{entry}: no images in this class folder; add some or remove the folder")
        found += [LabelledImage(path, entry.name) for path in images]
    return tuple(found)


def _images_below(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_junk(name)]
        found += [
            Path(place, name) for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES and not _is_junk(name)
        ]
    return sorted(found, key=lambda path: _natural_key(path.relative_to(folder).as_posix()))


def _natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts "2.png" before "10.png"."""
    pieces = re.split(r"([0-9]+)", text)
    return tuple((0, int(piece), piece) if piece[:1].isdigit() else (1, 0, piece) for piece in pieces if piece)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK_NAMES
