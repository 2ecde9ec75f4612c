"""The layout of a DATA folder: its parts and classes, where a file belongs, and how many images each class has."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from sdcore.images.folders import LabelledImage, is_system_file, list_images, list_labelled_images

from ..errors import DataError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """The images of a DATA folder, each part in a fixed order (by class, then by name)."""

    root: Path
    classes: tuple[str, ...]
    """Names of the folders in `train/`, sorted: the order of a classifier's outputs."""
    train: tuple[LabelledImage, ...]
    val: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]
    """Empty without `test/`. Its labels are classes, or two words such as Normal and Abnormal."""

    def part(self, name: str) -> tuple[LabelledImage, ...]:
        """The images of "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def read_dataset(root: Path) -> Dataset:
    """List the images of a DATA folder and check that its parts fit together.

    Raises:
        DataError: a part is missing or empty, there are fewer than two classes, train and val have different
            classes, or test labels are neither classes nor Normal/Abnormal.
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
        raise DataError(f"{root / 'train'}: one class only ({classes[0]!r}); expected two or more")
    in_val = {image.label for image in val}
    if unknown := sorted(in_val - set(classes)):
        raise DataError(
            f"{root / 'val' / unknown[0]}: class {unknown[0]!r} is not in train/ ({', '.join(classes)}); "
            "give it training images or remove it"
        )
    if missing := sorted(set(classes) - in_val):
        raise DataError(
            f"{root / 'val'}: no images of class {missing[0]!r}; every class needs one or more, since the best "
            "epoch is chosen by them; run 'trainer split' again or add some"
        )
    # A test set that is only sorted into Normal and Abnormal has one label of its own, for all defects together.
    in_test = {image.label for image in test}
    unknown = sorted(in_test - set(classes))
    if unknown and (len(unknown) > 1 or len(in_test) > 2):
        raise DataError(
            f"{root / 'test' / unknown[0]}: class {unknown[0]!r} is not in train/ ({', '.join(classes)}); expected "
            "these classes, or just two folders such as Normal and Abnormal"
        )
    return Dataset(root, classes, train, val, test)


FOLDS_NAME = "folds.csv"
"""Written by `trainer split --folds` beside the folds."""

ALL = "all"
"""The only part of a folder that is not divided."""


def data_parts(root: Path) -> tuple[str, ...]:
    """Those of "train", "val" and "test" that a DATA folder has; `(ALL,)` for any other folder.

    A folder is DATA when it has a `train/` with folders in it.

    Raises:
        DataError: the folder holds folds, where each image exists several times.
    """
    if (root / FOLDS_NAME).is_file():
        raise DataError(f"{root}: holds folds, which share their images; give one of them, as {root / 'fold-0'}")
    train = root / "train"
    if not (train.is_dir() and any(entry.is_dir() for entry in train.iterdir())):
        return (ALL,)
    return tuple(part for part in PARTS if (root / part).is_dir())


def locate(file: PurePath, parts: tuple[str, ...]) -> tuple[str, str]:
    """Part (one of `data_parts`) and class of a file relative to the root; each "" where it is in none."""
    folders = file.parts[:-1]
    if parts == (ALL,):
        return ALL, folders[0] if folders else ""
    if not folders or folders[0] not in parts:
        return "", ""
    return folders[0], folders[1] if len(folders) > 1 else ""


FEW_TO_LEARN = 10
"""A class with fewer training images gets a note."""
FAR_FROM_BALANCE = 10.0
"""The largest class may have this many times the images of the smallest without a note."""


