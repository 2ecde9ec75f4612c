"""Writes `MASKS/<class>/<source number>.png` for every source that an origin knows a mask of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from sdcore.files import write_bytes_atomically
from sdcore.images.folders import SkippedFile
from sdcore.progress import ProgressTracker, no_progress

from ..errors import MaskError
from ..masks import encode_mask, grow_and_feather, mask_path
from ..photos import check_destination, image_size
from ..sources import Source

GROW_PX = 2
FEATHER_PX = 3


class NoMask(MaskError):
    """There is no mask for this one source; the others go on."""


class MaskOrigin(Protocol):
    """Where masks come from."""

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        """The defect of a source: mode "L", 255 where it is, of the upright source's size.

        Raises:
            NoMask: for this source there is none; says why.
            SDClientError: a file cannot be used.
        """
        ...

    def notes(self) -> Iterable[str]:
        """What else is to be said once all sources have been asked for."""
        ...


@dataclass(frozen=True)
class MaskingResult:
    """What was done; masks are named relative to MASKS with forward slashes."""

    made: tuple[str, ...]
    unchanged: tuple[str, ...]
    kept: tuple[str, ...]
    """Other masks that were there and were left as they are."""
    left_out: tuple[SkippedFile, ...]
    """Sources without a mask, and why."""
    covering_all: tuple[str, ...]
    """Masks that are nowhere black, so that nothing of the source would be kept."""
    notes: tuple[str, ...] = ()

    @property
    def usable(self) -> int:
        """How many sources have a mask now."""
        return len(self.made) + len(self.unchanged) + len(self.kept)


@dataclass
class _Doing:
    made: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    left_out: list[SkippedFile] = field(default_factory=list)
    covering_all: list[str] = field(default_factory=list)


def make_masks(
    sources_folder: Path,
    sources: list[Source],
    masks_folder: Path,
    origin: MaskOrigin,
    *,
    grow_px: int = GROW_PX,
    feather_px: int = FEATHER_PX,
    overwrite: bool = False,
    track: ProgressTracker = no_progress,
) -> MaskingResult:
    """Make the masks of all sources; a repeat changes nothing.

    Args:
        sources_folder: where the sources are.
        sources: those to make masks of.
        masks_folder: gets `<class>/<source number>.png`.
        origin: where the masks come from.
        grow_px: how far each grows beyond the defect, px.
        feather_px: width of the ramp around that, px.
        overwrite: replace other masks that are there; drawn by hand, perhaps.
        track: shows progress over the sources.

    Raises:
        OutputError: MASKS overlaps the sources, or is a file.
        SDClientError: a file of the origin, or a source, cannot be used.
        OSError: MASKS cannot be written.
    """
    check_destination(sources_folder, masks_folder)
    doing = _Doing()
    for source in track(sources, "masks"):
        try:
            defect = origin.mask_of(source, image_size(source.path))
            if defect.getbbox() is None:
                raise NoMask("its mask would cover nothing")
        except NoMask as error:
            doing.left_out.append(SkippedFile(source.relative, str(error)))
            continue
        mask = grow_and_feather(defect, grow_px=grow_px, feather_px=feather_px)
        _put(mask_path(masks_folder, source), mask, doing, overwrite=overwrite)
    return MaskingResult(
        tuple(doing.made),
        tuple(doing.unchanged),
        tuple(doing.kept),
        tuple(doing.left_out),
        tuple(doing.covering_all),
        tuple(origin.notes()),
    )


def _put(path: Path, mask: Image.Image, doing: _Doing, *, overwrite: bool) -> None:
    name = f"{path.parent.name}/{path.name}"
    data = encode_mask(mask)
    former = path.read_bytes() if path.is_file() else None
    if former == data:
        doing.unchanged.append(name)
    elif former is not None and not overwrite:
        doing.kept.append(name)
        return
    else:
        write_bytes_atomically(path, data)
        doing.made.append(name)
    if min(mask.tobytes()) > 0:
        doing.covering_all.append(name)
