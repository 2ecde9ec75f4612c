"""Cut photographs into sources: around boxes, or into tiles. `DEST/crops.csv` says where each crop comes from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from sdcore.annotations import Box
from sdcore.annotations.folder import AnnotationFolder
from sdcore.files import is_utf8_name, printable, sha256_of, write_bytes_atomically
from sdcore.images.decode import to_8_bit, to_png
from sdcore.images.folders import SkippedFile, is_image_name, list_entries
from sdcore.images.tiles import Window, tile_windows
from sdcore.progress import ProgressTracker, no_progress

from ..errors import OutputError, SourceError
from ..manifest.tables import CROPS_NAME, CropRow, read_crops, write_crops
from .source import check_destination, image_size, read_photo

_PNG_MODES = frozenset({"1", "L", "LA", "RGB", "RGBA", "I;16"})


@dataclass(frozen=True)
class CropResult:
    """What was cut; crops are named relative to DEST with forward slashes."""

    made: tuple[str, ...]
    unchanged: tuple[str, ...]
    left_out: tuple[SkippedFile, ...]
    """Photos that could not be read, and files that are no photos of a class."""
    unused_box_files: tuple[str, ...] = ()
    """Box files that belong to no photo."""


@dataclass(frozen=True)
class _Photo:
    path: Path
    relative: str
    class_name: str | None
    """The class folder it lies in; None at the top of PHOTOS."""


@dataclass(frozen=True)
class _Job:
    """The crops of one photo."""

    photo: _Photo
    size: tuple[int, int]
    rows: tuple[CropRow, ...]


_Piece = tuple[str, Window, Box | None]
"""Class, place in the photo, and the box the cut was made for."""


def crop_boxes(
    photos: Path,
    destination: Path,
    boxes: Path,
    *,
    margin: float = 0.5,
    size_px: int = 256,
    track: ProgressTracker = no_progress,
) -> CropResult:
    """Cut a square with context around every box; the box gives the class.

    Every box file is read before the first crop is written. A repeat changes nothing.

    Args:
        photos: photographs, at the top or in class folders.
        destination: gets `<class>/<photo stem>_<n>.png`, n being the box's place in its file; a photo in a class
            folder of another name than the box's class puts that folder's name in front.
        boxes: folder with `<photo stem>.txt` and `classes.txt` (YOLO), or `<photo stem>.xml` (VOC), at the top or
            in the same class folders as the photos.
        margin: context on each side, in shares of the box's longer side.
        size_px: the least side of a crop.
        track: shows progress over the photographs.

    Raises:
        AnnotationError: a photo without a box file, or one that cannot be used; names file and line.
        SourceError: no photographs, or two crops that would have one name.
        OutputError: the destination overlaps the photographs or holds other crops.
        OSError: the destination cannot be written.
    """
    files = AnnotationFolder(boxes)

    def pieces(photo: _Photo, width: int, height: int) -> list[_Piece]:
        found = files.boxes_of(photo.path, photo.class_name, width, height)
        return [
            (box.class_name, window_around(box, width, height, margin=margin, size_px=size_px), box) for box in found
        ]

    return replace(_crop(photos, destination, pieces, track), unused_box_files=files.unused())


def crop_tiles(
    photos: Path, destination: Path, *, tile_px: int = 512, overlap: float = 0.2, track: ProgressTracker = no_progress
) -> CropResult:
    """Cut every photo into tiles that cover it; a tile keeps its photo's class folder. A repeat changes nothing.

    `destination` gets `<class>/<photo stem>_<n>.png`, row by row; neighbours share at least `overlap`, in [0, 1), of a
    tile's side.

    Raises:
        SourceError: no photographs, one outside the class folders, or two crops that would have one name.
        OutputError: the destination overlaps the photographs or holds other crops.
        OSError: the destination cannot be written.
    """

    def pieces(photo: _Photo, width: int, height: int) -> list[_Piece]:
        if photo.class_name is None:
            raise SourceError(
                f"{photo.path}: outside any class folder, so its tiles have no class; expected PHOTOS/<class>/<photo>"
            )
        windows = tile_windows(width, height, tile_px=tile_px, overlap=overlap)
        return [(photo.class_name, window, None) for window in windows]

    return _crop(photos, destination, pieces, track)


def _crop(
    photos: Path, destination: Path, pieces: Callable[[_Photo, int, int], Sequence[_Piece]], track: ProgressTracker
) -> CropResult:
    found, left_out = _photographs(photos)
    check_destination(photos, destination)
    former = read_crops(destination / CROPS_NAME)
    jobs: list[_Job] = []
    for photo in track(found, "reading"):
        try:
            width, height = image_size(photo.path, refuse_huge=False)
        except SourceError as error:
            left_out.append(_left_out(photo, error))
            continue
        cuts = pieces(photo, width, height)
        digest = sha256_of(photo.path) if cuts else ""
        rows = tuple(_row(photo, digest, n, piece) for n, piece in enumerate(cuts, start=1))
        jobs.append(_Job(photo, (width, height), rows))
    wanted = [row for job in jobs for row in job.rows]
    _check_names(wanted)
    _check_former(destination, wanted, former)

    made: list[str] = []
    unchanged: list[str] = []
    done: dict[str, CropRow] = dict(former)
    for job in track(jobs, "cutting"):
        present = {row.crop for row in job.rows if row.crop in former and (destination / row.crop).exists()}
        unchanged += [row.crop for row in job.rows if row.crop in present]
        if len(present) < len(job.rows):
            try:
                image = _read(job)
            except SourceError as error:
                left_out.append(_left_out(job.photo, error))
                continue
            for row in job.rows:
                if row.crop not in present:
                    (made if _write_crop(image, destination, row) else unchanged).append(row.crop)
        done.update((row.crop, row) for row in job.rows)
    if done != former:
        write_crops(destination / CROPS_NAME, done.values())
    return CropResult(tuple(made), tuple(unchanged), tuple(left_out))


def _photographs(photos: Path) -> tuple[list[_Photo], list[SkippedFile]]:
    found, left_out = [], []
    for entry in list_entries(photos):
        for path in list_entries(entry) if entry.is_dir() else [entry]:
            relative = path.relative_to(photos).as_posix()
            if path.is_dir():
                left_out.append(SkippedFile(printable(relative), "a folder inside a class folder; it is not read"))
            elif is_image_name(path.name) and not is_utf8_name(relative):
                left_out.append(SkippedFile(printable(relative), "its name is not valid Unicode; rename it"))
            elif is_image_name(path.name):
                found.append(_Photo(path, relative, entry.name if entry.is_dir() else None))
    if not found:
        raise SourceError(f"{printable(photos)}: no photograph in it; expected images, at the top or in class folders")
    return found, left_out


def _read(job: _Job) -> Image.Image:
    image = read_photo(job.photo.path, refuse_huge=False)
    if image.size != job.size:
        raise SourceError(
            f"{job.photo.path}: {job.size[0]} x {job.size[1]} px by its header, but {image.width} x {image.height} "
            "decoded; save it anew"
        )
    return image


def _left_out(photo: _Photo, error: SourceError) -> SkippedFile:
    return SkippedFile(photo.relative, str(error).removeprefix(f"{photo.path}: "))


def _row(photo: _Photo, digest: str, n: int, piece: _Piece) -> CropRow:
    class_name, cut, box = piece
    prefix = f"{photo.class_name}-" if photo.class_name not in (None, class_name) else ""
    edges: tuple[float | None, ...] = (None,) * 4
    if box is not None:
        edges = (box.left - cut.x, box.top - cut.y, box.right - cut.x, box.bottom - cut.y)
    return CropRow(
        f"{class_name}/{prefix}{photo.path.stem}_{n}.png",
        class_name,
        photo.relative,
        digest,
        *(cut.x, cut.y, cut.width, cut.height),
        *(None if edge is None else round(edge, 2) for edge in edges),
    )


def _check_names(rows: Sequence[CropRow]) -> None:
    """No two crops of one name, also where upper and lower case are the same."""
    by_name: dict[str, CropRow] = {}
    for row in rows:
        twin = by_name.setdefault(row.crop.casefold(), row)
        if twin is not row:
            raise SourceError(f"{twin.photo} and {row.photo} would both give {row.crop}; rename one of the photos")


def _check_former(destination: Path, rows: Sequence[CropRow], former: dict[str, CropRow]) -> None:
    for row in rows:
        before = former.get(row.crop, row)
        if before != row:
            is_changed = before.photo == row.photo and before.photo_sha256 != row.photo_sha256
            raise OutputError(
                f"{destination / row.crop}: is there already, cut {before.place} out of {before.photo}, now wanted "
                f"{row.place} out of {row.photo}{' whose file has changed' if is_changed else ''}; choose another DEST"
            )


def _write_crop(photo: Image.Image, destination: Path, row: CropRow) -> bool:
    """Write one crop; False when it is there already, byte for byte."""
    content = to_png(_for_png(photo.crop((row.x, row.y, row.x + row.width, row.y + row.height))))
    path = destination / row.crop
    if path.exists():
        if path.read_bytes() != content:
            raise OutputError(f"{path}: is there already and is another image; choose another DEST")
        return False
    write_bytes_atomically(path, content)
    return True


def _for_png(image: Image.Image) -> Image.Image:
    """The image in a mode that PNG holds without loss, or in 8 bit where there is none."""
    if image.mode in _PNG_MODES:
        return image
    if image.mode in {"P", "PA"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if _holds_16_bit(image):
        return image.convert("I").convert("I;16")
    converted = to_8_bit(image)
    # A profile for CMYK or the like does not fit the new mode.
    converted.info.clear()
    return converted


def _holds_16_bit(image: Image.Image) -> bool:
    if image.mode != "I":
        return image.mode.startswith("I;16")
    low, high = image.getextrema()
    return isinstance(low, int) and isinstance(high, int) and low >= 0 and high < 2**16


def window_around(box: Box, width_px: int, height_px: int, *, margin: float, size_px: int) -> Window:
    """A square around a box, moved into the image; no larger than the image on either side.

    Its side is the larger of `size_px` and the box's longer side with `margin` times that side added at both ends.

    Raises:
        ValueError: a margin that is negative or not finite, or a side below 1.
    """
    if not 0 <= margin < math.inf or size_px < 1:
        raise ValueError(f"expected a margin from 0 on and a size from 1 on, got {margin} and {size_px}")
    left, top, right, bottom = math.floor(box.left), math.floor(box.top), math.ceil(box.right), math.ceil(box.bottom)
    longer = max(right - left, bottom - top)
    side = max(size_px, math.ceil(longer * (1 + 2 * margin)))
    width, height = min(side, width_px), min(side, height_px)
    x = min(max((left + right - width) // 2, 0), width_px - width)
    y = min(max((top + bottom - height) // 2, 0), height_px - height)
    return Window(x, y, width, height)
