"""Makes one mask for each numbered source, from any origin."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from sdcore.files import printable, write_bytes_atomically
from sdcore.images.folders import SkippedFile, is_image_name, list_entries
from sdcore.progress import ProgressTracker, no_progress

from ..errors import MaskError
from ..manifest.tables import MAPPING_NAME, original_names
from ..sources.source import Source, check_destination, image_size
from .mask import encode_mask, grow_and_feather, mask_path

GROW_PX = 2
FEATHER_PX = 3


class NoMaskForSource(MaskError):
    """There is no mask for this source; the others continue."""


class MaskOrigin(Protocol):
    """Where masks come from."""

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        """The defect of a source: mode "L", 255 where it is, of the upright source's size.

        Raises:
            NoMaskForSource: there is none for this source, and why.
            SDClientError: a file cannot be used.
        """

    def notes(self) -> Iterable[str]:
        """Remarks for the user, complete when all sources were asked for."""


@dataclass(frozen=True)
class MaskingResult:
    """What was done; names of masks are relative to MASKS, with forward slashes."""

    made: tuple[str, ...]
    unchanged: tuple[str, ...]
    kept: tuple[str, ...]
    """Existing masks that differ and were left as they are."""
    left_out: tuple[SkippedFile, ...]
    """Sources without a mask, and why."""
    covering_all: tuple[str, ...]
    """Masks that are nowhere black, so that nothing of the source is kept."""
    notes: tuple[str, ...] = ()

    @property
    def usable(self) -> int:
        """How many sources have a mask now."""
        return len(self.made) + len(self.unchanged) + len(self.kept)


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
    """Make `MASKS/<class>/<source number>.png` of all sources; a second call changes nothing.

    Args:
        grow_px, feather_px: see `grow_and_feather`.
        overwrite: replace existing masks that differ, perhaps drawn by hand.

    Raises:
        OutputError: MASKS overlaps the sources, or is a file.
        SDClientError: a file of the origin, or a source, cannot be used.
        OSError: MASKS cannot be written.
    """
    check_destination(sources_folder, masks_folder)
    made: list[str] = []
    unchanged: list[str] = []
    kept: list[str] = []
    left_out: list[SkippedFile] = []
    covering_all: list[str] = []
    for source in track(sources, "masks"):
        try:
            defect = origin.mask_of(source, image_size(source.path))
            if defect.getbbox() is None:
                raise NoMaskForSource("its mask would cover nothing")
        except NoMaskForSource as error:
            left_out.append(SkippedFile(source.relative, str(error)))
            continue
        mask = grow_and_feather(defect, grow_px=grow_px, feather_px=feather_px)
        data = encode_mask(mask)
        path = mask_path(masks_folder, source)
        name = f"{path.parent.name}/{path.name}"
        former = path.read_bytes() if path.is_file() else None
        if former == data:
            unchanged.append(name)
        elif former is not None and not overwrite:
            kept.append(name)
            continue
        else:
            write_bytes_atomically(path, data)
            made.append(name)
        if min(mask.tobytes()) > 0:
            covering_all.append(name)
    return MaskingResult(
        tuple(made), tuple(unchanged), tuple(kept), tuple(left_out), tuple(covering_all), tuple(origin.notes())
    )


@dataclass(frozen=True)
class SourceNames:
    """Names by which the files of a folder are found."""

    by_source: Mapping[str, str]
    """`Source.relative` -> name of the image that a file was made for."""
    are_original: bool
    """Whether these are the names of the photographs before they were numbered."""

    @property
    def description(self) -> str:
        """The kind of names, for notes."""
        return "the photographs' names" if self.are_original else "the sources' numbers"

    def of(self, source: Source) -> str:
        """The name for a source."""
        return self.by_source.get(source.relative, source.name)


def choose_names(
    sources_folder: Path, sources: Sequence[Source], is_there: Callable[[Source, str], bool]
) -> SourceNames:
    """The photographs' names if the folder has a file of one of them, else the sources' own names.

    This is decided once for a whole folder: photographs may also have numbers as names, and then "2.txt" would be the
    box file of another image.

    Args:
        is_there: whether the folder has a file for a source under this name.

    Raises:
        SourceError: the mapping cannot be read.
    """
    originals = original_names(sources_folder / MAPPING_NAME)
    known = {source.relative: originals[source.relative] for source in sources if source.relative in originals}
    if any(is_there(source, known[source.relative]) for source in sources if source.relative in known):
        return SourceNames(known, are_original=True)
    return SourceNames({}, are_original=False)


class NamedImages:
    """Image files of a folder, at its top or in class folders, found by the name of the image they belong to.

    Args:
        endings: what may follow the image's stem, for example "_mask" in "IMG_20_mask.png".

    Raises:
        DataError: no such folder.
    """

    def __init__(self, folder: Path, endings: Sequence[str] = ("",)) -> None:
        self.folder = folder
        self._endings = endings
        self._by_stem: dict[Path, dict[str, list[Path]]] = {}
        list_entries(folder)

    def find(self, source: Source, name: str) -> Path | None:
        """The file for an image of this name, in the source's class folder or at the top; None if there is none.

        Raises:
            MaskError: there are several.
        """
        stem = Path(name).stem
        for folder in (self.folder / source.class_name, self.folder):
            found = [path for ending in self._endings for path in self._listed(folder).get(stem + ending, ())]
            if len(found) > 1:
                raise MaskError(
                    f"{printable(found[0])}: {found[1].name} is beside it; keep one of them for {source.relative}"
                )
            if found:
                return found[0]
        return None

    def _listed(self, folder: Path) -> Mapping[str, list[Path]]:
        if folder not in self._by_stem:
            listed = self._by_stem[folder] = {}
            for path in list_entries(folder) if folder.is_dir() else ():
                if is_image_name(path.name) and path.is_file():
                    listed.setdefault(path.stem, []).append(path)
        return self._by_stem[folder]