@dataclass(frozen=True)
class Counts:
    """Images of each class in each part of a folder."""

    parts: tuple[str, ...]
    """The existing ones of train, val and test; ("all",) where the folder is not divided."""
    images: Mapping[str, Mapping[str, int]]
    """Class -> part -> images; classes sorted by name, each with every part."""
    unplaced: int = 0
    """Images in no class folder; no other number includes them."""

    def of_class(self, label: str) -> int:
        """Over all parts."""
        return sum(self.images[label].values())

    def of_part(self, part: str) -> int:
        """Over all classes."""
        return sum(row[part] for row in self.images.values())

    @property
    def total(self) -> int:
        """Over all classes and parts."""
        return sum(self.of_part(part) for part in self.parts)

    def share(self, label: str, part: str) -> float | None:
        """Share of one class in a part's images, in [0, 1]; None for an empty part."""
        whole = self.of_part(part)
        return self.images[label][part] / whole if whole else None

    def ratio(self, part: str) -> float | None:
        """Largest class of a part over its smallest non-empty class; None for an empty part."""
        there = [row[part] for row in self.images.values() if row[part]]
        return max(there) / min(there) if there else None


def count_images(root: Path) -> Counts:
    """Count the images of a DATA folder, or of a folder of class folders; no file is opened.

    Raises:
        DataError: `root` is not a folder, has no class folder, or holds folds.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a DATA folder, or one with one folder per class")
    parts = data_parts(root)
    places = [locate(path.relative_to(root), parts) for path in list_images(root)]
    classes = {
        entry.name
        for part in parts
        for entry in (root if part == ALL else root / part).iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and not is_system_file(entry.name)
    }
    counts = count_labels(places, parts, classes=classes)
    if not counts.images:
        raise DataError(f"{root}: no class folders in it; expected a DATA folder, or one with one folder per class")
    return counts


def count_labels(places: Iterable[tuple[str, str]], parts: tuple[str, ...], *, classes: Iterable[str] = ()) -> Counts:
    """Count the (part, class) pairs that `locate` gives for each image; `classes` may have further, empty classes."""
    counted = Counter(places)
    unplaced = sum(number for (part, label), number in counted.items() if not part or not label)
    labels = sorted({label for part, label in counted if part and label} | set(classes))
    return Counts(parts, {label: {part: counted[part, label] for part in parts} for label in labels}, unplaced)


def balance_notes(counts: Counts) -> list[str]:
    """Sentences about classes that are small, missing in a part, or far from balanced."""
    learnt = counts.parts[0]
    notes = []
    for label, row in counts.images.items():
        where = "" if learnt == ALL else f" in {learnt}"
        # A class that only the test set has, such as Abnormal for all defects, is not trained on.
        if not any(row[part] for part in counts.parts if part != "test") and counts.of_class(label):
            continue
        if row[learnt] < FEW_TO_LEARN:
            notes.append(f"{label}: {_counted(row[learnt])}{where}; fewer than {FEW_TO_LEARN} teach little")
        notes += [f"{label}: no image in {part}" for part in counts.parts[1:] if not row[part] and counts.of_part(part)]
    ratio = counts.ratio(learnt)
    if ratio is not None and ratio > FAR_FROM_BALANCE:
        there = [(label, row[learnt]) for label, row in counts.images.items() if row[learnt]]
        (least, fewest), (largest, most) = (choose(there, key=lambda pair: pair[1]) for choose in (min, max))
        notes.append(f"{least}: {_counted(fewest)} where {largest} has {most}, {ratio:.0f} times as many")
    if counts.unplaced:
        notes.append(f"{_counted(counts.unplaced)} in no class folder")
    return notes


def counts_as_json(counts: Counts) -> dict[str, Any]:
    """The counts as plain data for JSON."""
    return {
        "parts": list(counts.parts),
        "classes": {
            label: {part: {"images": row[part], "share": counts.share(label, part)} for part in counts.parts}
            for label, row in counts.images.items()
        },
        "totals": {part: counts.of_part(part) for part in counts.parts},
        "ratios": {part: counts.ratio(part) for part in counts.parts},
        "unplaced": counts.unplaced,
        "notes": balance_notes(counts),
    }


def _counted(images: int) -> str:
    return f"{images} image{'' if images == 1 else 's'}"
