"""A contact sheet of transplants: the defect, what it was put on, the result, and where that was changed."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw

from sdcore.files import write_bytes_atomically
from sdcore.images.contact_sheet import Cell, Row, draw_sheet

from ..errors import SDClientError
from ..manifest import ImageRecord, Manifest
from ..masks import box_of, read_mask
from ..photos import read_photo
from .pixels import form_of, to_form

_COLUMNS = ("defect", "put on", "result", "changed")
_OUTLINE = (255, 0, 0)


def write_transplant_sheet(path: Path, output: Path, *, per_class: int = 4) -> dict[str, str]:
    """Draw some transplants of each class of an output, evenly picked over all that are done.

    Args:
        path: of the picture to write.
        output: an output folder of `sdclient compose`.
        per_class: rows a class.

    Returns:
        What stands on the sheet -> the label that no font at hand can write.

    Raises:
        ManifestError: no manifest, or a damaged one.
        OSError: the sheet cannot be written.
    """
    with Manifest(output) as manifest:
        run, records = manifest.run(), list(manifest.images())
    rows = [_row(record, output, run) for record in _picked(records, per_class)]
    sheet = draw_sheet(_COLUMNS, rows)
    buffer = io.BytesIO()
    sheet.image.save(buffer, "PNG")
    write_bytes_atomically(path, buffer.getvalue())
    return dict(sheet.legend)


def _picked(records: Iterable[ImageRecord], per_class: int) -> list[ImageRecord]:
    by_class: dict[str, list[ImageRecord]] = {}
    for record in records:
        by_class.setdefault(record.class_name, []).append(record)
    return [
        own[number * len(own) // count]
        for own in by_class.values()
        for count in (min(per_class, len(own)),)
        for number in range(count)
    ]


def _row(record: ImageRecord, output: Path, run: dict[str, object]) -> Row:
    source = Path(str(run.get("sources", ""))) / record.source
    base = source
    if record.other_parents:
        base = Path(str(run.get("other_sources", ""))) / record.other_parents[0].source
    result = _read(output / record.file)
    mask = read_mask(output / record.mask, (record.width, record.height)) if record.mask else None
    outlined = None
    if result is not None and mask is not None:
        outlined = result.convert("RGB")
        left, top, right, bottom = box_of(mask)
        ImageDraw.Draw(outlined).rectangle((left - 1, top - 1, right, bottom), outline=_OUTLINE)
    place = record.used["places"][0]
    caption = f"{place['blend']}, seam {place['seam_score']:.2f}, mismatch {place['mismatch']:.2f}"
    cells = (
        Cell(_read(source), record.source),
        Cell(_read(base), "its own picture" if base == source else record.other_parents[0].source),
        Cell(result, caption),
        Cell(outlined, ""),
    )
    return Row(f"{record.class_name}\n{record.file.partition('/')[2]}", cells)


def _read(path: Path) -> Image.Image | None:
    """A picture in 8 bits; None where it is gone."""
    try:
        picture = read_photo(path)
    except (SDClientError, OSError):
        return None
    return to_form(picture, form_of(picture))
