"""Folders that must not take generated images: validation and test, sources, and whatever knows a parent of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sdcore.files import sha256_of
from sdcore.progress import ProgressTracker

from ..errors import ExportError
from ..manifest import MANIFEST_NAME
from ..photos import check_destination
from .layout import images_below

HELD_OUT_NAMES = frozenset({"val", "valid", "validation", "test"})
"""Names of folders that hold what a training is judged by, in lower case."""

_NAMED = 3


def refuse_unfit(destination: Path, output: Path, run: Mapping[str, Any]) -> None:
    """Refuse a destination by its place and name.

    Raises:
        ExportError: it is val or test or lies in one, holds a run, or is a folder of sources.
        OutputError: it is a file, or overlaps the output.
    """
    check_destination(output, destination)
    place = destination.resolve()
    for folder in (place, *place.parents):
        near = folder in (place, place.parent)
        if folder.name.lower() in HELD_OUT_NAMES and (near or (folder.parent / "train").is_dir()):
            raise ExportError(
                f"{destination}: lies in {folder.name!r}, which is held out to judge by; generated images belong to "
                "training only: give DATASET/train"
            )
    if (destination / MANIFEST_NAME).is_file():
        raise ExportError(f"{destination}: is itself the output of a run; give DATASET/train")
    for key in ("sources", "other_sources"):
        if key in run and place.is_relative_to((output / str(run[key])).resolve()):
            raise ExportError(
                f"{destination}: is where the sources of {output} lie; generated images among them would become "
                "sources; give DATASET/train"
            )


def refuse_class_folders(destination: Path) -> None:
    """Refuse a data set of class folders, or one of its parts, as the place of a detector's data set.

    Raises:
        ExportError: it is one.
    """
    advice = "give a folder of its own; it gets images and boxes in folders below"
    if destination.name.lower() == "train":
        raise ExportError(f"{destination}: images with boxes do not go into class folders; {advice}")
    train = destination / "train"
    if train.is_dir() and any(path.parent.parent == train for path in images_below(train)):
        raise ExportError(f"{destination}: holds class folders in {train}; {advice}")


def held_out_folders(destination: Path) -> list[Path]:
    """Folders of the same data set that hold what is judged by, as far as names tell."""
    around = [destination.resolve().parent, destination / "images", destination]
    found = [
        entry
        for folder in around
        if folder.is_dir() and (folder != around[0] or destination.name.lower() == "train")
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name.lower() in HELD_OUT_NAMES
    ]
    return sorted(found)


def refuse_held_out_parents(
    folders: Collection[Path], parents: Mapping[str, str], images: Collection[str], track: ProgressTracker
) -> None:
    """Refuse when a held-out folder has one of the images, or an image that one of them was made from, byte for byte.

    Args:
        folders: validation and test.
        parents: SHA-256 of every parent -> an image made from it.
        images: SHA-256 of the images themselves.
        track: shows progress.

    Raises:
        ExportError: names the first of them.
        OSError: a file cannot be read.
    """
    paths = [path for folder in folders for path in images_below(folder)]
    leaks = []
    for path in track(paths, "check val and test") if paths else ():
        digest = sha256_of(path)
        if digest in parents:
            leaks.append(f"{parents[digest]} was made from {path}")
        elif digest in images:
            leaks.append(f"{path} is itself one of the generated images")
    if leaks:
        words = "; ".join(leaks[:_NAMED]) + ("; ..." if len(leaks) > _NAMED else "")
        raise ExportError(
            f"{words}, which is held out for validation or test ({len(leaks)} such), so training would see what it is "
            "judged by; number and generate from DATASET/train only"
        )
