"""The boxes of an image that is to be exported: where it differs from the picture it was made on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from sdcore.files import sha256_of
from sdcore.images.decode import to_rgb

from ..boxes import Box
from ..errors import ExportError, MaskError, MissingExtra, SourceError
from ..masks import read_mask
from ..photos import read_photo
from .selection import SelectedImage
from .settings import Labels


@dataclass(frozen=True)
class ImageBoxes:
    """An image's boxes, and what a box file says of the picture."""

    boxes: tuple[Box, ...]
    size: tuple[int, int]
    """(width, height), px."""
    channels: int


class BoxFinder:
    """Finds the boxes of images of one output.

    Args:
        output: the output folder.
        run: its run parameters, with the folders of the parents.
        labels: the class without defects, and what counts as changed.

    Raises:
        MissingExtra: a package that finds boxes is not installed.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], labels: Labels) -> None:
        try:
            from .changes import changed_boxes, kept_boxes
        except ModuleNotFoundError as error:
            raise MissingExtra("writing boxes", "curate") from error
        self._find, self._find_kept = changed_boxes, kept_boxes
        self._output, self._run, self._labels = output, run, labels
        # Images of one source follow each other.
        self._last: tuple[tuple[Path, str], Image.Image] | None = None

    def of(self, image: SelectedImage) -> ImageBoxes:
        """The boxes of an image; none for one of the class without defects.

        Raises:
            ExportError: why the place of its defect is not known.
        """
        path = self._output / image.file
        try:
            made = read_photo(path)
            boxes = () if image.class_name == self._labels.normal else self._boxes(image, made)
        except (ExportError, SourceError, MaskError, OSError) as error:
            raise ExportError(f"{path}: {error}") from error
        return ImageBoxes(boxes, made.size, len(made.getbands()))

    def _boxes(self, image: SelectedImage, made: Image.Image) -> tuple[Box, ...]:
        if not image.mask:
            raise ExportError("it has no mask, so where its defect lies is not known")
        masks = self._labels.source_masks
        if image.keeps_source_defect and masks is None:
            raise ExportError(
                f"it shows the defect of {image.source} too, where that was; give the sources' masks with "
                "--source-masks"
            )
        base = self._base(image).convert(made.mode)
        mask = read_mask(self._output / image.mask, made.size)
        found = self._find(made, base, mask, min_change=self._labels.min_change)
        if not found:
            least = self._labels.min_change
            raise ExportError(
                f"nothing in it differs by {least} levels or more from the picture it was made on, so where its defect "
                "lies is not known"
            )
        if image.is_on_source and masks is not None:
            of_source = read_mask(masks / PurePosixPath(image.source).with_suffix(".png"), made.size)
            found += self._find_kept(of_source, mask)
        return tuple(Box(image.class_name, *map(float, edges)) for edges in found)

    def _base(self, image: SelectedImage) -> Image.Image:
        """The picture whose pixels stay where the mask is 0, in colour."""
        key = "sources" if image.is_on_source else "other_sources"
        name, sha256 = image.source, image.source_sha256
        if not image.is_on_source:
            name, sha256 = image.other_parents[0].source, image.other_parents[0].sha256
        if key not in self._run:
            raise ExportError(f"its manifest does not say where {name} lies, the picture it was made on")
        path = self._output / str(self._run[key]) / name
        if not path.is_file():
            raise ExportError(f"{path}, the picture it was made on, is not there")
        if self._last is None or self._last[0] != (path, sha256):
            if sha256_of(path) != sha256:
                raise ExportError(f"{path}, the picture it was made on, was changed since")
            self._last = (path, sha256), to_rgb(read_photo(path))
        return self._last[1]
