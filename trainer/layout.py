"""Which part and which class a file below a folder belongs to: DATA with its parts, SRC, or any other folder."""

from __future__ import annotations

from pathlib import Path, PurePath

from .dataset import PARTS
from .errors import DataError

FOLDS_NAME = "folds.csv"
"""Of `trainer split --folds`, beside the folds."""

ALL = "all"
"""The one part of a folder that is not divided."""


def parts_of(root: Path) -> tuple[str, ...]:
    """Of "train", "val" and "test" those that a DATA folder has; `(ALL,)` for any other folder.

    DATA is told by its `train/` with folders in it.

    Raises:
        DataError: the folder holds folds, in which every image lies several times.
    """
    if (root / FOLDS_NAME).is_file():
        raise DataError(f"{root}: holds folds, which share their images; give one of them, as {root / 'fold-0'}")
    train = root / "train"
    if not (train.is_dir() and any(entry.is_dir() for entry in train.iterdir())):
        return (ALL,)
    return tuple(part for part in PARTS if (root / part).is_dir())


def place_of(file: PurePath, parts: tuple[str, ...]) -> tuple[str, str]:
    """Part and class of a file; "" where it lies outside.

    Args:
        file: relative to the root.
        parts: as `parts_of` gives them.
    """
    folders = file.parts[:-1]
    if parts == (ALL,):
        return ALL, folders[0] if folders else ""
    if not folders or folders[0] not in parts:
        return "", ""
    return folders[0], folders[1] if len(folders) > 1 else ""
