"""Masks out of the masks of other tools: black and white, labels by colour or number, transparency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageColor

from sdcore.files import printable

from ..errors import MaskError, SettingsError
from ..photos import read_photo
from ..sources import Source
from .make import NoMask
from .names import NamedImages, choose_names

_ENDINGS = ("", "_mask")
_HALF = 128
_SMEARED = frozenset({".jpg", ".jpeg", ".webp"})
_DEEP = ("I", "F")


class ForeignMasks:
    """Mask files of another tool, named like the photographs or like the numbered sources, with or without "_mask".

    Args:
        folder: where they are, at its top or in class folders.
        sources_folder: where the sources are.
        sources: all that masks are wanted of.
        label: the one colour ("#ff0000", "red") or grey level or palette index ("3") that is the defect; None: whatever
            is not black.
        inverted: black is the defect.

    Raises:
        DataError: the folder is not there.
        SettingsError: the label is no colour or number.
    """

    def __init__(
        self,
        folder: Path,
        sources_folder: Path,
        sources: Sequence[Source],
        *,
        label: str | None = None,
        inverted: bool = False,
    ) -> None:
        self._label = _read_label(label)
        self._inverted = inverted
        self._images = NamedImages(folder, _ENDINGS)
        self._names = choose_names(
            sources_folder, sources, lambda source, name: self._images.find(source, name) is not None
        )
        self._used: dict[Path, Source] = {}

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        """See `MaskOrigin`."""
        path = self._images.find(source, self._names.of(source))
        if path is None:
            raise NoMask("no mask file")
        other = self._used.setdefault(path, source)
        if other != source:
            raise MaskError(
                f"{printable(path)}: would belong to {other.relative} and {source.relative}; "
                "put the masks into class folders as the sources"
            )
        image = read_photo(path)
        if image.size != size:
            raise MaskError(
                f"{printable(path)}: {image.width} x {image.height} px; expected {size[0]} x {size[1]} px, "
                f"as {source.path} has"
            )
        smeared = path.suffix.lower() in _SMEARED
        return defect_area(image, label=self._label, inverted=self._inverted, smeared=smeared)

    def notes(self) -> Iterator[str]:
        """By which names the masks were looked for."""
        names = "the photographs' names" if self._names.are_original else "the sources' numbers"
        yield f"masks were found by {names}"


def defect_area(
    image: Image.Image,
    *,
    label: int | tuple[int, int, int] | None = None,
    inverted: bool = False,
    smeared: bool = False,
) -> Image.Image:
    """What another tool's mask means, as mode "L" with 255 where the defect is.

    With transparency that differs from place to place, what is at least half opaque is the defect. Else it is what is
    not black, by any amount: labels are often small numbers. In a picture with a palette "black" is its index 0.

    Args:
        image: any mode.
        label: the one colour, or the grey level or palette index, that is the defect.
        inverted: the defect is what otherwise would not be.
        smeared: the file's format is lossy; black is then what is darker than half.
    """
    if isinstance(label, tuple):
        area = _where_colour(image, label)
    elif label is not None:
        area = _where_number(image, label)
    else:
        area = _where_marked(image, _HALF if smeared else 1)
    return ImageChops.invert(area) if inverted else area


def _where_marked(image: Image.Image, least: int) -> Image.Image:
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        low, high = alpha.getextrema()
        if low != high:
            return _at_least(alpha, _HALF)
    if image.mode == "P":
        return _at_least(_numbers(image), 1)
    if image.mode.startswith(_DEEP):
        # "F" keeps every number of 16 and 32 bits, and "L" clips it to 0..255.
        return _at_least(image.convert("F").point(lambda value: value * 255.0 + 0.0).convert("L"), 1)
    rgb = image.convert("RGB")
    red, green, blue = rgb.split()
    return _at_least(ImageChops.lighter(ImageChops.lighter(red, green), blue), least)


def _where_colour(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    flat = Image.new("RGB", image.size, colour)
    red, green, blue = ImageChops.difference(image.convert("RGB"), flat).split()
    return _equal(ImageChops.lighter(ImageChops.lighter(red, green), blue), 0)


def _where_number(image: Image.Image, number: int) -> Image.Image:
    if image.mode.startswith(_DEEP):
        off = image.convert("F").point(lambda value: value * 1.0 - float(number))
        far = ImageChops.lighter(off.convert("L"), off.point(lambda value: value * -1.0 + 0.0).convert("L"))
        return _equal(far, 0)
    if image.mode not in {"1", "L", "P"}:
        raise MaskError(f"a mask of mode {image.mode} has colours, not numbers; give --label a colour as '#ff0000'")
    return _equal(_numbers(image), number)


def _numbers(image: Image.Image) -> Image.Image:
    """Grey levels or palette indices, mode "L"."""
    if image.mode == "P":
        return Image.frombytes("L", image.size, image.tobytes())
    return image.convert("L")


def _at_least(image: Image.Image, least: int) -> Image.Image:
    return image.point([0] * least + [255] * (256 - least))


def _equal(image: Image.Image, level: int) -> Image.Image:
    return image.point([255 if one == level else 0 for one in range(256)])


def _read_label(text: str | None) -> int | tuple[int, int, int] | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        colour = ImageColor.getrgb(text)
    except ValueError as error:
        raise SettingsError(f"--label {text}: expected a colour as '#ff0000' or a whole number as 3") from error
    return colour[:3]
