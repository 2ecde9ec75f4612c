"""The export carried out; destinations that are refused."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.files import TEMPORARY_PATTERN, lock_folder, sha256_of, write_bytes_atomically
from sdcore.progress import ProgressTracker, no_progress

from ..errors import ExportError
from ..manifest.database import MANIFEST_NAME
from ..manifest.tables import ExportedImage, write_exported
from ..sources.source import check_destination
from .layouts import ClassFolders, Labels, Layout, VocFolders, YoloFolders, images_below
from .planning import ClassBalance, ExportPlan, balance_of, plan_work
from .selection import BoxFinder, Selection, select


@dataclass(frozen=True)
class ExportResult:
    """What an export did, or would do; files are relative to the destination with forward slashes."""

    output: Path
    destination: Path
    curated: bool
    """Whether accepted images only were taken."""
    recorded: int
    """Images of the output that are done; those taken, rejected and undecided are among them."""
    taken: int
    rejected: int
    undecided: int
    copied: tuple[str, ...]
    unchanged: tuple[str, ...]
    relabelled: tuple[str, ...]
    """Of which the boxes were written anew."""
    removed: tuple[str, ...]
    """That an earlier export put there and that are not wanted any more."""
    kept: tuple[str, ...]
    """Likewise, left there as asked."""
    edited: tuple[str, ...]
    """That somebody changed since; left alone."""
    left_out: tuple[str, ...]
    """Images without a known place of the defect, with the reason."""
    balance: tuple[ClassBalance, ...]
    dry_run: bool


def export(
    output: Path,
    destination: Path,
    *,
    labels: Labels | None = None,
    uncurated: bool = False,
    keep: bool = False,
    dry_run: bool = False,
    track: ProgressTracker = no_progress,
) -> ExportResult:
    """Copy the accepted images of an output into a training folder; take out what it put there and is not accepted now.

    Bytes are kept, and with them the text chunk that tells of an image's parents. Names hold the image's hash, so that
    neither a real image nor one of another output has the same. A repeat changes nothing; an image that was exported
    and is not accepted any more is removed, unless somebody changed it. All is checked before the first one is written.

    Args:
        destination: with no `labels` a folder of class folders, as `DATASET/train`; else a detector's data set.
        labels: write boxes too, and in which form.
        uncurated: take every image, whatever was judged.

    Raises:
        ExportError: nothing was judged; a file is missing or is not the one recorded; the destination must not take
            these images; or where a defect lies is not known.
        ManifestError: no manifest, or a table of exports that cannot be read.
        OutputError: the destination is a file or overlaps the output.
        FolderInUse: another export is at work there.
        AnnotationError: box files or class names that cannot be used.
        MissingExtra: boxes are wanted and what finds them is not installed.
        OSError: the destination cannot be written.
    """
    selection = select(output, uncurated=uncurated)
    refuse_unfit(destination, output, selection.run)
    layout = _layout(destination, labels, {image.class_name for image in selection.chosen})
    parents = {sha256: image.file for image in selection.chosen for sha256 in image.parents_sha256}
    refuse_held_out_parents(held_out_folders(destination), parents, {image.sha256 for image in selection.chosen}, track)
    with ExitStack() as held:
        if not dry_run:
            destination.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock_folder(destination))
        places = BoxFinder(output, selection.run, labels) if labels is not None else None
        work = plan_work(selection, layout, places, labels, keep=keep, track=track)
        real = layout.count_others({*work.rows, *(row.file for row in work.former)})
        before = Counter(row.class_name for row in work.former if (destination / row.file).is_file())
        if not dry_run:
            _carry_out(work, selection, layout, track)
    return ExportResult(
        output=output,
        destination=destination,
        curated=selection.curated,
        recorded=selection.recorded,
        taken=len(selection.chosen) - len(work.left_out),
        rejected=selection.rejected,
        undecided=selection.undecided,
        copied=tuple(row.file for _, row in work.copies),
        unchanged=tuple(work.unchanged),
        relabelled=tuple(work.relabelled),
        removed=tuple(row.file for row in work.removals),
        kept=tuple(work.kept),
        edited=tuple(work.edited),
        left_out=tuple(work.left_out),
        balance=balance_of(real, before, Counter(row.class_name for row in work.rows.values())),
        dry_run=dry_run,
    )


def _layout(destination: Path, labels: Labels | None, classes: set[str]) -> Layout:
    layout: ClassFolders | YoloFolders | VocFolders
    if labels is None:
        layout = ClassFolders(destination)
    else:
        refuse_class_folders(destination)
        layout = YoloFolders(destination, labels) if labels.kind == "yolo" else VocFolders(destination, labels)
    layout.prepare(classes)
    return layout


def _carry_out(work: ExportPlan, selection: Selection, layout: Layout, track: ProgressTracker) -> None:
    """Table first, then files, then what goes, then the table as it is to stay."""
    root = layout.root
    _clear_temporaries(root, work.rows.values())
    after = tuple(sorted(work.rows.values(), key=lambda row: row.file))
    # A row that is there stays as it is until its files are written: boxes that are replaced are still known as ours.
    through = {**work.rows, **{row.file: row for row in work.former}}
    if through.keys() != {row.file for row in work.former}:
        write_exported(root, through.values())
    for path, content in layout.fixed_files().items():
        if not path.is_file() or path.read_bytes() != content:
            write_bytes_atomically(path, content)
    contents = dict(work.labels)
    for image, row in track(work.copies, "copy") if work.copies else ():
        if row.label_file in contents:
            # Boxes first: an image without them would be trained on as one without defects.
            write_bytes_atomically(root / row.label_file, contents.pop(row.label_file))
        content = (selection.output / image.file).read_bytes()
        if hashlib.sha256(content).hexdigest() != image.sha256:
            raise ExportError(f"{selection.output / image.file}: changed while it was exported; run the command again")
        write_bytes_atomically(root / row.file, content)
    for label_file, content in contents.items():
        write_bytes_atomically(root / label_file, content)
    for row in work.removals:
        # The image first, for the same reason.
        for file in (row.file, row.label_file):
            if file:
                (root / file).unlink(missing_ok=True)
        _remove_if_empty((root / row.file).parent)
    if after != work.former:
        write_exported(root, after)


def _clear_temporaries(root: Path, rows: Iterable[ExportedImage]) -> None:
    """Remove what a killed export left half-written; nobody else writes here now."""
    folders = {(root / file).parent for row in rows for file in (row.file, row.label_file) if file}
    for folder in {root, *folders}:
        for path in folder.glob(TEMPORARY_PATTERN):
            path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    """A class folder without images would stop a training."""
    if folder.is_dir() and next(folder.iterdir(), None) is None:
        folder.rmdir()


HELD_OUT_NAMES = frozenset({"val", "valid", "validation", "test"})
"""Names of folders that hold what a training is judged by, in lower case."""

_NAMED = 3


def refuse_unfit(destination: Path, output: Path, run: Mapping[str, Any]) -> None:
    """Refuse a destination by its place and name.

    Raises:
        ExportError: it is val or test or lies in one, holds a run, or is a folder of sources.
        OutputError: it is a file, or overlaps the output.
    """
    check_destination(output, destination)
    place = destination.resolve()
    for folder in (place, *place.parents):
        near = folder in (place, place.parent)
        if folder.name.lower() in HELD_OUT_NAMES and (near or (folder.parent / "train").is_dir()):
            raise ExportError(
                f"{destination}: lies in {folder.name!r}, which is held out to judge by; generated images belong to "
                "training only: give DATASET/train"
            )
    if (destination / MANIFEST_NAME).is_file():
        raise ExportError(f"{destination}: is itself the output of a run; give DATASET/train")
    for key in ("sources", "other_sources"):
        if key in run and place.is_relative_to((output / str(run[key])).resolve()):
            raise ExportError(
                f"{destination}: is where the sources of {output} lie; generated images among them would become "
                "sources; give DATASET/train"
            )


def refuse_class_folders(destination: Path) -> None:
    """Refuse a data set of class folders, or one of its parts, as the place of a detector's data set.

    Raises:
        ExportError: it is one.
    """
    advice = "give a folder of its own; it gets images and boxes in folders below"
    if destination.name.lower() == "train":
        raise ExportError(f"{destination}: images with boxes do not go into class folders; {advice}")
    train = destination / "train"
    if train.is_dir() and any(path.parent.parent == train for path in images_below(train)):
        raise ExportError(f"{destination}: holds class folders in {train}; {advice}")


def held_out_folders(destination: Path) -> list[Path]:
    """Folders of the same data set that hold what is judged by, as far as names tell."""
    around = [destination.resolve().parent, destination / "images", destination]
    found = [
        entry
        for folder in around
        if folder.is_dir() and (folder != around[0] or destination.name.lower() == "train")
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name.lower() in HELD_OUT_NAMES
    ]
    return sorted(found)


def refuse_held_out_parents(
    folders: Collection[Path], parents: Mapping[str, str], images: Collection[str], track: ProgressTracker
) -> None:
    """Refuse when a held-out folder has one of the images, or an image that one of them was made from, byte for byte.

    Args:
        folders: validation and test.
        parents: SHA-256 of every parent -> an image made from it.
        images: SHA-256 of the images themselves.

    Raises:
        ExportError: names the first of them.
        OSError: a file cannot be read.
    """
    paths = [path for folder in folders for path in images_below(folder)]
    leaks = []
    for path in track(paths, "check val and test") if paths else ():
        digest = sha256_of(path)
        if digest in parents:
            leaks.append(f"{parents[digest]} was made from {path}")
        elif digest in images:
            leaks.append(f"{path} is itself one of the generated images")
    if leaks:
        words = "; ".join(leaks[:_NAMED]) + ("; ..." if len(leaks) > _NAMED else "")
        raise ExportError(
            f"{words}, which is held out for validation or test ({len(leaks)} such), so training would see what it is "
            "judged by; number and generate from DATASET/train only"
        )
