"""The masks of a run's sources: found and checked before anything is asked of a server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image

from sdcore.files import sha256_of

from ..errors import MaskError
from ..masks import mask_path, read_mask
from ..photos import image_size
from ..sources import Source

Unmasked: TypeAlias = Literal["refuse", "allow", "skip"]
"""What to do with a source that has no mask: stop before anything is made, make its images without, or none of it."""

_HALF = 128


@dataclass(frozen=True)
class SourceMasks:
    """The masks of some sources."""

    folder: Path
    sha256_by_source: dict[str, str]
    """`Source.relative` -> sha256 of its mask file's bytes."""
    without: tuple[str, ...]
    """Sources that have none, by `Source.relative`."""
    covering_all: tuple[str, ...]
    """Sources whose mask leaves no pixel as it is."""

    def sha256_of(self, source: Source) -> str | None:
        """Of the source's mask; None where it has none."""
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
    """Find and read the mask of every source.

    Args:
        folder: holds `<class>/<source number>.png`.
        sources: those that images are wanted of.
        unmasked: what to do with a source that has no mask.

    Raises:
        MaskError: the folder is not there; a source without a mask, unless that is allowed; a mask that cannot be used,
            or covers nothing.
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
                "draw it anew, or remove it and add --unmasked skip"
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
    """The masks of what is owed, and what is owed then: without the sources that are skipped for want of a mask.

    Raises:
        MaskError: as `find_masks`.
        SourceError: a source cannot be read.
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
    return MaskError(
        f"{path}: changed while the run was going on; put the former file back, or use a new output folder"
    )


def _read(path: Path, source: Source) -> Image.Image:
    return read_mask(path, image_size(source.path))


def _extremes(mask: Image.Image) -> tuple[int, int]:
    # One band gives one pair, which Pillow's types leave open.
    low, high = mask.getextrema()
    return int(low), int(high)  # type: ignore[arg-type]
