"""A contact sheet of sources with the outlines of their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

from sdcore.files import write_bytes_atomically
from sdcore.images.contact_sheet import CELL_PX, Cell, Row, draw_sheet
from sdcore.images.decode import to_rgb

from .._images import encode_png
from ..masks import mask_path, read_mask
from ..photos import read_photo
from ..sources import Source

MOST_PER_CLASS = 24
_COLUMNS = 6
_HARD, _FEATHER = (255, 40, 40), (255, 210, 0)


def write_mask_sheet(path: Path, sources: Sequence[Source], masks: Path) -> Mapping[str, str]:
    """Draw sources with their masks, of each class `MOST_PER_CLASS` at most, evenly picked.

    The hard area's outline is red, the end of the feather yellow.

    Args:
        path: the sheet to write, a PNG.
        sources: those that may be shown; the ones without a mask are not.
        masks: the folder of masks.

    Returns:
        What stands on the sheet in place of a name that no font at hand can write -> that name.

    Raises:
        MaskError: a mask cannot be used.
        OSError: the sheet cannot be written.
    """
    by_class: dict[str, list[Source]] = {}
    for source in sources:
        if mask_path(masks, source).is_file():
            by_class.setdefault(source.class_name, []).append(source)
    rows = []
    for class_name, members in by_class.items():
        picked = _evenly(members, MOST_PER_CLASS)
        for start in range(0, len(picked), _COLUMNS):
            cells = tuple(_cell(source, masks) for source in picked[start : start + _COLUMNS])
            rows.append(Row(class_name if start == 0 else "", cells))
    sheet = draw_sheet([""] * _COLUMNS, rows)
    write_bytes_atomically(path, encode_png(sheet.image))
    return sheet.legend


def outlined(picture: Image.Image, mask: Image.Image, *, side_px: int = CELL_PX) -> Image.Image:
    """A picture of about `side_px` with the outline of its mask.

    Args:
        picture: any mode.
        mask: mode "L", of the same size.
        side_px: the longer side of the result.
    """
    factor = side_px / max(picture.size)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    shown = to_rgb(picture).resize(size, Image.Resampling.LANCZOS)
    for least, colour in ((1, _FEATHER), (255, _HARD)):
        area = mask.point([0] * least + [255] * (256 - least)).resize(size, Image.Resampling.NEAREST)
        edge = ImageChops.subtract(area.filter(ImageFilter.MaxFilter(3)), area)
        shown.paste(colour, mask=edge)
    return shown


def _cell(source: Source, masks: Path) -> Cell:
    picture = read_photo(source.path)
    mask = read_mask(mask_path(masks, source), picture.size)
    white = sum(mask.histogram()[1:]) / (mask.width * mask.height)
    return Cell(outlined(picture, mask), f"{source.path.stem}: {white:.1%}")


def _evenly(members: Sequence[Source], most: int) -> list[Source]:
    if len(members) <= most:
        return list(members)
    return [members[place * len(members) // most] for place in range(most)]
