"""Which images are exported, and their boxes.

Each connected area of the mask gives one box: the area was repainted as a whole, even if many of its pixels did not
change. The box is drawn around the changed pixels of that area, so it holds all of them and is never larger than the
area; the soft edge of the mask belongs to the area, since pixels change there too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from PIL import Image

from sdcore.annotations import Box
from sdcore.files import sha256_of
from sdcore.images.decode import to_rgb

from ..errors import ExportError, MaskError, MissingExtra, SourceError
from ..manifest.curation import ACCEPTED, REJECTED, UNDECIDED, Curation
from ..manifest.database import ImageRecord, Manifest, Parent
from ..masks.mask import read_mask
from ..sources.source import read_photo
from .layouts import Labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST_STEM = 60
_DIGITS_OF_SHA256 = 16


@dataclass(frozen=True)
class SelectedImage:
    """One image to export."""

    file: str
    """Path relative to the output folder, forward slashes."""
    class_name: str
    sha256: str
    engine: str
    source: str
    source_sha256: str
    other_parents: tuple[Parent, ...]
    mask: str
    """Path of its mask relative to the output folder; "" if it has none."""
    is_on_source: bool
    """Whether the image outside of its mask is the source; else it is the first other parent."""
    keeps_source_defect: bool
    """Whether it still shows the defect of its source: a transplant onto the source of the defect itself."""

    @property
    def name(self) -> str:
        """A file name that no other image has, real or generated: it contains the hash of the bytes."""
        path = PurePosixPath(self.file)
        stem = re.sub(r"[^0-9A-Za-z_-]", "_", path.stem)[:_LONGEST_STEM]
        return f"generated-{stem}-{self.sha256[:_DIGITS_OF_SHA256]}{path.suffix.lower()}"

    @property
    def parents_sha256(self) -> tuple[str, ...]:
        """SHA-256 of every image it was made from, its source first."""
        return (self.source_sha256, *(parent.sha256 for parent in self.other_parents))


@dataclass(frozen=True)
class Selection:
    """What an output holds, and which of its images are exported."""

    output: Path
    run: Mapping[str, Any]
    chosen: tuple[SelectedImage, ...]
    recorded_sha256: frozenset[str]
    """Of every finished image."""
    recorded: int
    rejected: int
    undecided: int
    curated: bool
    """Whether only accepted images were chosen."""


def select(output: Path, *, uncurated: bool) -> Selection:
    """Choose the accepted images of an output, or every finished one if `uncurated`.

    Raises:
        ExportError: no image is finished, or images were never judged and `uncurated` is not given.
        ManifestError: no manifest, or a damaged one.
    """
    with Manifest(output) as manifest:
        run = manifest.run()
        verdicts = {one.file: one.verdict for one in Curation(manifest).verdicts()}
        chosen, hashes, recorded = [], set(), 0
        for record in manifest.images():
            recorded += 1
            hashes.add(record.sha256)
            if uncurated or verdicts.get(record.file) == ACCEPTED:
                chosen.append(_selected(record))
    if not recorded:
        raise ExportError(f"{output}: no image is done; run 'sdclient generate' to the end first")
    if not uncurated and not any(verdicts.values()):
        raise ExportError(
            f"{output}: none of its {recorded} images was ever judged; run 'sdclient curate {output}' first, or give "
            "--uncurated to take all"
        )
    judged = list(verdicts.values())
    return Selection(
        output=output,
        run=run,
        chosen=tuple(chosen),
        recorded_sha256=frozenset(hashes),
        recorded=recorded,
        rejected=judged.count(REJECTED),
        undecided=judged.count(UNDECIDED),
        curated=not uncurated,
    )


def _selected(record: ImageRecord) -> SelectedImage:
    return SelectedImage(
        file=record.file,
        class_name=record.class_name,
        sha256=record.sha256,
        engine=record.engine,
        source=record.source,
        source_sha256=record.source_sha256,
        other_parents=record.other_parents,
        mask=record.mask,
        is_on_source=not record.other_parents or record.asked.get("base") == "source",
        keeps_source_defect=record.asked.get("base") == "source",
    )


@dataclass(frozen=True)
class ImageBoxes:
    """An image's boxes, and what a box file says of the image."""

    boxes: tuple[Box, ...]
    size: tuple[int, int]
    """(width, height), px."""
    channels: int


