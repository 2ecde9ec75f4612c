"""Images a class and a split, and what about their balance deserves a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.images.folders import is_system_file, list_images

from .errors import DataError
from .layout import ALL, parts_of, place_of

FEW_TO_LEARN = 10
"""Training images; a class of fewer is named."""
FAR_FROM_BALANCE = 10.0
"""Times that the largest class may hold the smallest without a word."""


@dataclass(frozen=True)
class Counts:
    """Images of each class in each part of a folder."""

    parts: tuple[str, ...]
    """Of train, val and test those there are; ("all",) where the folder is not divided."""
    images: Mapping[str, Mapping[str, int]]
    """Class -> part -> images; every class has every part, sorted by name."""
    unplaced: int = 0
    """Images that lie in no class folder, and are in no other figure."""

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
        """Of a part's images, those of one class, in [0, 1]; None for an empty part."""
        whole = self.of_part(part)
        return self.images[label][part] / whole if whole else None

    def ratio(self, part: str) -> float | None:
        """Largest class of a part over its smallest that has any image; None for an empty part."""
        there = [row[part] for row in self.images.values() if row[part]]
        return max(there) / min(there) if there else None


def count_images(root: Path) -> Counts:
    """Count the images of a DATA folder, or of a folder of class folders, by their names; none is opened.

    Raises:
        DataError: no such folder, no class folder in it, or one that holds folds.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a DATA folder, or one with one folder per class")
    parts = parts_of(root)
    places = [place_of(path.relative_to(root), parts) for path in list_images(root)]
    empty = [
        (part, entry.name)
        for part in parts
        for entry in (root if part == ALL else root / part).iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and not is_system_file(entry.name)
    ]
    counts = tally(places, parts, classes={label for _, label in empty})
    if not counts.images:
        raise DataError(f"{root}: no class folders in it; expected a DATA folder, or one with one folder per class")
    return counts


def tally(places: Iterable[tuple[str, str]], parts: tuple[str, ...], *, classes: Iterable[str] = ()) -> Counts:
    """Add up (part, class) pairs, as `trainer.layout.place_of` gives them.

    Args:
        places: one an image.
        parts: as `trainer.layout.parts_of` gives them.
        classes: further ones, that may have no image.
    """
    counted = Counter(places)
    unplaced = sum(number for (part, label), number in counted.items() if not part or not label)
    labels = sorted({label for part, label in counted if part and label} | set(classes))
    return Counts(parts, {label: {part: counted[part, label] for part in parts} for label in labels}, unplaced)


def notes_on(counts: Counts) -> list[str]:
    """What about the balance deserves a word, the worst first; classes by their names."""
    learnt = counts.parts[0]
    notes = []
    for label, row in counts.images.items():
        where = "" if learnt == ALL else f" in {learnt}"
        # A class of the test set alone, such as Abnormal for all defects, is not one to learn.
        if not any(row[part] for part in counts.parts if part != "test") and counts.of_class(label):
            continue
        if row[learnt] < FEW_TO_LEARN:
            notes.append(f"{label}: {_counted(row[learnt])}{where}; fewer than {FEW_TO_LEARN} teach little")
        notes += [f"{label}: no image in {part}" for part in counts.parts[1:] if not row[part] and counts.of_part(part)]
    ratio = counts.ratio(learnt)
    if ratio is not None and ratio > FAR_FROM_BALANCE:
        there = {label: row[learnt] for label, row in counts.images.items() if row[learnt]}
        largest, smallest = max(there, key=lambda one: there[one]), min(there, key=lambda one: there[one])
        notes.append(
            f"{smallest}: {_counted(there[smallest])} where {largest} has {there[largest]}, {ratio:.0f} times as many"
        )
    if counts.unplaced:
        notes.append(f"{_counted(counts.unplaced)} in no class folder")
    return notes


def counts_as_json(counts: Counts) -> dict[str, Any]:
    """Plain data for a JSON document."""
    return {
        "parts": list(counts.parts),
        "classes": {
            label: {part: {"images": row[part], "share": counts.share(label, part)} for part in counts.parts}
            for label, row in counts.images.items()
        },
        "totals": {part: counts.of_part(part) for part in counts.parts},
        "ratios": {part: counts.ratio(part) for part in counts.parts},
        "unplaced": counts.unplaced,
        "notes": notes_on(counts),
    }


def _counted(images: int) -> str:
    return f"{images} image{'' if images == 1 else 's'}"
