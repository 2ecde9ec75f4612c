"""Copy photographs into numbered source folders: `SRC/<class>/anything.png` -> `DEST/<class>/1.png`.

`DEST/mapping.csv` says which copy is which photograph. It is written before the copies, so that an interrupted
run continues where it stopped and a number, once given, stays.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import is_utf8_name, printable, sha256_of, write_bytes_atomically
from sdcore.images.folders import SkippedFile, is_image_name, list_entries, natural_key
from sdcore.progress import ProgressTracker, no_progress

from ..errors import OutputError, SourceError
from ..manifest.tables import EXPORTED_NAME, MAPPING_NAME, MappingRow, read_exported, read_mapping, write_mapping
from .source import check_destination, read_photo


@dataclass(frozen=True)
class NumberingResult:
    """What `number` did; names are relative to DEST with forward slashes."""

    copied: tuple[str, ...]
    unchanged: tuple[str, ...]
    left_out: tuple[SkippedFile, ...]

    @property
    def usable(self) -> int:
        """How many of the photographs have a numbered copy now."""
        return len(self.copied) + len(self.unchanged)


def number_images(source: Path, destination: Path, *, track: ProgressTracker = no_progress) -> NumberingResult:
    """Copy `source/<class>/*` to `destination/<class>/1.png, 2.jpg, ...` in natural order.

    Bytes and endings are kept and `source` is only read. A repeat changes nothing; photographs that came later get
    numbers after those that were given. Files that cannot be decoded completely are left out, and so are generated
    images that an export put among them.

    Raises:
        SourceError: no class folder, or a mapping that cannot be read.
        ManifestError: a table of exports that cannot be read.
        OutputError: the folders overlap, or the destination holds other files than this made.
        OSError: the destination cannot be written.
    """
    photos, left_out = _photographs(source)
    check_destination(source, destination)
    exported = {row.file for row in read_exported(source)}
    real = [path for path in photos if f"{path.parent.name}/{path.name}" not in exported]
    if len(real) < len(photos):
        count = len(photos) - len(real)
        left_out.append(SkippedFile(EXPORTED_NAME, f"lists {count} generated images here, which do not become sources"))
    rows = read_mapping(destination / MAPPING_NAME)
    known = {(row.class_name, row.old_name): row for row in rows}
    free = _FreeNumbers(destination, rows)
    unchanged: list[str] = []
    missing: list[tuple[Path, MappingRow]] = []
    for path in track(real, "checking"):
        class_name = path.parent.name
        row = known.get((class_name, path.name))
        try:
            if row is None:
                read_photo(path)
            digest = sha256_of(path)
        except (SourceError, OSError) as error:
            left_out.append(SkippedFile(f"{class_name}/{path.name}", str(error).removeprefix(f"{path}: ")))
            continue
        if row is None:
            row = MappingRow(class_name, path.name, f"{free.take(class_name)}{path.suffix}", digest)
            rows.append(row)
            missing.append((path, row))
        elif digest != row.sha256:
            reason = f"changed since it became {row.new_name}; to number it anew, save it under another name"
            left_out.append(SkippedFile(f"{class_name}/{path.name}", reason))
        elif _is_in_place(destination, row):
            unchanged.append(row.copy)
        else:
            missing.append((path, row))
    if missing:
        write_mapping(destination / MAPPING_NAME, rows)
    for path, row in track(missing, "copying") if missing else ():
        _copy(path, destination / row.copy, row.sha256)
    return NumberingResult(
        tuple(row.copy for _, row in missing),
        tuple(unchanged),
        tuple(sorted(left_out, key=lambda item: natural_key(item.file))),
    )


class _FreeNumbers:
    """The next number of each class: one above every number given and every numbered file there."""

    def __init__(self, destination: Path, rows: Iterable[MappingRow]) -> None:
        self._destination = destination
        self._given: dict[str, int] = {}
        for row in rows:
            self._given[row.class_name] = max(self._given.get(row.class_name, 0), int(Path(row.new_name).stem))
        self._looked: set[str] = set()

    def take(self, class_name: str) -> int:
        given = self._given.get(class_name, 0)
        if class_name not in self._looked:
            self._looked.add(class_name)
            present = (path.stem for path in (self._destination / class_name).glob("*"))
            given = max([given, *(int(stem) for stem in present if stem.isascii() and stem.isdecimal())])
        self._given[class_name] = given + 1
        return given + 1


def _photographs(source: Path) -> tuple[list[Path], list[SkippedFile]]:
    """Image files of all classes in natural order, and the files that are left out."""
    folders, found, left_out = [], [], []
    for entry in list_entries(source):
        if not entry.is_dir():
            if is_image_name(entry.name):
                left_out.append(SkippedFile(printable(entry.name), "lies outside any class folder"))
        elif not is_utf8_name(entry.name):
            left_out.append(SkippedFile(printable(entry.name), "the folder's name is not valid Unicode; rename it"))
        else:
            folders.append(entry)
    if not folders:
        raise SourceError(
            f"{printable(source)}: no class folder in it; expected one folder of photographs per class, "
            "for example Normal and dirt"
        )
    for folder in folders:
        entries = list_entries(folder)
        if not entries:
            left_out.append(SkippedFile(folder.name, "an empty class folder"))
        for entry in entries:
            name = f"{folder.name}/{printable(entry.name)}"
            if entry.is_dir():
                reason = "a folder inside a class folder; only the files directly in it are read"
                left_out.append(SkippedFile(name, reason))
            elif not is_image_name(entry.name):
                left_out.append(SkippedFile(name, "does not end like an image (.png .jpg .jpeg .bmp .tif .tiff .webp)"))
            elif not is_utf8_name(entry.name):
                left_out.append(SkippedFile(name, "its name is not valid Unicode; rename it"))
            else:
                found.append(entry)
    return found, left_out


def _is_in_place(destination: Path, row: MappingRow) -> bool:
    copy = destination / row.copy
    if not copy.exists():
        return False
    if sha256_of(copy) != row.sha256:
        raise OutputError(
            f"{copy}: no longer the copy that {MAPPING_NAME} lists; delete this file and run the command again"
        )
    return True


def _copy(path: Path, copy: Path, sha256: str) -> None:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SourceError(f"{path}: changed while it was being copied; run the command again when nothing writes to it")
    write_bytes_atomically(copy, content)
