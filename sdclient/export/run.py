"""The export itself, and the checks of its destination."""

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
    """Whether only accepted images were taken."""
    recorded: int
    """All finished images of the output, also the rejected and undecided ones."""
    taken: int
    rejected: int
    undecided: int
    copied: tuple[str, ...]
    unchanged: tuple[str, ...]
    relabelled: tuple[str, ...]
    """Unchanged images with new boxes."""
    removed: tuple[str, ...]
    """Images of an earlier export that are not wanted any more."""
    kept: tuple[str, ...]
    """Such images that stay because of `keep`."""
    edited: tuple[str, ...]
    """Images that were changed after their export; they are not touched."""
    left_out: tuple[str, ...]
    """Why an image was left out: its defect cannot be located."""
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
    """Copy the accepted images of an output into a training folder; remove exported images not accepted any more.

    Files are copied byte for byte, including the text chunk that names an image's parents. File names contain the
    image's hash, so that no real image and no image of another output has the same name. A repeat changes nothing.
    Images that were edited after their export are never removed. Everything is checked before anything is written.

    Args:
        destination: without `labels` a folder of class folders such as `DATASET/train`; else a detector's data set.
        labels: write boxes too, in this form.
        uncurated: take every image, accepted or not.
        keep: leave exported images in place that are not accepted any more.

    Raises:
        ExportError: no image was judged; a file is missing or is not the one recorded; the destination must not take
            these images; or a defect cannot be located.
        ManifestError: no manifest, or a table of exports that cannot be read.
        OutputError: the destination is a file or overlaps the output.
        FolderInUse: another export is running there.
        AnnotationError: unusable box files or class names.
        MissingExtra: scipy, which finds boxes, is not installed.
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
        boxes = BoxFinder(output, selection.run, labels) if labels is not None else None
        work = plan_work(selection, layout, boxes, labels, keep=keep, track=track)
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
    """Write the table, then files, remove files, write the final table: a killed export still knows all its files."""
    root = layout.root
    _clear_temporaries(root, work.rows.values())
    after = tuple(sorted(work.rows.values(), key=lambda row: row.file))
    # Rows of the former table stay as they are until their files are written, so that replaced boxes are known as ours.
    through = {**work.rows, **{row.file: row for row in work.former}}
    if through.keys() != {row.file for row in work.former}:
        write_exported(root, through.values())
    for path, content in layout.fixed_files().items():
        if not path.is_file() or path.read_bytes() != content:
            write_bytes_atomically(path, content)
    contents = dict(work.labels)
    for image, row in track(work.copies, "copy") if work.copies else ():
        if row.label_file in contents:
            # Boxes first: training would take an image without a box file for one without defects.
            write_bytes_atomically(root / row.label_file, contents.pop(row.label_file))
        content = (selection.output / image.file).read_bytes()
        if hashlib.sha256(content).hexdigest() != image.sha256:
            raise ExportError(f"{selection.output / image.file}: changed while it was exported; run the command again")
        write_bytes_atomically(root / row.file, content)
    for label_file, content in contents.items():
        write_bytes_atomically(root / label_file, content)
    for row in work.removals:
        # The image before its boxes, for the same reason.
        for file in (row.file, row.label_file):
            if file:
                (root / file).unlink(missing_ok=True)
        _remove_if_empty((root / row.file).parent)
    if after != work.former:
        write_exported(root, after)


def _clear_temporaries(root: Path, rows: Iterable[ExportedImage]) -> None:
    """Remove the temporary files of a killed export; the lock ensures that no other export is writing here."""
    folders = {(root / file).parent for row in rows for file in (row.file, row.label_file) if file}
    for folder in {root, *folders}:
        for path in folder.glob(TEMPORARY_PATTERN):
            path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    """A class folder without images would stop a training."""
    if folder.is_dir() and next(folder.iterdir(), None) is None:
        folder.rmdir()


HELD_OUT_NAMES = frozenset({"val", "valid", "validation", "test"})
"""Names of folders with validation or test images, in lower case."""

_NAMED = 3


def refuse_unfit(destination: Path, output: Path, run: Mapping[str, Any]) -> None:
    """Refuse a destination because of its path.

    Raises:
        ExportError: it is or lies in a validation or test folder, holds a run, or is a folder of sources.
        OutputError: it is a file, or overlaps the output.
    """
    check_destination(output, destination)
    place = destination.resolve()
    for folder in (place, *place.parents):
        near = folder in (place, place.parent)
        if folder.name.lower() in HELD_OUT_NAMES and (near or (folder.parent / "train").is_dir()):
            raise ExportError(
                f"{destination}: lies in {folder.name!r}, which is held out for evaluation; generated images belong in "
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
    """Refuse a data set of class folders, or one of its parts, as the destination of a detector's data set.

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
    """Validation and test folders of the same data set, recognised by their names."""
    around = [destination / "images", destination]
    if destination.name.lower() == "train":
        around.append(destination.resolve().parent)
    entries = [entry for folder in around if folder.is_dir() for entry in folder.iterdir() if entry.is_dir()]
    return sorted(entry for entry in entries if entry.name.lower() in HELD_OUT_NAMES)


def refuse_held_out_parents(
    folders: Collection[Path], parents: Mapping[str, str], images: Collection[str], track: ProgressTracker
) -> None:
    """Refuse if a held-out folder has, byte for byte, one of the images or an image that one of them was made from.

    Args:
        parents: SHA-256 of every parent -> an image made from it.
        images: SHA-256 of the images themselves.

    Raises:
        ExportError: names the first of them.
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
        first = "; ".join(leaks[:_NAMED]) + ("; ..." if len(leaks) > _NAMED else "")
        raise ExportError(
            f"{first}, which is held out for validation or test ({len(leaks)} in all), so training would see images of "
            "its own evaluation; number and generate from DATASET/train only"
        )
