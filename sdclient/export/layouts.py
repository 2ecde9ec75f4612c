"""The layouts of training folders: class folders, YOLO and VOC; new ones (COCO, MVTec) belong here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence, Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from sdcore.annotations import Box, is_class_name
from sdcore.annotations.voc import format_voc, read_voc_file
from sdcore.annotations.yolo import CLASSES_NAME, MARK, format_data_yaml, format_yolo, read_class_names, read_yolo
from sdcore.images.folders import is_image_name, list_entries

from ..errors import AnnotationError, ExportError

DATA_YAML = "data.yaml"


class Layout(Protocol):
    """A kind of training folder."""

    @property
    def root(self) -> Path:
        """The folder with the table of exports."""

    def place(self, class_name: str, name: str) -> tuple[str, str]:
        """Paths of an image and its box file relative to the root, forward slashes; "" for no box file."""

    def label(self, name: str, boxes: Sequence[Box], size: tuple[int, int], channels: int) -> bytes:
        """The content of an image's box file."""

    def fixed_files(self) -> dict[Path, bytes]:
        """Files of the data set as a whole -> their content."""

    def count_others(self, ours: Collection[str]) -> Counter[str]:
        """Images of each class in the folder, without `ours`."""


@dataclass(frozen=True)
class ClassFolders:
    """`ROOT/<class>/<name>`, as `trainer` reads a part of its data."""

    root: Path

    def prepare(self, classes: AbstractSet[str]) -> None:
        """Refuse classes that cannot have a folder here.

        Raises:
            ExportError: a name that some systems cannot store, or one that differs from another only in case.
        """
        there = {entry.name for entry in list_entries(self.root) if entry.is_dir()} if self.root.is_dir() else set()
        for name in sorted(classes - there):
            if not is_class_name(name):
                raise ExportError(
                    f"{self.root}: class {name!r} cannot be the name of a folder on every system; rename the class"
                )
        folded: dict[str, str] = {}
        for name in sorted(there | set(classes)):
            twin = folded.setdefault(name.casefold(), name)
            if twin != name:
                raise ExportError(
                    f"{self.root}: classes {twin!r} and {name!r} differ only in case, which is one folder on Windows; "
                    "rename one of them"
                )

    def place(self, class_name: str, name: str) -> tuple[str, str]:
        """Into the folder of the class, without boxes."""
        return f"{class_name}/{name}", ""

    def label(self, name: str, boxes: Sequence[Box], size: tuple[int, int], channels: int) -> bytes:
        """No box file, so no content."""
        return b""

    def fixed_files(self) -> dict[Path, bytes]:
        """None."""
        return {}

    def count_others(self, ours: Collection[str]) -> Counter[str]:
        """Images of each class folder."""
        counts: Counter[str] = Counter()
        for path in images_below(self.root):
            file = path.relative_to(self.root)
            if len(file.parts) > 1 and file.as_posix() not in ours:
                counts[file.parts[0]] += 1
        return counts


