"""The images of SRC with their groups: by a pattern, a table, or the photograph that crops were cut from.

`crops.csv` of `sdclient crop` names the photograph of every crop. `mapping.csv` of `sdclient number` gives the former
name of every numbered image, so that numbered crops still find their photograph.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from sdclient.manifest.database import MANIFEST_NAME
from sdclient.manifest.tables import CROPS_NAME, MAPPING_NAME, CropRow, MappingRow, read_crops, read_mapping
from sdcore.errors import SDError
from sdcore.images.folders import LabelledImage, list_labelled_images

from ..errors import GeneratedSetError, SplitError
from ..processes import default_workers
from .dataset import PARTS
from .fingerprints import Fingerprint, fingerprint_files
from .leakage import is_single_coloured
from .provenance import read_parents, record_folders, recorded_images


@dataclass(frozen=True)
class GroupBy:
    """How the user groups images. By default the tables in SRC name the groups; without them each image is one."""

    pattern: str | None = None
    """Regular expression, searched in an image's path below its class folder; its first parentheses name the group."""
    table: Path | None = None
    """CSV with the columns `file` (relative to SRC) and `column`."""
    column: str = "group"
    crops: Path | None = None
    """A `crops.csv` of `sdclient crop` outside SRC."""


@dataclass(frozen=True)
class SourceImages:
    """The images to divide; every sequence is in their order."""

    names: tuple[str, ...]
    """Relative to SRC, forward slashes."""
    labels: tuple[str, ...]
    hashes: tuple[str, ...]
    """SHA-256 of the files' bytes."""
    groups: tuple[str, ...]
    grouping: str
    """In one line: how many groups there are and what names them."""
    notes: tuple[str, ...]
    """For the user, one sentence each."""

    def contradictions(self) -> tuple[tuple[str, str], ...]:
        """Pairs of files with the same bytes in different classes: one of the two labels is wrong."""
        first: dict[str, tuple[str, str]] = {}
        found = []
        for name, label, sha256 in zip(self.names, self.labels, self.hashes, strict=True):
            other, other_label = first.setdefault(sha256, (name, label))
            if other_label != label:
                found.append((other, name))
        return tuple(found)


def read_source(
    source: Path,
    group_by: GroupBy,
    *,
    require: Callable[[Sequence[str], Sequence[str], str], object],
    progress: bool = False,
) -> SourceImages:
    """List, group and read the images of SRC, which has one folder per class.

    `require` is called with groups, classes and what names the groups, and raises where a class has too few groups. It
    is called before the images are read, since reading may take long, and again when identical ones are joined.

    Raises:
        SplitError: an image that is unreadable, generated, without a group or not the file that `mapping.csv`
            records, or what `require` raises.
        DataError: SRC has no class folders, or an empty one.
    """
    images = list_labelled_images(source)
    if {"train", "val"} <= {image.label for image in images} <= set(PARTS):
        raise SplitError(
            f"{source}: its folders are train, val and test, so it is divided already; expected one folder per class, "
            f"such as {source / 'train'} has"
        )
    names = [image.path.relative_to(source).as_posix() for image in images]
    labels = [image.label for image in images]
    photos = read_photo_tables(source, group_by.crops)
    grouping = group_images(names, group_by, photos)
    if group_by.crops is not None and not any(photos.crop_of(name) for name in names):
        raise SplitError(
            f"{group_by.crops}: names none of the images of {source}; expected the table of the 'sdclient crop' that "
            "cut them (for numbered ones, with mapping.csv in SRC)"
        )
    require(grouping.groups, labels, grouping.basis)
    _refuse_generated(source, images, progress=progress)
    fingerprints = _read_all(source, images, progress=progress)
    _refuse_renumbered(source, names, fingerprints, photos)
    plain = _plain_across_groups(grouping.groups, fingerprints)
    keys = [None if one.pixel_sha256 in plain else one.pixel_sha256 for one in fingerprints]
    groups = join_equal(grouping.groups, keys, names=names)
    notes = grouping.notes
    joined = len(set(grouping.groups)) - len(set(groups))
    if joined:
        notes += (f"{joined} groups were joined to others, since they hold images with identical pixels",)
        require(groups, labels, f"{grouping.basis}; images with identical pixels are one group")
    if plain:
        number = sum(key is None for key in keys)
        notes += (f"{number} identical images of a single colour lie in several groups and were left there",)
    return SourceImages(
        tuple(names),
        tuple(labels),
        tuple(one.sha256 for one in fingerprints),
        tuple(groups),
        f"{len(set(groups))} ({grouping.basis})",
        notes,
    )


