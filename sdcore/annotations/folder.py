"""Which box file belongs to which photograph."""

from pathlib import Path

from ..errors import AnnotationError
from ..images.folders import list_entries
from . import Box
from .voc import read_voc
from .yolo import CLASSES_NAME, read_class_names, read_yolo

_SUFFIXES = (".txt", ".xml")


class AnnotationFolder:
    """The box files of a folder: `<photo stem>.txt` or `.xml`, at its top or in class folders as the photos have.

    Raises:
        AnnotationError: the folder is not there.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise AnnotationError(f"{folder}: not there; expected the folder with the box files")
        self._folder = folder
        self._class_names: list[str] | None = None
        self._used: dict[Path, Path] = {}

    def boxes_of(self, photo: Path, class_name: str | None, width_px: int, height_px: int) -> list[Box]:
        """Boxes of a photo, whose upright size is given; none when its box file says that there is no defect.

        Raises:
            AnnotationError: no box file, several, one that another photo uses, or one that cannot be used.
        """
        path = self.find(photo, class_name)
        if path is None:
            folder = self._folder if class_name is None else self._folder / class_name
            raise AnnotationError(
                f"{folder / photo.stem}.txt: not there, nor an .xml; expected a box file for {photo}; "
                "an empty .txt says that a photo shows no defect"
            )
        other = self._used.setdefault(path, photo)
        if other != photo:
            raise AnnotationError(
                f"{path}: would belong to {other} and {photo}; rename one of them, "
                "or put the box files into class folders as the photos"
            )
        if path.suffix == ".xml":
            return read_voc(path, width_px, height_px)
        if self._class_names is None:
            self._class_names = read_class_names(self._folder)
        return read_yolo(path, self._class_names, width_px, height_px)

    def unused(self) -> tuple[str, ...]:
        """Box files of no photo so far, relative to the folder."""
        entries = list_entries(self._folder)
        files = [path for entry in entries for path in (list_entries(entry) if entry.is_dir() else [entry])]
        return tuple(
            path.relative_to(self._folder).as_posix()
            for path in files
            if path.suffix in _SUFFIXES and path.name != CLASSES_NAME and path not in self._used
        )

    def find(self, photo: Path, class_name: str | None) -> Path | None:
        """The box file of a photo, or None.

        Raises:
            AnnotationError: several.
        """
        folders = [self._folder] if class_name is None else [self._folder / class_name, self._folder]
        for folder in folders:
            found = [path for suffix in _SUFFIXES if (path := folder / f"{photo.stem}{suffix}").is_file()]
            if len(found) > 1:
                raise AnnotationError(f"{found[0]}: stands beside {found[1].name}; keep one box file for {photo.name}")
            if found:
                return found[0]
        return None
