"""Which files of a folder are images, their natural order, and folders of images by class."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""File name endings of images, lower-case; a file's own ending is compared without regard to case."""

_SYSTEM_FILES = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".localized", "ehthumbs.db", "__macosx"})
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class SkippedFile:
    """A file that was not used, and why."""

    file: str
    """Path relative to the folder that was read, forward slashes."""
    reason: str


@dataclass(frozen=True)
class LabelledImage:
    """An image file and the class whose folder it lies in."""

    path: Path
    label: str


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that puts "10" after "9", without regard to case; equal names otherwise fall back to the exact text."""
    parts = tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in _DIGITS.split(name))
    return parts, name


def is_image_name(name: str) -> bool:
    """Whether the file name ends like an image's."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name is left behind by an operating system and is never a user's image."""
    return name.casefold() in _SYSTEM_FILES or name.startswith("._")


def is_visible(name: str) -> bool:
    """Whether a file or folder of this name is neither hidden nor left behind by an operating system."""
    return not name.startswith(".") and not is_system_file(name)


def list_entries(folder: Path) -> list[Path]:
    """Files and folders directly in a folder, in natural order, without hidden ones and system files.

    Raises:
        DataError: the folder is missing or is a file.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"{folder}: expected a folder, found {found}; check the path")
    entries = (entry for entry in folder.iterdir() if is_visible(entry.name))
    return sorted(entries, key=lambda entry: natural_key(entry.name))


def list_images(folder: Path) -> list[Path]:
    """Every image file below `folder`, by suffix, in natural order of the relative path; only what `is_visible`.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a folder of images")
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if is_visible(name)]
        found += [Path(place, name) for name in files if is_image_name(name) and is_visible(name)]
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def list_class_folders(folder: Path) -> list[Path]:
    """The class folders in `folder`, sorted by name as plain text, which is the order of a classifier's outputs.

    Raises:
        DataError: no such folder, no folder in it, or images beside the class folders.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a folder with one folder per class")
    entries = [entry for entry in folder.iterdir() if is_visible(entry.name)]
    loose = sorted(entry.name for entry in entries if entry.is_file() and is_image_name(entry.name))
    if loose:
        raise DataError(
            f"{folder}: {len(loose)} image(s) lie beside the class folders, the first is {loose[0]!r}; "
            "move each into the folder of its class"
        )
    classes = sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
    if not classes:
        raise DataError(f"{folder}: no class folders in it; expected one folder per class")
    return classes


def list_labelled_images(folder: Path, *, refuse_divided: bool = False) -> tuple[LabelledImage, ...]:
    """Every image of every class folder in `folder`, by class and then in natural order.

    With `refuse_divided`, a folder that holds `train` and `val` instead of classes is refused.

    Raises:
        DataError: as `list_class_folders`, or a class folder without images.
    """
    class_folders = list_class_folders(folder)
    if refuse_divided and {class_folder.name for class_folder in class_folders} >= {"train", "val"}:
        raise DataError(f"{folder}: holds train/ and val/; give the one to learn from: {folder / 'train'}")
    found: list[LabelledImage] = []
    for class_folder in class_folders:
        images = list_images(class_folder)
        if not images:
            raise DataError(
                f"{class_folder}: no images in this class folder; add some ({', '.join(sorted(IMAGE_SUFFIXES))}) "
                "or remove the folder"
            )
        found += [LabelledImage(path, class_folder.name) for path in images]
    return tuple(found)