def _refuse_generated(source: Path, images: Sequence[LabelledImage], *, progress: bool) -> None:
    """Refuse images that their own text chunk, or a manifest or an export in SRC, marks as generated."""
    recorded: dict[Path, Path] = {}
    for output in record_folders(source):
        try:
            recorded.update({one.path.resolve(): output for one in recorded_images(output)})
        except GeneratedSetError as error:
            raise SplitError(f"{error}; or take it out of {source}") from error

    found: list[tuple[Path, Path | None]] = []
    for image in tqdm(images, desc="look for generated", unit="image", disable=not progress):
        recorded_by = recorded.get(image.path.resolve()) if recorded else None
        try:
            if read_parents(image.path) is not None or recorded_by is not None:
                found.append((image.path, recorded_by))
        except OSError:
            continue  # refused with the reason when it is read
    if found:
        records = [one for _, one in found if one is not None]
        sets = [one for one in records if (one / MANIFEST_NAME).is_file()]
        evidence = f"as a record in {records[0]} says" if records else "by its text chunk 'sdclient'"
        raise SplitError(
            f"{found[0][0]}: a generated image, {evidence} ({len(found)} such image(s)); results on val and test must "
            f"come from real images alone: take them out of {source}, split the real ones, and train with "
            f"'trainer train DATA --generated {sets[0] if sets else 'OUTPUT'}'"
        )


def _read_all(source: Path, images: Sequence[LabelledImage], *, progress: bool) -> list[Fingerprint]:
    paths = [image.path for image in images]
    fingerprints = fingerprint_files(paths, workers=default_workers(len(paths)), progress=progress)
    unusable = [one for one in fingerprints if one.error is not None]
    if unusable:
        raise SplitError(
            f"{unusable[0].path}: {unusable[0].error} ({len(unusable)} such file(s)); 'trainer check {source}' lists "
            "them all: repair or remove them first"
        )
    return fingerprints


def _plain_across_groups(groups: Sequence[str], fingerprints: Sequence[Fingerprint]) -> set[str]:
    """Pixels of single-coloured images in several groups; they say nothing about their origin.

    Without this exception one blank tile of each photograph would join all photographs into one group.
    """
    groups_of: dict[str, set[str]] = defaultdict(set)
    path_of = {}
    for group, one in zip(groups, fingerprints, strict=True):
        groups_of[one.pixel_sha256].add(group)
        path_of[one.pixel_sha256] = one.path
    return {pixels for pixels, found in groups_of.items() if len(found) > 1 and is_single_coloured(path_of[pixels])}


def _refuse_renumbered(
    source: Path, names: Sequence[str], fingerprints: Sequence[Fingerprint], photos: PhotoTables
) -> None:
    for name, one in zip(names, fingerprints, strict=True):
        former = photos.numbered.get(name)
        if former is not None and former.sha256 != one.sha256:
            raise SplitError(
                f"{source / name}: other bytes than the {photos.former_name(name)} that {photos.mapping_path} records; "
                "put that back, or take its line out of the table: then it is an image of its own"
            )


@dataclass(frozen=True)
class Grouping:
    """The group of every image, and how it was found."""

    groups: tuple[str, ...]
    """In the order of the images."""
    basis: str
    """What names the groups, in words."""
    notes: tuple[str, ...] = ()
    """For the user, one sentence each."""


def group_images(names: Sequence[str], group_by: GroupBy, photos: PhotoTables) -> Grouping:
    """Name the group of each image, `<class>/<path>`. A pattern or a table wins over the photographs.

    A pattern is searched in the name that an image had before numbering, where that is known.

    Raises:
        SplitError: both a pattern and a table, one that cannot be used, or an image without a group.
    """
    pattern, table = group_by.pattern, group_by.table
    if pattern is not None and table is not None:
        raise SplitError("both a group pattern and a groups file are given; expected one of them")
    notes: tuple[str, ...] = ()
    if photos.crops_path is not None and (table or pattern is not None):
        notes = (f"{photos.crops_path} is not used: the groups are named by {'a table' if table else 'a pattern'}",)
    if table is not None:
        groups = _by_table(names, table, group_by.column)
        return Grouping(groups, f"column {group_by.column!r} of {table}", notes)
    if pattern is not None:
        groups = _by_pattern(names, pattern, photos)
        renamed = sum(photos.former_name(name) != name for name in names)
        if renamed:
            notes += (f"the pattern was searched in the names that {renamed} image(s) had before numbering",)
        return Grouping(groups, f"pattern {pattern!r}", notes)
    if photos.crops_path is not None:
        return _by_photo(names, photos)
    return Grouping(tuple(names), "each image by itself", photos.notes)


def join_equal(groups: Sequence[str], keys: Sequence[str | None], *, names: Sequence[str]) -> list[str]:
    """Merge the groups of images with the same key; a merged group gets the name that sorts first.

    Each sequence has an entry for each image. The key None joins nothing. Images are visited in the order of their
    names, so that the result does not depend on the input's order.
    """
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while leader.setdefault(group, group) != group:
            leader[group] = leader[leader[group]]
            group = leader[group]
        return group

    first_with: dict[str, str] = {}
    for _, key, group in sorted(zip(names, keys, groups, strict=True), key=lambda row: row[0]):
        if key is not None:
            other, own = find(first_with.setdefault(key, group)), find(group)
            leader[max(other, own)] = min(other, own)
    return [find(group) for group in groups]


