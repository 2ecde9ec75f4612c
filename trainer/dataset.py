"""Where the images of a DATA folder lie: `train/`, `val/` and `test/`, each with one folder per class."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
JUNK_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".localized", "ehthumbs.db"})
"""What operating systems leave in folders, in lower case."""

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledImage:
    """An image file and the class whose folder it lies in."""

    path: Path
    label: str


@dataclass(frozen=True)
class Dataset:
    """The images of a DATA folder, each part in a fixed order (by class, then by name)."""

    root: Path
    classes: tuple[str, ...]
    """Names of the folders in `train/`, sorted; a classifier's outputs stand in this order."""
    train: tuple[LabelledImage, ...]
    val: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]
    """Empty when there is no `test/`. Its labels may be classes, or two words such as Normal and Abnormal."""

    def part(self, name: str) -> tuple[LabelledImage, ...]:
        """The images of "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts "2.png" before "10.png"; total, and the same on every system."""
    pieces = re.split(r"([0-9]+)", text)
    return tuple((0, int(piece), piece) if piece[:1].isdigit() else (1, 0, piece) for piece in pieces if piece)


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is an operating system's leftover, never a user's picture."""
    return name.lower() in JUNK_NAMES or name.startswith("._") or name == "__MACOSX"


def list_images(folder: Path) -> list[Path]:
    """Every image file below `folder`, by suffix, in natural order of the relative path.

    Folders and files that operating systems leave behind, and hidden ones, are passed over.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a folder of images")
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not is_junk(name)]
        found += [
            Path(place, name)
            for name in files
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def list_class_folders(folder: Path) -> list[Path]:
    """The class folders in `folder`, sorted by name.

    Raises:
        DataError: no such folder, no folder in it, or images beside the class folders.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a folder with one folder per class")
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".") and not is_junk(entry.name)]
    loose = sorted(entry.name for entry in entries if entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES)
    if loose:
        raise DataError(
            f"{folder}: {len(loose)} image(s) lie beside the class folders, the first is {loose[0]!r}; "
            "move each into the folder of its class"
        )
    classes = sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
    if not classes:
        raise DataError(f"{folder}: no class folders in it; expected one folder per class")
    return classes


def list_labelled_images(folder: Path) -> tuple[LabelledImage, ...]:
    """Every image of every class folder in `folder`.

    Raises:
        DataError: as `list_class_folders`, or a class folder without images.
    """
    found: list[LabelledImage] = []
    for class_folder in list_class_folders(folder):
        images = list_images(class_folder)
        if not images:
            raise DataError(
                f"{class_folder}: no images in this class folder; add some ({', '.join(sorted(IMAGE_SUFFIXES))}) "
                "or remove the folder"
            )
        found += [LabelledImage(path, class_folder.name) for path in images]
    return tuple(found)


def read_dataset(root: Path) -> Dataset:
    """List the images of a DATA folder and check that its parts fit together.

    Raises:
        DataError: a part is missing or empty, fewer than two classes, a validation class that training does not
            have or the other way round, or test labels that are neither classes nor Normal/Abnormal.
    """
    for name in ("train", "val"):
        if not (root / name).is_dir():
            raise DataError(
                f"{root}: no folder {name}/ in it; expected train/, val/ and test/ with one folder per class, "
                "as 'trainer split' makes them"
            )
    train = list_labelled_images(root / "train")
    val = list_labelled_images(root / "val")
    test = list_labelled_images(root / "test") if (root / "test").is_dir() else ()
    classes = tuple(sorted({image.label for image in train}))
    if len(classes) < 2:
        raise DataError(f"{root / 'train'}: one class only ({classes[0]!r}); expected two or more to tell apart")
    in_val = {image.label for image in val}
    unknown = sorted(in_val - set(classes))
    if unknown:
        raise DataError(
            f"{root / 'val' / unknown[0]}: class {unknown[0]!r} is not in train/ ({', '.join(classes)}); "
            "give it training images or remove it"
        )
    missing = sorted(set(classes) - in_val)
    if missing:
        raise DataError(
            f"{root / 'val'}: no images of class {missing[0]!r}; every class needs one or more, since the best "
            "epoch is chosen by them; run 'trainer split' again or add some"
        )
    _check_test_labels(root / "test", {image.label for image in test}, classes)
    return Dataset(root, classes, train, val, test)


def _check_test_labels(folder: Path, labels: set[str], classes: tuple[str, ...]) -> None:
    unknown = sorted(labels - set(classes))
    # A set judged only Normal/Abnormal has one word of its own, for all defects together.
    if unknown and (len(unknown) > 1 or len(labels) > 2):
        raise DataError(
            f"{folder / unknown[0]}: class {unknown[0]!r} is not in train/ ({', '.join(classes)}); expected these "
            "classes, or just two folders such as Normal and Abnormal"
        )
