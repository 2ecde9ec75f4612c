"""The images that a user names: folders, single files, patterns such as `photos/**/*.png`, or a list of paths.

Patterns are expanded here, so that a quoted one means the same in every shell; that of Windows expands none.
"""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from sdcore.images.folders import IMAGE_SUFFIXES, is_system_file, list_images, natural_key

from ..errors import DataError, SettingsError

Labels = Literal["auto", "parent", "none"]
LABELS: tuple[Labels, ...] = ("auto", "parent", "none")

_WILD = frozenset("*?[")


@dataclass(frozen=True)
class ImageToPredict:
    """An image file, its name in tables, and its true class where the folders show it."""

    file: str
    """Its path; text, since a path object takes several times the memory."""
    name: str
    """Unique in the list, forward slashes. Relative to the folder when a single folder was named, else as written."""
    label: str
    """Empty when unknown."""


@dataclass(frozen=True)
class ImageList:
    """Every image a user named, each once."""

    images: tuple[ImageToPredict, ...]
    """In the order in which they were named; within a folder or pattern in natural order."""
    repeats: int
    """How often an image was named again."""


def list_named_images(inputs: Sequence[str | os.PathLike[str]], *, labels: Labels = "auto") -> ImageList:
    """Every image that folders, files and patterns name.

    A pattern may hold `*`, `?`, `[...]` and `**` for any depth of folders; it finds files with the suffix of an image.
    An existing file or folder of exactly that name is preferred.

    `labels` "auto" labels the images of a single folder by the top folder below it ("" for an image directly in it),
    and all others with ""; "parent" labels each image by its own folder; "none" gives "".

    Raises:
        DataError: nothing is named, a file or folder is missing, or a folder or pattern has no images.
        SettingsError: `labels` is unknown.
    """
    if labels not in LABELS:
        raise SettingsError(f"labels: found {labels!r}; expected one of {', '.join(LABELS)}")
    if not inputs:
        raise DataError("no images named; expected a folder, image files, or a pattern such as 'photos/**/*.png'")
    named = [os.fspath(one) for one in inputs]
    if len(named) == 1 and os.path.isdir(named[0]):  # noqa: PTH112 - text in, text out
        return _of_one_folder(Path(named[0]), labels)
    missing = [one for one in named if not os.path.lexists(one) and not _WILD.intersection(one)]
    if missing:
        others = f" (and {len(missing) - 1} more of the {len(named)} named are missing)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}: no such file or folder{others}; expected images, folders of them, or patterns")
    return _unique((file for one in named for file in _expand(one)), labels)


def list_files(paths: Sequence[str], *, labels: Labels = "auto", source: str = "the list") -> ImageList:
    """The images of a list of paths that another program wrote; nothing in a path is a pattern.

    Relative paths start at the working folder. Labels are as in `list_named_images`; a list never counts as a single
    folder. Messages call the list `source`.

    Raises:
        DataError: an empty list, or a folder without images. A missing file raises later, when it is read.
        SettingsError: `labels` is unknown.
    """
    if labels not in LABELS:
        raise SettingsError(f"labels: found {labels!r}; expected one of {', '.join(LABELS)}")
    if not paths:
        raise DataError(f"{source}: no paths in it; expected one image a line")
    return _unique((file for one in paths for file in _expand(one, patterns=False)), labels)


def list_folder(folder: Path) -> list[Path]:
    """All images below a folder, in natural order.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    paths = list_images(folder)
    if not paths:
        raise DataError(f"{folder}: no images in this folder; expected .png, .jpg or the like, or folders of them")
    return paths


def read_paths(stream: BinaryIO, *, source: str = "stdin") -> list[str]:
    """The paths of a list in UTF-8: one per line, or ended by NUL as by `find -print0`.

    Raises:
        DataError: the bytes are not UTF-8.
    """
    content = stream.read()
    end = b"\0" if b"\0" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")) else b"\n"
    lines = content.removeprefix(b"\xef\xbb\xbf").split(end)
    paths = []
    for number, line in enumerate(lines, start=1):
        try:
            path = (line.removesuffix(b"\r") if end == b"\n" else line).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{source}, path {number}: not UTF-8 text ({error.reason}); in Windows PowerShell, set "
                "$OutputEncoding = [System.Text.UTF8Encoding]::new() first"
            ) from error
        if path.strip():
            paths.append(path)
    return paths


def _of_one_folder(folder: Path, labels: Labels) -> ImageList:
    images = []
    for path in list_folder(folder):
        relative = path.relative_to(folder)
        top = relative.parts[0] if len(relative.parts) > 1 else ""
        label = {"auto": top, "parent": path.absolute().parent.name, "none": ""}[labels]
        images.append(ImageToPredict(str(path), relative.as_posix(), label))
    return ImageList(tuple(images), 0)


def _unique(files: Iterable[str], labels: Labels) -> ImageList:
    images: dict[str, ImageToPredict] = {}
    repeats = 0
    for file in files:
        path = Path(file)
        place = os.path.normcase(path.absolute())
        if place in images:
            repeats += 1
        else:
            label = path.absolute().parent.name if labels == "parent" else ""
            images[place] = ImageToPredict(file, path.as_posix(), label)
    return ImageList(tuple(images.values()), repeats)


def _expand(named: str, *, patterns: bool = True) -> Iterable[str]:
    if os.path.isdir(named):  # noqa: PTH112
        return map(str, list_folder(Path(named)))
    if not patterns or os.path.lexists(named):
        return [named]
    found = [file for file in glob.glob(named, recursive=True) if _is_image(file)]  # noqa: PTH207 - relative stays so
    if not found:
        raise DataError(
            f"{named}: this pattern finds no image; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}; "
            "'**' stands for any depth of folders"
        )
    return sorted(found, key=lambda file: natural_key(Path(file).as_posix()))


def _is_image(file: str) -> bool:
    path = Path(file)
    has_suffix = path.suffix.lower() in IMAGE_SUFFIXES
    return has_suffix and not any(map(is_system_file, path.parts)) and not path.is_dir()
