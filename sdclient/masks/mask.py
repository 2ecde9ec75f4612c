"""A mask as an image and a file; the masks of a run's sources.

A mask is an image of mode "L" as large as its upright image: 255 is repainted, 0 stays exactly as it is, and values
between, the feather, are the share of the repainted image that shows. A folder of masks has one for each source,
`MASKS/<class>/<source number>.png`; those of results are in `OUTPUT/_masks/<class>/<source number>_<k>.png`.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from sdcore.annotations import Box
from sdcore.files import printable, sha256_of, write_bytes_atomically
from sdcore.images.decode import to_png

from ..errors import MaskError, SourceError
from ..sources.source import Source, image_size, read_photo

MASKS_FOLDER = "_masks"
"""Folder of the masks within an output."""
_SQUARE = ImageFilter.MaxFilter(3)
_CROSS = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, 1, 1, 0, 1, 0), scale=1)


def mask_path(masks: Path, source: Source) -> Path:
    """Path of a source's mask in a folder of masks."""
    return masks / source.class_name / f"{source.path.stem}.png"


def mask_file_of(image_file: str) -> str:
    """Path of a result's mask from the result's own path; both are relative to the output folder."""
    return str(PurePosixPath(MASKS_FOLDER, image_file))


def read_mask(path: Path, size: tuple[int, int]) -> Image.Image:
    """A mask file as an image of mode "L"; any colourless image without transparency is accepted.

    Args:
        size: (width, height) in px of the upright image it belongs to.

    Raises:
        MaskError: missing, no image, of another size, or with colours; names the file.
    """
    if not path.is_file():
        raise MaskError(f"{printable(path)}: no such mask; make it with 'sdclient mask'")
    return decode_mask(path, printable(path), size)


def decode_mask(data: Path | bytes, name: str, size: tuple[int, int]) -> Image.Image:
    """As `read_mask`, from a file's bytes."""
    try:
        image = read_photo(data, name)
    except SourceError as error:
        raise MaskError(str(error)) from error
    return mask_of(image, name, size)


def mask_of(image: Image.Image, name: str, size: tuple[int, int]) -> Image.Image:
    """As `read_mask`, from an upright image."""
    if image.size != size:
        raise MaskError(
            f"{name}: a mask of {image.width} x {image.height} px; expected {size[0]} x {size[1]} px, "
            "the size of its image; make it again with 'sdclient mask'"
        )
    if image.mode in {"1", "L"} and not image.has_transparency_data:
        return image.convert("L")
    grey = image.convert("L") if image.mode in {"P", "RGB"} and not image.has_transparency_data else None
    if grey is None or ImageChops.difference(image.convert("RGB"), grey.convert("RGB")).getbbox() is not None:
        raise MaskError(
            f"{name}: mode {image.mode} with colours, transparency or more than 8 bits; expected 8-bit grey, "
            "white where to repaint; 'sdclient mask SOURCES MASKS --from-masks' reads such masks"
        )
    return grey


def write_mask(path: Path, mask: Image.Image, *, durable: bool = False) -> None:
    """Write a mask of mode "L" atomically, and create its folder if needed.

    Raises:
        OSError: it cannot be written.
        ValueError: another mode.
    """
    write_bytes_atomically(path, encode_mask(mask), durable=durable)


def encode_mask(mask: Image.Image) -> bytes:
    """The mask as a PNG file's bytes.

    Raises:
        ValueError: the image is of another mode than "L".
    """
    if mask.mode != "L":
        raise ValueError(f"a mask of mode {mask.mode!r}; expected 'L'")
    return to_png(mask)


def rectangles_mask(boxes: Iterable[Box], size: tuple[int, int]) -> Image.Image:
    """255 in every pixel that a box touches, 0 elsewhere; `size` is (width, height) in px."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for box in boxes:
        left, top = max(0, math.floor(box.left)), max(0, math.floor(box.top))
        right, bottom = min(size[0], math.ceil(box.right)), min(size[1], math.ceil(box.bottom))
        if left < right and top < bottom:
            draw.rectangle((left, top, right - 1, bottom - 1), fill=255)
    return mask


def grow_and_feather(mask: Image.Image, *, grow_px: int, feather_px: int) -> Image.Image:
    """A new mask with the hard area grown by `grow_px`, and a ramp from white to black of `feather_px` around it.

    The hard area is where the mask is 128 or more; grown by `grow_px` it is 255 in the result. Around it the result
    falls in equal steps, to exactly 0 from `feather_px` + 1 px on. Distances are octagonal: exact along rows and
    columns, up to a tenth longer between them.
    """
    if grow_px < 0 or feather_px < 0:
        raise ValueError(f"grow_px {grow_px} and feather_px {feather_px}: expected 0 or more")
    hard = mask.point(lambda level: 255 if level >= _HALF else 0)
    bounds = hard.getbbox()
    if bounds is None:
        return hard
    reach = grow_px + feather_px + 2
    window = (bounds[0] - reach, bounds[1] - reach, bounds[2] + reach, bounds[3] + reach)
    area = hard.crop(window)  # black beyond the image, so that its edges need no special treatment
    for step in range(grow_px):
        area = _one_px_wider(area, step)
    result = area
    for step in range(feather_px):
        area = _one_px_wider(area, grow_px + step)
        level = round(255 * (1 - (step + 1) / (feather_px + 1)))
        result = ImageChops.lighter(result, area.point([0] * 255 + [level]))
    grown = Image.new("L", mask.size)
    grown.paste(result, window[:2])
    return grown


def box_of(mask: Image.Image) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) around all pixels above 0, px; right and bottom exclusive.

    Raises:
        MaskError: no pixel is above 0.
    """
    bounds = mask.getbbox()
    if bounds is None:
        raise MaskError("an empty mask: no pixel is above 0, so there is no box around it")
    return bounds