def _by_photo(names: Sequence[str], photos: PhotoTables) -> Grouping:
    rows = [photos.crop_of(name) for name in names]
    crops = sum(row is not None for row in rows)
    groups = [name if row is None else row.photo for name, row in zip(names, rows, strict=True)]
    # One photograph may have two names.
    groups = join_equal(groups, [row.photo_sha256 if row else None for row in rows], names=names)
    number = len({group for group, row in zip(groups, rows, strict=True) if row})
    notes = photos.notes
    if crops < len(names):
        notes += (f"{len(names) - crops} of {len(names)} images are not in {photos.crops_path}: each stands by itself",)
    return Grouping(tuple(groups), f"photograph, by {photos.crops_path}: {crops} crops of {number}", notes)


def _by_pattern(names: Sequence[str], pattern: str, photos: PhotoTables) -> tuple[str, ...]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SplitError(f"group pattern {pattern!r}: not a regular expression: {error}") from error
    if expression.groups < 1:
        raise SplitError(f"group pattern {pattern!r}: has no group; put the part that names it in parentheses")
    found = []
    for name in names:
        former = photos.former_name(name)
        match = expression.search(former.partition("/")[2])
        if match is None or not match.group(1):
            renamed = "" if former == name else f" (numbered from {former})"
            raise SplitError(
                f"{name}{renamed}: the group pattern {pattern!r} does not match its name; widen the pattern"
            )
        found.append(match.group(1))
    return tuple(found)


def _by_table(names: Sequence[str], table: Path, column: str) -> tuple[str, ...]:
    try:
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline="")))
    except FileNotFoundError as error:
        raise SplitError(f"{table}: no such file; expected a CSV with the columns file and {column}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"{table}: not readable as CSV in UTF-8: {error}") from error
    if not rows or not {"file", column} <= rows[0].keys():
        raise SplitError(f"{table}: expected the columns file and {column}, and one line an image")
    groups: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        file, group = (row["file"] or "").replace("\\", "/"), row[column] or ""
        if not file or not group:
            raise SplitError(f"{table}, line {line}: 'file' or {column!r} is empty; expected both")
        if groups.setdefault(file, group) != group:
            raise SplitError(f"{table}, line {line}: {file!r} is in group {groups[file]!r} already; expected one group")
    missing = next((name for name in names if name not in groups), None)
    if missing is not None:
        raise SplitError(f"{table}: no line for {missing!r}; expected every image of SRC in its column 'file'")
    return tuple(groups[name] for name in names)


@dataclass(frozen=True)
class PhotoTables:
    """What `sdclient crop` and `sdclient number` wrote about the images of a folder; empty where there is no table."""

    crops_path: Path | None = None
    mapping_path: Path | None = None
    crops: Mapping[str, CropRow] = field(default_factory=dict)
    """By crop; each row names its photograph."""
    numbered: Mapping[str, MappingRow] = field(default_factory=dict)
    """By `<class>/<number>.<suffix>`."""

    def former_name(self, name: str) -> str:
        """What an image was called before numbering, `<class>/<name>`; its name where that is not known."""
        row = self.numbered.get(name)
        return name if row is None else f"{row.class_name}/{row.old_name}"

    def crop_of(self, name: str) -> CropRow | None:
        """The row of an image that was cut from a photograph."""
        return self.crops.get(self.former_name(name))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know where the tables are incomplete."""
        if self.mapping_path is None or self.crops_path is not None:
            return ()
        note = (
            f"{self.mapping_path} names no photographs; if 'sdclient crop' cut these images, name its {CROPS_NAME} by"
        )
        return (f"{note} --crops, so that crops of one photograph stay together",)


def read_photo_tables(source: Path, crops: Path | None = None) -> PhotoTables:
    """Read the tables in SRC; a `crops.csv` elsewhere is used instead of one in SRC.

    Raises:
        SplitError: a table that cannot be read, or `crops` does not exist.
    """
    if crops is not None and not crops.is_file():
        raise SplitError(f"{crops}: no such file; expected a table that 'sdclient crop' wrote")
    mapping_path = source / MAPPING_NAME if (source / MAPPING_NAME).is_file() else None
    crops_path = crops or (source / CROPS_NAME if (source / CROPS_NAME).is_file() else None)
    advice = "restore it, or take it out of SRC and name the groups by --group-by or --groups"
    try:
        numbered = {row.copy: row for row in read_mapping(mapping_path, advice=advice)} if mapping_path else {}
        rows = read_crops(crops_path, advice=advice) if crops_path else {}
    except SDError as error:
        raise SplitError(str(error)) from error
    return PhotoTables(crops_path, mapping_path, rows, numbered)
