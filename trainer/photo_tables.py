"""What `sdclient crop` and `sdclient number` wrote down: which images are crops of one photograph.

`crops.csv` names the photograph of every crop. `mapping.csv` names what every numbered image was called before,
so that numbered crops still find their photograph.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import SplitError

CROPS_NAME = "crops.csv"
MAPPING_NAME = "mapping.csv"
_CROPS_COLUMNS = ("crop", "photo", "photo_sha256")
_MAPPING_COLUMNS = ("class", "old_name", "new_name", "sha256")


@dataclass(frozen=True)
class Photo:
    """A photograph that crops were cut from."""

    name: str
    """Relative to the photographs' folder, forward slashes."""
    sha256: str


@dataclass(frozen=True)
class Numbered:
    """What a numbered image was before."""

    name: str
    """`<class>/<name>`."""
    sha256: str


@dataclass(frozen=True)
class PhotoTables:
    """What is known of the images of a folder; nothing, where there is no table."""

    crops_path: Path | None = None
    mapping_path: Path | None = None
    photos: Mapping[str, Photo] = field(default_factory=dict)
    """By crop."""
    numbered: Mapping[str, Numbered] = field(default_factory=dict)
    """By `<class>/<number>.<suffix>`."""

    def former_name(self, name: str) -> str:
        """What an image was called before numbering; its name where that is not known."""
        return self.numbered[name].name if name in self.numbered else name

    def photo_of(self, name: str) -> Photo | None:
        """The photograph an image was cut from."""
        return self.photos.get(self.former_name(name))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know where the tables do not tell all."""
        if self.mapping_path is None or self.crops_path is not None:
            return ()
        note = (
            f"{self.mapping_path} tells no photographs; if 'sdclient crop' cut these images, name its {CROPS_NAME} "
            "by --crops, so that crops of one photograph stay together"
        )
        return (note,)


def read_photo_tables(source: Path, crops: Path | None = None) -> PhotoTables:
    """Read the tables that lie in a folder of class folders.

    Args:
        source: SRC.
        crops: a `crops.csv` that lies elsewhere; used instead of one in SRC.

    Raises:
        SplitError: a table that cannot be read, or `crops` is not there.
    """
    mapping_path = source / MAPPING_NAME if (source / MAPPING_NAME).is_file() else None
    crops_path = crops or (source / CROPS_NAME if (source / CROPS_NAME).is_file() else None)
    numbered: dict[str, Numbered] = {}
    photos: dict[str, Photo] = {}
    if mapping_path is not None:
        for _, row in _read(mapping_path, _MAPPING_COLUMNS, "sdclient number"):
            former = Numbered(f"{row['class']}/{row['old_name']}", row["sha256"])
            numbered[f"{row['class']}/{row['new_name']}"] = former
    if crops_path is not None:
        for line, row in _read(crops_path, _CROPS_COLUMNS, "sdclient crop"):
            photo = Photo(row["photo"], row["photo_sha256"])
            if photos.setdefault(row["crop"], photo) != photo:
                raise SplitError(
                    f"{crops_path}, line {line}: {row['crop']!r} is from {photos[row['crop']].name!r} already; "
                    "expected one photograph a crop"
                )
    return PhotoTables(crops_path, mapping_path, photos, numbered)


def _read(path: Path, columns: tuple[str, ...], author: str) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every line; the columns asked for are filled."""
    advice = "restore it, or take it out of SRC and name the groups by --group-by or --groups"
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        rows = list(lines)
    except FileNotFoundError as error:
        raise SplitError(f"{path}: no such file; expected a table that '{author}' wrote") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"{path}: not a table that '{author}' wrote ({error}); {advice}") from error
    if not set(columns) <= set(lines.fieldnames or ()):
        raise SplitError(f"{path}, line 1: expected the columns {', '.join(columns)} of '{author}'; {advice}")
    for line, row in enumerate(rows, start=2):
        if not all(row[name] for name in columns):
            raise SplitError(f"{path}, line {line}: expected {', '.join(columns)}, all of them filled; {advice}")
    return list(enumerate(rows, start=2))
