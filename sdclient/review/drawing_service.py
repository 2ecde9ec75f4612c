"""Masks that a person draws on source images, and the folder they are stored in. No HTTP here."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image, ImageChops, ImageDraw
from pydantic import BaseModel, ConfigDict, Field

from ..errors import MaskError, SourceError
from ..masks.mask import grow_and_feather, mask_path, read_mask, write_mask
from ..sources.source import Source, discover, image_size, select_classes
from .image_cache import ImageCache, ServedImage

GROW_PX, FEATHER_PX = 2, 3
LARGEST_GROW_PX = LARGEST_FEATHER_PX = 4096
_MOST_SHAPES = 2000
_MOST_POINTS = 20_000

_Coordinate = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Point = tuple[_Coordinate, _Coordinate]
"""(x, y) in pixels of the upright source; (0, 0) is the upper left corner of the first pixel."""


class Shape(BaseModel):
    """One drawn shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["rectangle", "area", "stroke"]
    """`points` are two opposite corners, the corners of a polygon, or the path of a round brush."""
    points: tuple[Point, ...] = Field(min_length=1, max_length=_MOST_POINTS)
    width_px: float = Field(1, gt=0, le=4096, allow_inf_nan=False)
    """Width of the brush."""
    erases: bool = False


class Drawing(BaseModel):
    """The shapes that a person drew on one source, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shapes: tuple[Shape, ...] = Field(max_length=_MOST_SHAPES)
    grow_px: int = Field(0, ge=0, le=LARGEST_GROW_PX)
    feather_px: int = Field(0, ge=0, le=LARGEST_FEATHER_PX)
    keeps_former: bool = False
    """Add to the existing mask, less the erased parts; otherwise the drawing replaces the mask."""


class DrawingService:
    """Draws masks on numbered sources and stores them in a folder, which is created with the first mask.

    Only sources of `classes` are shown; empty means all. `grow_px` and `feather_px` are the page's first values. A
    review page can share its cache of images.

    Raises:
        SourceError: the sources are not numbered, or there is no such class.
    """

    def __init__(
        self,
        sources: Path,
        masks: Path,
        *,
        classes: Sequence[str] = (),
        grow_px: int = GROW_PX,
        feather_px: int = FEATHER_PX,
        images: ImageCache | None = None,
    ) -> None:
        self.masks = masks
        self.grow_px, self.feather_px = grow_px, feather_px
        self._sources = {source.relative: source for source in select_classes(discover(sources), classes)}
        self._images = images or ImageCache()
        self._saved: set[str] = set()

    @property
    def saved(self) -> int:
        """Number of sources for which a mask was saved since the start."""
        return len(self._saved)

    def names(self) -> list[dict[str, Any]]:
        """All sources in order, with the version of their mask ("" for none)."""
        return [self._describe(source) for source in self._sources.values()]

    def source(self, name: str) -> dict[str, Any] | None:
        """One source with its size in pixels; None for an unknown name.

        Raises:
            SourceError: it cannot be read.
        """
        if (source := self._sources.get(name)) is None:
            return None
        width, height = image_size(source.path)
        return {**self._describe(source), "width": width, "height": height, "version": self._images.digest(source.path)}

    def image(self, name: str, *, of_mask: bool = False) -> ServedImage | None:
        """The image of a source, or its mask; None if the file does not exist.

        Raises:
            SourceError: it cannot be read.
        """
        if (source := self._sources.get(name)) is None:
            return None
        return self._images.full(mask_path(self.masks, source) if of_mask else source.path)

    def save(self, name: str, drawing: Drawing) -> dict[str, Any] | None:
        """Write the mask of a drawing; returns what `source` returns.

        Raises:
            MaskError: the mask would be empty, or the existing mask does not fit its image.
            OSError: it cannot be written.
        """
        if (source := self._sources.get(name)) is None:
            return None
        size, path = image_size(source.path), mask_path(self.masks, source)
        painted, erased = _draw(drawing.shapes, size)
        mask = grow_and_feather(painted, grow_px=drawing.grow_px, feather_px=drawing.feather_px)
        if drawing.keeps_former and path.is_file():
            mask = ImageChops.lighter(mask, ImageChops.subtract(read_mask(path, size), erased))
        if mask.getbbox() is None:
            raise MaskError(f"{name}: nothing is drawn on the image; draw an area first, or delete the mask")
        write_mask(path, mask)
        self._saved.add(name)
        return self.source(name)

    def delete(self, name: str) -> dict[str, Any] | None:
        """Remove a source's mask; returns what `source` returns."""
        if (source := self._sources.get(name)) is None:
            return None
        mask_path(self.masks, source).unlink(missing_ok=True)
        self._saved.discard(name)
        return self.source(name)

    def _describe(self, source: Source) -> dict[str, Any]:
        mask = self._images.digest(mask_path(self.masks, source))
        return {"name": source.relative, "class": source.class_name, "mask": mask or ""}


def drawing_service(sources: Path | None, masks: Path, *, images: ImageCache | None = None) -> DrawingService:
    """The service for drawing beside a review.

    Raises:
        SourceError: the folder of sources is not known, does not exist, or its files are not numbered.
    """
    if sources is None:
        raise SourceError("the manifest does not name its folder of sources; give it with --sources")
    return DrawingService(sources, masks, images=images)


def _draw(shapes: Iterable[Shape], size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Two images: 255 where drawing came last, and 255 where erasing came last."""
    painted, erased = Image.new("L", size), Image.new("L", size)
    on_painted, on_erased = ImageDraw.Draw(painted), ImageDraw.Draw(erased)
    for shape in shapes:
        _put(on_painted, shape, 0 if shape.erases else 255)
        _put(on_erased, shape, 255 if shape.erases else 0)
    return painted, erased


def _put(draw: ImageDraw.ImageDraw, shape: Shape, level: int) -> None:
    # The page measures from the corners of pixels, ImageDraw from their centres.
    centres = [(x - 0.5, y - 0.5) for x, y in shape.points]
    if shape.kind == "rectangle":
        (left, right), (top, bottom) = (sorted(axis) for axis in zip(*(shape.points[0], shape.points[-1]), strict=True))
        first, last = (math.floor(left), math.floor(top)), (math.ceil(right) - 1, math.ceil(bottom) - 1)
        if first[0] <= last[0] and first[1] <= last[1]:
            draw.rectangle((first, last), fill=level)
    elif shape.kind == "area" and len(centres) > 2:
        draw.polygon(centres, fill=level)
    elif shape.kind == "stroke":
        width, radius = max(1, round(shape.width_px)), max(0.5, shape.width_px / 2) - 0.5
        if len(centres) > 1:
            draw.line(centres, fill=level, width=width, joint="curve")
        for x, y in (centres[0], centres[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=level)
