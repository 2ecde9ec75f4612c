"""The images of SRC, read once, with their classes, their bytes' hashes and their groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from sdclient.manifest import MANIFEST_NAME
from sdcore.images.folders import LabelledImage, list_labelled_images

from .dataset import PARTS
from .errors import GeneratedSetError, SplitError
from .fingerprints import Fingerprint, fingerprint_files
from .grouping import join_equal, name_groups
from .leakage import is_single_coloured
from .lineage import generated_parents_of, record_folders, recorded_images
from .photo_tables import PhotoTables, read_photo_tables
from .workers import sensible_workers


@dataclass(frozen=True)
class GroupBy:
    """How images are grouped where that is said; else by what SRC itself tells, or each by itself."""

    pattern: str | None = None
    """Regular expression searched in an image's path below its class folder; its first parentheses name the group."""
    table: Path | None = None
    """CSV with the columns `file` (relative to SRC) and `column`."""
    column: str = "group"
    crops: Path | None = None
    """A `crops.csv` of `sdclient crop` that does not lie in SRC."""


@dataclass(frozen=True)
class SourceImages:
    """What there is to divide; every sequence in the order of the images."""

    names: tuple[str, ...]
    """Relative to SRC, forward slashes."""
    labels: tuple[str, ...]
    hashes: tuple[str, ...]
    """SHA-256 of the files' bytes."""
    groups: tuple[str, ...]
    grouping: str
    """In one line: how many groups, and by what."""
    notes: tuple[str, ...]
    """What else a user should know, one sentence each."""

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
    """List, group and read the images of SRC.

    Args:
        source: one folder per class.
        group_by: what names the groups.
        require: called with groups, classes and what names the groups, before the images are read, which may take
            long, and again when identical ones are joined; raises where a class has too few groups.
        progress: show bars on stderr.

    Raises:
        SplitError: an unreadable image, a generated one, one without a group, one that is not the file
            `mapping.csv` speaks of, or what `require` raises.
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
    grouping = name_groups(names, pattern=group_by.pattern, table=group_by.table, column=group_by.column, photos=photos)
    if group_by.crops is not None and not any(photos.photo_of(name) for name in names):
        raise SplitError(
            f"{group_by.crops}: names none of the images of {source}; expected the table of the 'sdclient crop' that "
            "cut them (for numbered ones, with mapping.csv in SRC)"
        )
    require(grouping.groups, labels, grouping.basis)
    _refuse_generated(source, images, progress=progress)
    prints = _read_all(source, images, progress=progress)
    _refuse_renumbered(source, names, prints, photos)
    plain = _plain_across_groups(grouping.groups, prints)
    keys = [None if one.pixel_sha256 in plain else one.pixel_sha256 for one in prints]
    groups = join_equal(grouping.groups, keys, names=names)
    notes = grouping.notes
    joined = len(set(grouping.groups)) - len(set(groups))
    if joined:
        notes += (f"{joined} groups were joined to others, since they hold images with identical pixels",)
        require(groups, labels, f"{grouping.basis}; images with identical pixels are one group")
    if plain:
        number = sum(key is None for key in keys)
        notes += (f"{number} identical pictures of a single colour lie in several groups and were let stay there",)
    return SourceImages(
        tuple(names),
        tuple(labels),
        tuple(one.sha256 for one in prints),
        tuple(groups),
        f"{len(set(groups))} ({grouping.basis})",
        notes,
    )


def _refuse_generated(source: Path, images: Sequence[LabelledImage], *, progress: bool) -> None:
    """Refuse images that say themselves, or of which a manifest or an export in SRC says, that they were generated."""
    recorded: dict[Path, Path] = {}
    for output in record_folders(source):
        try:
            recorded.update({one.path.resolve(): output for one in recorded_images(output)})
        except GeneratedSetError as error:
            raise SplitError(f"{error}; or take it out of {source}") from error

    def output_of(path: Path) -> Path | None:
        return recorded.get(path.resolve()) if recorded else None

    found = []
    for image in tqdm(images, desc="look for generated", unit="image", disable=not progress):
        try:
            marked = generated_parents_of(image.path) is not None
        except OSError:
            continue  # reading it says why
        if marked or output_of(image.path) is not None:
            found.append(image.path)
    if found:
        records = [one for one in map(output_of, found) if one is not None]
        sets = [one for one in records if (one / MANIFEST_NAME).is_file()]
        told = f"as a record in {records[0]} says" if records else "by its text chunk 'sdclient'"
        raise SplitError(
            f"{found[0]}: a generated image, {told} ({len(found)} such image(s)); results on val and test must come "
            f"from real images alone: take them out of {source}, split the real ones, and train with "
            f"'trainer train DATA --generated {sets[0] if sets else 'OUTPUT'}'"
        )


def _read_all(source: Path, images: Sequence[LabelledImage], *, progress: bool) -> list[Fingerprint]:
    paths = [image.path for image in images]
    prints = fingerprint_files(paths, workers=sensible_workers(len(paths)), progress=progress)
    unusable = [one for one in prints if one.error is not None]
    if unusable:
        raise SplitError(
            f"{unusable[0].path}: {unusable[0].error} ({len(unusable)} such file(s)); 'trainer check {source}' lists "
            "them all: repair or remove them first"
        )
    return prints


def _plain_across_groups(groups: Sequence[str], prints: Sequence[Fingerprint]) -> set[str]:
    """Pixels of single-coloured pictures in several groups; they tell nothing of where they come from.

    One blank tile of each photograph would else make one group of all photographs.
    """
    groups_of: dict[str, set[str]] = defaultdict(set)
    path_of = {}
    for group, one in zip(groups, prints, strict=True):
        groups_of[one.pixel_sha256].add(group)
        path_of[one.pixel_sha256] = one.path
    return {pixels for pixels, found in groups_of.items() if len(found) > 1 and is_single_coloured(path_of[pixels])}


def _refuse_renumbered(source: Path, names: Sequence[str], prints: Sequence[Fingerprint], photos: PhotoTables) -> None:
    for name, one in zip(names, prints, strict=True):
        former = photos.numbered.get(name)
        if former is not None and former.sha256 != one.sha256:
            raise SplitError(
                f"{source / name}: other bytes than the {former.name} that {photos.mapping_path} speaks of; put that "
                f"back, or take its line out of the table: then it is a picture of its own"
            )
