"""An export from the manifest to the files: planned and checked as a whole, then written so that a repeat goes on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import TEMPORARY_PATTERN, lock_folder, write_bytes_atomically
from sdcore.progress import ProgressTracker, no_progress

from ..errors import ExportError
from ..manifest_exported import ExportedImage, write_exported
from .balance import ClassBalance, balance_of
from .layout import ClassFolders, Layout, VocFolders, YoloFolders
from .places import BoxFinder
from .planning import ExportPlan, plan_work
from .selection import Selection, select
from .settings import Labels
from .target import held_out_folders, refuse_class_folders, refuse_held_out_parents, refuse_unfit


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
        output: an output folder of a run.
        destination: with no `labels` a folder of class folders, as `DATASET/train`; else a detector's data set.
        labels: write boxes too, and in which form.
        uncurated: take every image, whatever was judged.
        keep: remove nothing.
        dry_run: write nothing.
        track: shows progress.

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
