"""Masks out of boxes: YOLO or VOC files, or the table that 'sdclient crop' wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ..box_files import BoxFiles
from ..boxes import Box
from ..crops_csv import CROPS_NAME, CropRow, read_crops
from ..errors import MaskError
from ..masks import rectangles_mask
from ..sources import Source
from .make import NoMask
from .names import choose_names


class BoxMasks:
    """Rectangles where boxes are.

    A source gets the boxes of its own class: what is repainted becomes an image of that class, and so must not be
    another defect.

    Args:
        boxes: a folder of box files named like the photographs or like the numbered sources; or the folder of crops
            with its `crops.csv`, or that file.
        sources_folder: where the sources are.
        sources: all that masks are wanted of.
        any_class: take boxes of every class.

    Raises:
        AnnotationError: the folder is not there.
        OutputError: `crops.csv` cannot be read.
    """

    def __init__(
        self, boxes: Path, sources_folder: Path, sources: Sequence[Source], *, any_class: bool = False
    ) -> None:
        self._any_class = any_class
        self._passed_over: Counter[str] = Counter()
        table = boxes if boxes.is_file() else boxes / CROPS_NAME
        self._table = table
        self._rows: dict[str, CropRow] | None = read_crops(table) if table.is_file() else None
        self._files = BoxFiles(boxes) if self._rows is None else None
        self._names = choose_names(sources_folder, sources, self._is_there)
        self._by_names = "the photographs' names" if self._names.are_original else "the sources' numbers"

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        """See `MaskOrigin`."""
        name = self._names.of(source)
        boxes = self._crop_boxes(source, name, size) if self._files is None else self._file_boxes(source, name, size)
        own = boxes if self._any_class else [box for box in boxes if box.class_name == source.class_name]
        others = [box.class_name for box in boxes if box not in own]
        if boxes and not own:
            classes = ", ".join(sorted(set(others)))
            raise NoMask(f"its boxes are of class {classes}, not of its folder's; --any-class takes them")
        self._passed_over.update(others)
        return rectangles_mask(own, size)

    def notes(self) -> Iterator[str]:
        """Where the boxes were looked for, and those of other classes."""
        yield f"boxes were found by {self._by_names}"
        if self._passed_over:
            classes = ", ".join(f"{name} ({count})" for name, count in sorted(self._passed_over.items()))
            yield f"boxes of other classes than their source's were passed over: {classes}; --any-class takes them"

    def _is_there(self, source: Source, name: str) -> bool:
        if self._files is not None:
            return self._files.find(Path(name), source.class_name) is not None
        return f"{source.class_name}/{name}" in (self._rows or {})

    def _file_boxes(self, source: Source, name: str, size: tuple[int, int]) -> list[Box]:
        assert self._files is not None  # noqa: S101 - there are files or rows
        picture = Path(source.class_name, name)
        if self._files.find(picture, source.class_name) is None:
            raise NoMask("no box file")
        boxes = self._files.boxes_of(picture, source.class_name, *size)
        if not boxes:
            raise NoMask("its box file says that there is no defect")
        return boxes

    def _crop_boxes(self, source: Source, name: str, size: tuple[int, int]) -> list[Box]:
        row = (self._rows or {}).get(f"{source.class_name}/{name}")
        if row is None:
            raise NoMask(f"not in {self._table.name}")
        edges = row.box_left, row.box_top, row.box_right, row.box_bottom
        if (row.width, row.height) != size:
            raise MaskError(
                f"{self._table}: {row.crop} has {row.width} x {row.height} px there, but {source.path} has "
                f"{size[0]} x {size[1]} px; number the crops as they were cut"
            )
        left, top, right, bottom = edges
        if left is None or top is None or right is None or bottom is None:
            raise NoMask(f"a tile without a box in {self._table.name}")
        return [Box(row.class_name, left, top, right, bottom)]