class BoxFinder:
    """Finds the boxes of images of one output.

    Raises:
        MissingExtra: scipy is not installed.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], labels: Labels) -> None:
        try:
            import scipy  # noqa: F401 - fails before anything is written if it is missing
        except ModuleNotFoundError as error:
            raise MissingExtra("writing boxes", "curate") from error
        self._output, self._run, self._labels = output, run, labels
        # One base image is kept: images of one source follow each other.
        self._last: tuple[tuple[Path, str], Image.Image] | None = None

    def of(self, image: SelectedImage) -> ImageBoxes:
        """The boxes of an image; none for an image of the class without defects.

        Raises:
            ExportError: why its defect cannot be located.
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
            raise ExportError("it has no mask, so its defect cannot be located")
        masks = self._labels.source_masks
        if image.keeps_source_defect and masks is None:
            raise ExportError(
                f"it still shows the defect of {image.source} as well; give the sources' masks with --source-masks"
            )
        base = self._base(image).convert(made.mode)
        mask = read_mask(self._output / image.mask, made.size)
        found = changed_boxes(made, base, mask, min_change=self._labels.min_change)
        if not found:
            raise ExportError(
                f"nothing in it differs by {self._labels.min_change} levels or more from the image it was made on, so "
                "its defect cannot be located"
            )
        if image.is_on_source and masks is not None:
            of_source = read_mask(masks / PurePosixPath(image.source).with_suffix(".png"), made.size)
            found += kept_boxes(of_source, mask)
        return tuple(Box(image.class_name, *map(float, edges)) for edges in found)

    def _base(self, image: SelectedImage) -> Image.Image:
        """The image whose pixels stay where the mask is 0, as RGB."""
        if image.is_on_source:
            key, name, sha256 = "sources", image.source, image.source_sha256
        else:
            key, name, sha256 = "other_sources", image.other_parents[0].source, image.other_parents[0].sha256
        if key not in self._run:
            raise ExportError(f"its manifest does not say where {name} lies, the image it was made on")
        path = self._output / str(self._run[key]) / name
        if not path.is_file():
            raise ExportError(f"{path}, the image it was made on, is not there")
        if self._last is None or self._last[0] != (path, sha256):
            if sha256_of(path) != sha256:
                raise ExportError(f"{path}, the image it was made on, was changed since")
            self._last = (path, sha256), to_rgb(read_photo(path))
        return self._last[1]


_HALF = 128
_TOUCHING = [[True] * 3] * 3
"""The 8 neighbours: areas are connected at corners too."""


def changed_boxes(
    made: Image.Image, base: Image.Image, mask: Image.Image, *, min_change: int = 1
) -> list[tuple[int, int, int, int]]:
    """A box around the changed pixels of every connected area (8 neighbours) of the mask.

    Args:
        made: the generated image, 8 bit.
        base: the image whose pixels stay where the mask is 0; of the same mode and size.
        mask: mode "L", of that size.
        min_change: a pixel inside the mask counts as changed if it differs by this many levels in any channel.

    Returns:
        (left, top, right, bottom) in px, right and bottom exclusive; from top to bottom. An area without changed pixels
        has no box.

    Raises:
        ExportError: sizes differ, or pixels changed where the mask is 0.
    """
    import numpy as np
    from scipy import ndimage

    if not made.size == base.size == mask.size:
        raise ExportError(f"sizes {made.size}, {base.size} and mask {mask.size} px; expected them equal")
    change = _change(made, base)
    inside = np.asarray(mask) > 0
    if outside := int(np.count_nonzero(change[~inside])):
        raise ExportError(f"{outside} pixels changed outside of its mask")
    areas, _ = ndimage.label(inside, structure=_TOUCHING)
    areas[change < min_change] = 0
    return [_edges(found) for found in ndimage.find_objects(areas) if found is not None]


def kept_boxes(of_source: Image.Image, mask: Image.Image) -> list[tuple[int, int, int, int]]:
    """Boxes, as from `changed_boxes`, around those connected areas of a source's mask that an image's mask leaves out.

    Both are of mode "L" and the same size. The soft edge of the source's mask does not count.
    """
    import numpy as np
    from scipy import ndimage

    areas, _ = ndimage.label(np.asarray(of_source) >= _HALF, structure=_TOUCHING)
    touched = set(np.unique(areas[np.asarray(mask) > 0]).tolist())
    found = enumerate(ndimage.find_objects(areas), start=1)
    return [_edges(slices) for number, slices in found if number not in touched]


def _edges(slices: tuple[slice, slice]) -> tuple[int, int, int, int]:
    down, across = slices
    return across.start, down.start, across.stop, down.stop


def _change(made: Image.Image, base: Image.Image) -> NDArray[np.uint8]:
    """(H, W) largest difference over the channels, in levels."""
    import numpy as np

    first, second = np.asarray(made), np.asarray(base)
    change = np.maximum(first, second) - np.minimum(first, second)
    return change if change.ndim == 2 else np.asarray(change.max(axis=2))
