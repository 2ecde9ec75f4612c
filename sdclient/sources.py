"""Numbered source images: `SOURCES/<class>/<number>.<ending>`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import is_utf8_name, printable, sha256_of
from sdcore.images.folders import is_image_name, list_entries

from .errors import SourceError
from .photos import image_size

__all__ = [
    "Oversized",
    "Source",
    "discover",
    "names_by_class",
    "of_classes",
    "oversized",
    "oversized_warning",
    "sha256_of",
]


@dataclass(frozen=True)
class Source:
    """One source image that generated images descend from."""

    class_name: str
    number: int
    path: Path

    @property
    def name(self) -> str:
        """File name within the class folder, for example "3.png"."""
        return self.path.name

    @property
    def relative(self) -> str:
        """Path relative to the sources folder, with a forward slash."""
        return f"{self.class_name}/{self.path.name}"


@dataclass(frozen=True)
class Oversized:
    """A source with more pixels than the model's native picture."""

    source: Source
    width_px: int
    height_px: int


def discover(sources: Path) -> list[Source]:
    """Every numbered source image: classes in natural order, each by number (10 after 9, gaps are fine).

    Hidden files, what file managers leave behind, and files that do not end like an image are passed over.

    Raises:
        SourceError: no class folder, an empty one, images outside class folders, a file that is not numbered
            or not an image, or two files with one number in a class.
    """
    entries = list_entries(sources)
    stray = next((entry for entry in entries if entry.is_file() and is_image_name(entry.name)), None)
    if stray is not None:
        raise SourceError(f"{printable(stray)}: an image outside any class folder; expected SOURCES/<class>/1.png")
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        raise SourceError(
            f"{printable(sources)}: no class folder in it; expected SOURCES/<class>/1.png, as 'sdclient number' makes"
        )
    return [source for folder in folders for source in _in_class(folder)]


def of_classes(sources: Iterable[Source], classes: Sequence[str]) -> list[Source]:
    """The sources of these classes; of all when none is named.

    Raises:
        SourceError: a class that no source has.
    """
    every = list(sources)
    known = {source.class_name for source in every}
    unknown = next((name for name in classes if name not in known), None)
    if unknown is not None:
        raise SourceError(f"no class {unknown!r} among the sources; expected one of {', '.join(sorted(known))}")
    return [source for source in every if not classes or source.class_name in classes]


def names_by_class(sources: Iterable[Source]) -> dict[str, list[str]]:
    """File names of the sources of each class, in the order given."""
    names: dict[str, list[str]] = {}
    for source in sources:
        names.setdefault(source.class_name, []).append(source.name)
    return names


def oversized(sources: Iterable[Source], native_px: int = 512) -> list[Oversized]:
    """Sources with more pixels than `native_px` squared; generating shrinks them, and small defects are lost.

    Raises:
        SourceError: a file cannot be read as an image.
    """
    found = []
    for source in sources:
        width, height = image_size(source.path)
        if width * height > native_px * native_px:
            found.append(Oversized(source, width, height))
    return found


def oversized_warning(found: Sequence[Oversized], native_px: int = 512) -> str | None:
    """One line about oversized sources and what to do, or None when there are none."""
    if not found:
        return None
    largest = max(found, key=lambda item: item.width_px * item.height_px)
    sources = "1 source is" if len(found) == 1 else f"{len(found)} sources are"
    return (
        f"{sources} larger than the model's {native_px} x {native_px} px and will be shrunk to it and back, "
        f"which loses small defects (largest: {largest.source.relative}, {largest.width_px} x {largest.height_px} px); "
        "cut around the defects with 'sdclient crop' first"
    )


def _in_class(folder: Path) -> list[Source]:
    if not is_utf8_name(folder.name):
        raise SourceError(f"{printable(folder)}: the folder's name is not valid Unicode; rename it")
    by_number: dict[int, Source] = {}
    for path in list_entries(folder):
        if not is_image_name(path.name) or not path.is_file():
            continue
        if not (path.stem.isascii() and path.stem.isdecimal()):
            raise SourceError(
                f"{printable(path)}: not numbered; expected names as 1.png, 2.jpg; run 'sdclient number SRC DEST' first"
            )
        source = Source(folder.name, int(path.stem), path)
        twin = by_number.setdefault(source.number, source)
        if twin is not source:
            raise SourceError(
                f"{printable(folder)}: {twin.name} and {source.name} have the same number; "
                "expected one file a number; renumber one of them"
            )
        image_size(path)
    if not by_number:
        raise SourceError(
            f"{printable(folder)}: no image in this class folder; expected 1.png, 2.jpg, ...; fill or remove it"
        )
    return [by_number[number] for number in sorted(by_number)]