class YoloFolders:
    """`ROOT/images/train/<name>` and `ROOT/labels/train/<name>.txt`, as YOLOv5 and its successors look for them."""

    def __init__(self, root: Path, labels: Labels) -> None:
        self.root = root
        self._normal = labels.normal
        self._asked = labels.classes
        self._boxes = root / "labels" / "train"
        self.classes: list[str] = []

    def prepare(self, classes: AbstractSet[str]) -> None:
        """Number the classes: known classes keep their numbers, new ones follow in order.

        Raises:
            ExportError: the numbers are unknown, or a class is new to a data set whose `data.yaml` is the user's own.
            AnnotationError: an unusable `classes.txt`, or a class name that cannot be written to one.
        """
        wanted = sorted(classes - {self._normal})
        for name in wanted:
            if not is_class_name(name):
                raise AnnotationError(f"class {name!r} cannot stand in a {CLASSES_NAME}; rename the class")
        self.classes = self._known_classes()
        new = [name for name in wanted if name not in self.classes]
        if new and self._is_foreign_yaml():
            raise ExportError(
                f"{self.root / DATA_YAML}: is not ours, so class {new[0]!r} cannot be added to it; add the class to "
                f"its names and to {self._boxes / CLASSES_NAME} yourself"
            )
        self.classes += new

    def _known_classes(self) -> list[str]:
        path = self._boxes / CLASSES_NAME
        asked = _read_classes(self._asked) if self._asked is not None else None
        if path.is_file():
            there = read_class_names(self._boxes)
            if asked is not None and asked != there[: len(asked)]:
                raise ExportError(f"{path}: {', '.join(there)}; {self._asked} says {', '.join(asked)}; leave one out")
            return there
        if asked is not None:
            return asked
        foreign = self._boxes.is_dir() and any(entry.suffix == ".txt" for entry in list_entries(self._boxes))
        if foreign or self._is_foreign_yaml():
            raise ExportError(
                f"{self.root}: holds boxes or a {DATA_YAML} of yours, so the classes have numbers already; give them "
                f"with --classes {CLASSES_NAME}, one name a line"
            )
        return []

    def place(self, class_name: str, name: str) -> tuple[str, str]:
        """All classes in one folder; the boxes name the class."""
        return f"images/train/{name}", f"labels/train/{PurePosixPath(name).stem}.txt"

    def label(self, name: str, boxes: Sequence[Box], size: tuple[int, int], channels: int) -> bytes:
        """One line for each box."""
        numbers = {class_name: number for number, class_name in enumerate(self.classes)}
        return format_yolo(boxes, numbers, *size).encode("ascii")

    def fixed_files(self) -> dict[Path, bytes]:
        """`classes.txt`, and `data.yaml` unless the user has one of their own."""
        files = {self._boxes / CLASSES_NAME: "".join(f"{name}\n" for name in self.classes).encode("utf-8")}
        if not self._is_foreign_yaml():
            text = format_data_yaml(self.root.resolve().as_posix(), self.classes)
            files[self.root / DATA_YAML] = text.encode("ascii")
        return files

    def count_others(self, ours: Collection[str]) -> Counter[str]:
        """Images with a box of each class; an image without boxes counts for the class without defects."""
        counts: Counter[str] = Counter()
        for path in images_below(self.root / "images" / "train"):
            label = self._boxes / f"{path.stem}.txt"
            if path.relative_to(self.root).as_posix() in ours:
                continue
            boxes = read_yolo(label, self.classes, 1, 1) if label.is_file() else []
            counts.update({box.class_name for box in boxes} or {self._normal})
        return counts

    def _is_foreign_yaml(self) -> bool:
        path = self.root / DATA_YAML
        return path.is_file() and not path.read_bytes().startswith(MARK.encode("ascii"))


class VocFolders:
    """`ROOT/JPEGImages/<name>` and `ROOT/Annotations/<name>.xml`, as in Pascal VOC."""

    def __init__(self, root: Path, labels: Labels) -> None:
        self.root = root
        self._normal = labels.normal

    def prepare(self, classes: AbstractSet[str]) -> None:
        """Refuse names that our reader of box files would refuse: those that cannot name a folder.

        Raises:
            AnnotationError: such a name.
        """
        for name in sorted(classes):
            if not is_class_name(name):
                raise AnnotationError(f"class {name!r} cannot stand in a box file; rename the class")

    def place(self, class_name: str, name: str) -> tuple[str, str]:
        """All classes in one folder."""
        return f"JPEGImages/{name}", f"Annotations/{PurePosixPath(name).stem}.xml"

    def label(self, name: str, boxes: Sequence[Box], size: tuple[int, int], channels: int) -> bytes:
        """One XML document."""
        return format_voc(name, boxes, *size, channels).encode("utf-8")

    def fixed_files(self) -> dict[Path, bytes]:
        """None."""
        return {}

    def count_others(self, ours: Collection[str]) -> Counter[str]:
        """As for YOLO."""
        counts: Counter[str] = Counter()
        for path in images_below(self.root / "JPEGImages"):
            label = self.root / "Annotations" / f"{path.stem}.xml"
            if path.relative_to(self.root).as_posix() in ours:
                continue
            names = {item.name for item in read_voc_file(label).objects} if label.is_file() else set()
            counts.update(names or {self._normal})
        return counts


def images_below(folder: Path) -> list[Path]:
    """Every file below a folder that has an image's name; hidden files and folders are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if is_image_name(name) and not name.startswith(".")]
    return found


def _read_classes(path: Path) -> list[str]:
    if path.name != CLASSES_NAME:
        raise ExportError(f"{path}: expected a file called {CLASSES_NAME}, one class name a line")
    return read_class_names(path.parent)


LabelKind = Literal["yolo", "voc"]
Unlabelled = Literal["error", "skip"]


@dataclass(frozen=True)
class Labels:
    """How boxes are written for the training of a detector."""

    kind: LabelKind
    """ "yolo": a `.txt` for each image, `classes.txt` and `data.yaml`; "voc": an `.xml` for each image."""
    normal: str = "Normal"
    """The class without defects: its images have no box."""
    unlabelled: Unlabelled = "error"
    """What happens to an image whose defect cannot be located."""
    min_change: int = 1
    """A pixel counts as changed if it differs by this many levels or more in any channel, 1 to 255."""
    source_masks: Path | None = None
    """A folder of the sources' masks, `<class>/<number>.png`: a defect of the source that stayed gets a box too."""
    classes: Path | None = None
    """A `classes.txt` with the numbers of the classes, for a data set that has none yet."""
