"""Numbered source images; their size and form for a model and back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageOps
from PIL.ExifTags import Base

from sdcore.files import is_utf8_name, printable
from sdcore.images.decode import is_grey, opened_image, to_rgb
from sdcore.images.folders import is_image_name, list_entries

from ..errors import OutputError, SourceError, unreadable_as


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
    """A source with more pixels than the model's native size."""

    source: Source
    width_px: int
    height_px: int


def discover(sources: Path) -> list[Source]:
    """Every numbered source image: classes in natural order, each by number (10 after 9, gaps are fine).

    Hidden files, files of file managers, and files that do not end like an image are ignored.

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


def select_classes(sources: Iterable[Source], classes: Sequence[str]) -> list[Source]:
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


SMALLEST_SIDE_PX = 64
SENT_MODE = "RGB"
"""The mode that every server takes; grey images are sent as RGB too."""


@dataclass(frozen=True)
class ImageForm:
    """Size and mode of the upright source, to which a result is restored."""

    width_px: int
    height_px: int
    mode: Literal["L", "RGB"]

    @classmethod
    def of(cls, image: Image.Image) -> ImageForm:
        """The form of a source image, which may still carry its EXIF rotation."""
        upright = ImageOps.exif_transpose(image)
        return cls(upright.width, upright.height, "L" if is_grey(upright) else "RGB")


def generation_size(width_px: int, height_px: int, *, native_px: int = 512, multiple: int = 8) -> tuple[int, int]:
    """The (width, height) to generate at for a source of the given size.

    Near the area `native_px` squared, both sides multiples of `multiple` and at least 64 px. The aspect is
    the source's to within one multiple on the longer side; only strips longer than native_px^2 / 64^2 times
    their width are squeezed, because no side can be under 64 px.

    Raises:
        ValueError: a size is not positive.
    """
    if min(width_px, height_px, native_px, multiple) < 1:
        raise ValueError(f"sizes must be positive, got {width_px} x {height_px}, native {native_px}, step {multiple}")
    short, long = sorted((width_px, height_px))
    floor = math.ceil(SMALLEST_SIDE_PX / multiple) * multiple
    area = native_px * native_px
    out_short = max(floor, _nearest(math.sqrt(area * short / long), multiple))
    # From the rounded short side, so that the error of the aspect stays within half a multiple of the long side.
    out_long = max(out_short, _nearest(out_short * long / short, multiple))
    out_long = min(out_long, max(floor, _nearest(area / floor, multiple)))
    return (out_short, out_long) if width_px <= height_px else (out_long, out_short)


def fit_to_model(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The source as the model wants it: upright, 8-bit RGB as `to_rgb` gives it, scaled to `size` in pixels.

    Deep grey is scaled by its camera's depth (8, 10, 12, 14 or 16 bit, the smallest that holds the
    brightest pixel), alpha is flattened on white as the WebUI does.
    """
    return _resize(to_rgb(image), size)


def restore_form(image: Image.Image, form: ImageForm) -> Image.Image:
    """A generated image back at its source's size, grey where the source was grey; 8 bit."""
    return _resize(image.convert("RGB").convert(form.mode), (form.width_px, form.height_px))


def guess_native_px(model_name: str) -> int:
    """Side in pixels of the square a checkpoint was trained on, guessed from its name; 512 when it holds no hint."""
    # The hash a WebUI appends in brackets may hold any digits.
    name = re.sub(r"\[[0-9a-f]*\]", "", model_name.casefold())
    # The name of a user's own model, on the embedded server, holds its size.
    if size := re.search(r"(?<!\d)(\d+)px-not-stable-diffusion", name):
        return int(size.group(1))
    if "turbo" in name or re.search(r"(?<!\d)512(?!\d)", name):
        return 512
    if re.search(r"xl|flux|sd[-_. ]?3|pony|illustrious|noobai|animagine|(?<!\d)1024(?!\d)", name):
        return 1024
    if re.search(r"(?<!\d)768(?!\d)|(?:^|[^a-z0-9])(?:sd[-_. ]?)?v?2[-_.][01](?!\d)", name):
        return 768
    return 512


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    # Lanczos widens its kernel with the step when shrinking, so that no pixel is skipped and thin lines keep their
    # contrast; enlarging with it would draw halos along hard edges, bicubic draws weaker ones.
    smaller = size[0] * size[1] < image.width * image.height
    return image.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)


def _nearest(value: float, multiple: int) -> int:
    return math.floor(value / multiple + 0.5) * multiple


_TURNED = frozenset({5, 6, 7, 8})


def image_size(source: Path | bytes, name: str | None = None, *, refuse_huge: bool = True) -> tuple[int, int]:
    """(width, height) in px of the upright image in a file or its bytes, from the header alone.

    `name` is what errors call it, by default its path. With `refuse_huge=False`, for photographs to be cut, more pixels
    are allowed than any source image needs.

    Raises:
        SourceError: not an image that can be read, or too many pixels; the message names the file.
    """
    with unreadable_as(SourceError), opened_image(source, name, refuse_huge=refuse_huge) as image:
        return upright_size(image)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) in px of an image as it is shown; it need not be decoded."""
    width, height = image.size
    # The base class's own method, because the one for PNG decodes the whole image to look behind it.
    turned = Image.Image.getexif(image).get(Base.Orientation) in _TURNED
    return (height, width) if turned else (width, height)


def read_photo(source: Path | bytes, name: str | None = None, *, refuse_huge: bool = True) -> Image.Image:
    """The image in a file or its bytes, completely decoded and upright; arguments and errors as of `image_size`."""
    with unreadable_as(SourceError), opened_image(source, name, refuse_huge=refuse_huge) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def check_destination(source: Path, destination: Path) -> None:
    """Refuse a destination folder that is a file, or that lies within its source or around it.

    Raises:
        OutputError: the two overlap, or the destination is no folder.
    """
    if destination.exists() and not destination.is_dir():
        raise OutputError(f"{printable(destination)}: is a file, a folder was expected; choose another name")
    inner, outer = destination.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise OutputError(
            f"{printable(destination)}: overlaps {printable(source)}, whose files must stay untouched; "
            "choose a folder beside it"
        )
