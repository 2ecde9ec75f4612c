"""What a file is called that belongs to a numbered source: as the photograph was, or as the source is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import printable
from sdcore.images.folders import is_image_name, list_entries

from ..errors import MaskError
from ..numbering import MAPPING_NAME, original_names
from ..sources import Source


@dataclass(frozen=True)
class Names:
    """Names by which the files of a folder are looked for."""

    by_source: Mapping[str, str]
    """`Source.relative` -> file name of the picture the files were made for."""
    are_original: bool
    """Whether these are the photographs' names before they were numbered."""

    def of(self, source: Source) -> str:
        """The name for a source."""
        return self.by_source.get(source.relative, source.name)


def choose_names(sources_folder: Path, sources: Sequence[Source], is_there: Callable[[Source, str], bool]) -> Names:
    """By the photographs' names if the folder knows any of them, else by the sources' own.

    Decided once for a whole folder: photographs may have numbers for names too, and then "2.txt" would be the box file
    of another picture.

    Args:
        sources_folder: where the sources are, and `mapping.csv` if 'sdclient number' made them.
        sources: all that are wanted.
        is_there: whether the folder has a file for a source under a picture's name.

    Raises:
        SourceError: the mapping cannot be read.
    """
    originals = original_names(sources_folder / MAPPING_NAME)
    known = {source.relative: originals[source.relative] for source in sources if source.relative in originals}
    if any(is_there(source, known[source.relative]) for source in sources if source.relative in known):
        return Names(known, are_original=True)
    return Names({}, are_original=False)


class NamedImages:
    """Image files of a folder, at its top or in class folders, found by the name of the picture they belong to.

    Args:
        folder: where they are.
        endings: what may follow the picture's stem, as "_mask" in "IMG_20_mask.png".

    Raises:
        DataError: the folder is not there.
    """

    def __init__(self, folder: Path, endings: Sequence[str] = ("",)) -> None:
        self.folder = folder
        self._endings = endings
        self._by_stem: dict[Path, dict[str, list[Path]]] = {}
        list_entries(folder)

    def find(self, source: Source, name: str) -> Path | None:
        """The file for a picture of this name, in the source's class folder or at the top; None when there is none.

        Raises:
            MaskError: several.
        """
        stem = Path(name).stem
        for folder in (self.folder / source.class_name, self.folder):
            found = [path for ending in self._endings for path in self._listed(folder).get(stem + ending, ())]
            if len(found) > 1:
                raise MaskError(
                    f"{printable(found[0])}: stands beside {found[1].name}; keep one of them for {source.relative}"
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