def composite(base: Image.Image, painted: Image.Image, mask: Image.Image) -> Image.Image:
    """`painted` where the mask is 255, exactly `base` where it is 0, a blend between.

    Raises:
        ValueError: `base` and `painted` are not both "L" or both "RGB", the mask is not "L", or sizes differ.
    """
    if base.mode != painted.mode or base.mode not in {"L", "RGB"} or mask.mode != "L":
        raise ValueError(f"modes {base.mode}, {painted.mode} and mask {mask.mode}; expected L or RGB twice, and L")
    if not base.size == painted.size == mask.size:
        raise ValueError(f"sizes {base.size}, {painted.size} and mask {mask.size}; expected them equal")
    return Image.composite(painted, base, mask)


def _one_px_wider(area: Image.Image, step: int) -> Image.Image:
    """Two squares and three crosses in turn make a nearly regular octagon, close enough to a circle."""
    return area.filter(_SQUARE if step % 5 in {1, 3} else _CROSS)


Unmasked: TypeAlias = Literal["refuse", "allow", "skip"]
"""What to do with a source without a mask: stop before anything is made, make its images without one, or make none."""

_HALF = 128


@dataclass(frozen=True)
class SourceMasks:
    """The masks of some sources."""

    folder: Path
    sha256_by_source: dict[str, str]
    """`Source.relative` -> sha256 of its mask file's bytes."""
    without: tuple[str, ...]
    """`Source.relative` of sources that have none."""
    covering_all: tuple[str, ...]
    """Sources whose mask is nowhere 0, so that every pixel changes."""

    def sha256_of(self, source: Source) -> str | None:
        """Hash of the source's mask; None if it has none."""
        return self.sha256_by_source.get(source.relative)

    def read(self, source: Source, sha256: str) -> Image.Image:
        """The mask of a source, mode "L".

        Raises:
            MaskError: it is no longer the file that was found.
        """
        path = mask_path(self.folder, source)
        mask = _read(path, source)
        if sha256_of(path) != sha256:
            raise _changed(path)
        return mask

    def data(self, source: Source, sha256: str) -> bytes:
        """The bytes of the file.

        Raises:
            MaskError: it is no longer the file that was found.
        """
        path = mask_path(self.folder, source)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise MaskError(f"{path}: cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _changed(path)
        return data


def find_masks(folder: Path, sources: Iterable[Source], *, unmasked: Unmasked = "refuse") -> SourceMasks:
    """Find and check the mask of every source.

    Raises:
        MaskError: no such folder; a source without a mask, unless that is allowed; a mask that cannot be used, or that
            covers nothing.
        SourceError: a source cannot be read.
    """
    if not folder.is_dir():
        raise MaskError(f"{folder}: no such folder; expected masks as {folder.name}/<class>/1.png; run 'sdclient mask'")
    sha256_by_source: dict[str, str] = {}
    without: list[Source] = []
    covering_all: list[str] = []
    for source in sources:
        path = mask_path(folder, source)
        if not path.is_file():
            without.append(source)
            continue
        low, high = _extremes(_read(path, source))
        if high < _HALF:
            raise MaskError(
                f"{path}: covers nothing (no pixel is half white or more), so nothing would be repainted; "
                "draw it again, or remove it and add --unmasked skip"
            )
        if low > 0:
            covering_all.append(source.relative)
        sha256_by_source[source.relative] = sha256_of(path)
    if without and (unmasked == "refuse" or not sha256_by_source):
        raise MaskError(_words_of_unmasked(folder, without, unmasked))
    return SourceMasks(folder, sha256_by_source, tuple(source.relative for source in without), tuple(covering_all))


def apply_masks(
    folder: Path, owed: Sequence[tuple[Source, int]], *, unmasked: Unmasked
) -> tuple[SourceMasks, Sequence[tuple[Source, int]]]:
    """The masks of the owed sources, and these sources without the ones skipped because they have no mask.

    Raises:
        MaskError, SourceError: as `find_masks`.
    """
    masks = find_masks(folder, [source for source, count in owed if count], unmasked=unmasked)
    if unmasked == "allow":
        return masks, owed
    without = {*masks.without}
    return masks, [(source, count) for source, count in owed if source.relative not in without]


def _words_of_unmasked(folder: Path, without: Sequence[Source], unmasked: Unmasked) -> str:
    first = mask_path(folder, without[0])
    if unmasked != "refuse":
        return f"{first}: no such mask, nor any of the other sources; check the folder, or run 'sdclient mask'"
    more = f", nor those of {len(without) - 1} more sources" if len(without) > 1 else ""
    return (
        f"{first}: no such mask{more}; make them with 'sdclient mask', or add --unmasked skip (no images of these "
        "sources) or --unmasked allow (images without a mask)"
    )


def _changed(path: Path) -> MaskError:
    return MaskError(f"{path}: changed during the run; restore the former file, or use a new output folder")


def _read(path: Path, source: Source) -> Image.Image:
    return read_mask(path, image_size(source.path))


def _extremes(mask: Image.Image) -> tuple[int, int]:
    low, high = mask.getextrema()
    return int(low), int(high)  # type: ignore[arg-type]  # one band gives one pair; Pillow's types do not say so
