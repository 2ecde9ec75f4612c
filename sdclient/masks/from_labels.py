"""Masks from boxes and from masks of other tools."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageColor

from sdcore.annotations import Box
from sdcore.annotations.folder import AnnotationFolder
from sdcore.files import printable

from ..errors import MaskError, SettingsError
from ..manifest.tables import CROPS_NAME, CropRow, read_crops
from ..sources.source import Source, read_photo
from .make import NamedImages, NoMaskForSource, choose_names
from .mask import rectangles_mask


class BoxMasks:
    """Rectangles where boxes are.

    A source gets the boxes of its own class only: its repainted image belongs to that class, so no other defect may be
    repainted.

    Args:
        boxes: a folder of box files named like the photographs or like the numbered sources; a folder of crops with its
            `crops.csv`; or that file.
        any_class: take boxes of every class.

    Raises:
        AnnotationError: no such folder.
        OutputError: `crops.csv` cannot be read.
    """

    def __init__(
        self, boxes: Path, sources_folder: Path, sources: Sequence[Source], *, any_class: bool = False
    ) -> None:
        self._any_class = any_class
        self._passed_over: Counter[str] = Counter()
        self._table = boxes if boxes.is_file() else boxes / CROPS_NAME
        self._rows: dict[str, CropRow] | None = read_crops(self._table) if self._table.is_file() else None
        self._files = AnnotationFolder(boxes) if self._rows is None else None
        self._names = choose_names(sources_folder, sources, self._is_there)

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        """See `MaskOrigin`."""
        name = self._names.of(source)
        boxes = self._crop_boxes(source, name, size) if self._files is None else self._file_boxes(source, name, size)
        own = boxes if self._any_class else [box for box in boxes if box.class_name == source.class_name]
        others = [box.class_name for box in boxes if box not in own]
        if boxes and not own:
            classes = ", ".join(sorted(set(others)))
            raise NoMaskForSource(f"its boxes are of class {classes}, not of its folder's; --any-class takes them")
        self._passed_over.update(others)
        return rectangles_mask(own, size)

    def notes(self) -> Iterator[str]:
        """By which names the boxes were found, and how many were of other classes."""
        yield f"boxes were found by {self._names.description}"
        if self._passed_over:
            classes = ", ".join(f"{name} ({count})" for name, count in sorted(self._passed_over.items()))
            yield f"boxes of other classes than their source's were skipped: {classes}; --any-class takes them"

    def _is_there(self, source: Source, name: str) -> bool:
        if self._files is not None:
            return self._files.find(Path(name), source.class_name) is not None
        return f"{source.class_name}/{name}" in (self._rows or {})

    def _file_boxes(self, source: Source, name: str, size: tuple[int, int]) -> list[Box]:
        assert self._files is not None  # noqa: S101 - there are files or rows
        image = Path(source.class_name, name)
        if self._files.find(image, source.class_name) is None:
            raise NoMaskForSource("no box file")
        boxes = self._files.boxes_of(image, source.class_name, *size)
        if not boxes:
            raise NoMaskForSource("its box file says that there is no defect")
        return boxes

    def _crop_boxes(self, source: Source, name: str, size: tuple[int, int]) -> list[Box]:
        row = (self._rows or {}).get(f"{source.class_name}/{name}")
        if row is None:
            raise NoMaskForSource(f"not in {self._table.name}")
        edges = row.box_left, row.box_top, row.box_right, row.box_bottom
        if (row.width, row.height) != size:
            raise MaskError(
                f"{self._table}: {row.crop} has {row.width} x {row.height} px there, but {source.path} has "
                f"{size[0]} x {size[1]} px; number the crops as they were cut"
            )
        left, top, right, bottom = edges
        if left is None or top is None or right is None or bottom is None:
            raise NoMaskForSource(f"a tile without a box in {self._table.name}")
        return [Box(row.class_name, left, top, right, bottom)]


_ENDINGS = ("", "_mask")
_HALF = 128
_SMEARED = frozenset({".jpg", ".jpeg", ".webp"})
_DEEP = ("I", "F")
_Label = int | tuple[int, int, int]


class ExternalMasks:
    """Mask files of another tool, named like the photographs or like the numbered sources, with or without "_mask".

    Args:
        folder: with the masks at its top or in class folders.
        label: colour ("#ff0000", "red"), grey level or palette index ("3") of the defect; None: everything that is not
            black.
        inverted: black is the defect.

    Raises:
        DataError: no such folder.
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
            raise NoMaskForSource("no mask file")
        other = self._used.setdefault(path, source)
        if other != source:
            raise MaskError(
                f"{printable(path)}: would belong to {other.relative} and {source.relative}; "
                "put the masks into class folders like the sources"
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
        """By which names the masks were found."""
        yield f"masks were found by {self._names.description}"


def defect_area(
    image: Image.Image, *, label: _Label | None = None, inverted: bool = False, smeared: bool = False
) -> Image.Image:
    """The defect in another tool's mask of any mode, as mode "L" with 255 where it is.

    If transparency varies, pixels that are at least half opaque are the defect. Otherwise all pixels that are not black
    are, by any amount, because labels are often small numbers. In an image with a palette "black" is index 0.

    Args:
        label: only this colour, grey level or palette index is the defect.
        inverted: swap defect and background.
        smeared: the file's format is lossy; everything darker than half then counts as black.
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
    return _at_least(_brightest_band(image.convert("RGB")), least)


def _where_colour(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    flat = Image.new("RGB", image.size, colour)
    return _equal(_brightest_band(ImageChops.difference(image.convert("RGB"), flat)), 0)


def _brightest_band(rgb: Image.Image) -> Image.Image:
    red, green, blue = rgb.split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


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
    return Image.frombytes("L", image.size, image.tobytes()) if image.mode == "P" else image.convert("L")


def _at_least(image: Image.Image, least: int) -> Image.Image:
    return image.point([0] * least + [255] * (256 - least))


def _equal(image: Image.Image, level: int) -> Image.Image:
    return image.point([255 if one == level else 0 for one in range(256)])


def _read_label(text: str | None) -> _Label | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise SettingsError(f"--label {text}: expected a colour as '#ff0000' or a whole number as 3") from error
