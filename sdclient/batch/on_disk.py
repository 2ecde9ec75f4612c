"""Which files of a plan are in an output: one look at each folder, for a look at each of a million files takes long."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from sdcore.files import is_temporary

from ..masks import MASKS_FOLDER
from .jobs import FILE_ENDING, Planned, SourcePlan


class ExistingFiles:
    """Looks once at the folders of an output, and removes what killed writes left in any of them.

    Args:
        output: the folder.
        plans: whose files are looked for.
    """

    def __init__(self, output: Path, plans: Iterable[SourcePlan[Planned]]) -> None:
        self._images: dict[str, dict[str, bytearray]] = {}
        self._masks: dict[str, dict[str, bytearray]] = {}
        for plan in plans:
            name, number = plan.source.class_name, str(plan.source.number)
            for wanted in (self._images, self._masks) if plan.has_masks else (self._images,):
                of_class = wanted.setdefault(name, {})
                of_class[number] = bytearray(max(plan.count, len(of_class.get(number, b""))))
        for folder, wanted in ((output, self._images), (output / MASKS_FOLDER, self._masks)):
            for name, flags in wanted.items():
                _sweep(folder / name, flags)
            _remove_temporary(folder, besides=wanted)

    def of(self, plan: SourcePlan[Planned]) -> bytes | bytearray:
        """One byte for each image of the plan: 1 where its files are there."""
        name, number = plan.source.class_name, str(plan.source.number)
        images = self._images[name][number][: plan.count]
        if not plan.has_masks:
            return images
        return bytes(map(int.__and__, images, self._masks[name][number]))


def remove_temporary_files(output: Path) -> None:
    """Remove what killed writes left in any folder of an output."""
    for folder in (output, output / MASKS_FOLDER):
        _remove_temporary(folder)


def _remove_temporary(folder: Path, *, besides: Collection[str] = ()) -> None:
    """Remove what killed writes left in the folders within one, save for those that were looked through already."""
    try:
        with os.scandir(folder) as entries:
            inner = [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in inner:
        if name not in besides:
            _sweep(folder / name, {})


def _sweep(folder: Path, wanted: Mapping[str, bytearray]) -> None:
    """Find the files `<number>_<k>.png` of a folder, which need not be there; remove what killed writes left.

    Args:
        folder: of a class.
        wanted: number of a source -> a byte for each of its images from the first on; becomes 1 where there is one.
    """
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            number, _, rest = entry.name.partition("_")
            flags = wanted.get(number)
            if flags is not None and rest.endswith(FILE_ENDING):
                k = rest[: -len(FILE_ENDING)]
                # As we write it: no sign, no zero before it, no other digits than 0 to 9.
                if k.isdecimal() and k.isascii() and k[0] != "0" and int(k) <= len(flags) and entry.is_file():
                    flags[int(k) - 1] = 1
            elif is_temporary(entry.name):
                Path(entry.path).unlink(missing_ok=True)
