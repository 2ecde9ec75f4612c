"""What to copy, write and remove; the class balance."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from sdcore.files import sha256_or_none
from sdcore.progress import ProgressTracker

from ..errors import ExportError
from ..manifest.tables import ExportedImage, read_exported
from .layouts import Labels, Layout
from .selection import BoxFinder, SelectedImage, Selection


@dataclass
class ExportPlan:
    """What is to be done; the table of exports before (`former`) and after (`rows`)."""

    former: tuple[ExportedImage, ...]
    rows: dict[str, ExportedImage]
    """By file."""
    copies: list[tuple[SelectedImage, ExportedImage]] = field(default_factory=list)
    labels: dict[str, bytes] = field(default_factory=dict)
    """Box files to write -> their content."""
    unchanged: list[str] = field(default_factory=list)
    relabelled: list[str] = field(default_factory=list)
    removals: list[ExportedImage] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def plan_work(
    selection: Selection,
    layout: Layout,
    boxes: BoxFinder | None,
    labels: Labels | None,
    *,
    keep: bool,
    track: ProgressTracker,
) -> ExportPlan:
    """Compare the selection with the files in the training folder; nothing is written.

    Args:
        boxes: None for a layout without boxes.
        labels: None likewise; else says what happens to an image whose boxes are unknown.
        keep: leave in place what was exported earlier and is not wanted any more.

    Raises:
        ExportError: a file of the output is missing or changed, a foreign file is in the way, or boxes are unknown.
        ManifestError: the table of exports cannot be read.
    """
    former = read_exported(layout.root)
    work = ExportPlan(former, {row.file: row for row in former})
    known = dict(work.rows)
    wanted = set()
    for image in track(selection.chosen, "check" if boxes is None else "find boxes"):
        path = selection.output / image.file
        if sha256_or_none(path) != image.sha256:
            raise ExportError(
                f"{path}: {'is not the file that was recorded' if path.is_file() else 'is recorded, but not there'}; "
                f"put it back, or run 'sdclient verify {selection.output} --repair' and generate it again"
            )
        label = b""
        file, label_file = layout.place(image.class_name, image.name)
        if boxes is not None and labels is not None:
            try:
                found = boxes.of(image)
            except ExportError as error:
                if labels.unlabelled == "skip":
                    work.left_out.append(str(error))
                    continue
                raise ExportError(f"{error}; reject it, or leave such images out with --unlabelled skip") from error
            label = layout.label(image.name, found.boxes, found.size, found.channels)
        wanted.add(file)
        row = _row(selection, image, file, label_file, label)
        _plan_one(work, layout.root, known.get(file), image, row, label)
    for old in former:
        if old.file not in wanted and _is_ours(old, selection):
            _plan_removal(work, layout.root, old, keep=keep)
    return work


def _row(selection: Selection, image: SelectedImage, file: str, label_file: str, label: bytes) -> ExportedImage:
    return ExportedImage(
        file=file,
        class_name=image.class_name,
        sha256=image.sha256,
        label_file=label_file,
        label_sha256=hashlib.sha256(label).hexdigest() if label_file else "",
        output=selection.output.resolve().as_posix(),
        output_file=image.file,
        engine=image.engine,
        source=image.source,
        source_sha256=image.source_sha256,
        other_parents=image.other_parents,
    )


def _plan_one(
    work: ExportPlan, root: Path, old: ExportedImage | None, image: SelectedImage, row: ExportedImage, label: bytes
) -> None:
    """Decide what happens to an image that is wanted."""
    state = state_of(root, row)
    if ExportedFileState.OTHER in state:
        if old is None:
            file = row.file if state.image is ExportedFileState.OTHER else row.label_file
            raise ExportError(f"{root / file}: is there already and is not ours; move it away")
        if ExportedFileState.OTHER in state_of(root, old):
            work.edited.append(row.file)
            return
    work.rows[row.file] = row
    if state.image is ExportedFileState.MISSING:
        work.copies.append((image, row))
    elif state.label is ExportedFileState.SAME:
        work.unchanged.append(row.file)
    else:
        work.relabelled.append(row.file)
    if row.label_file and state.label is not ExportedFileState.SAME:
        work.labels[row.label_file] = label


def _plan_removal(work: ExportPlan, root: Path, old: ExportedImage, *, keep: bool) -> None:
    """Decide what happens to an image that this output exported earlier and that is not wanted any more."""
    state = state_of(root, old)
    if ExportedFileState.OTHER in state:
        work.edited.append(old.file)
    elif keep and state.image is not ExportedFileState.MISSING:
        work.kept.append(old.file)
    else:
        work.removals.append(old)
        del work.rows[old.file]


def _is_ours(row: ExportedImage, selection: Selection) -> bool:
    """Whether a row belongs to this output; an output that was moved is recognised by its images."""
    is_here = row.output == selection.output.resolve().as_posix()
    return is_here or (row.sha256 in selection.recorded_sha256 and not Path(row.output).is_dir())


class ExportedFileState(Enum):
    """One file compared with its row."""

    MISSING = "missing"
    SAME = "same"
    """It has the recorded bytes; also for the box file of a row that has none."""
    OTHER = "other"


class RowState(NamedTuple):
    """The two files of a row."""

    image: ExportedFileState
    label: ExportedFileState


def state_of(root: Path, row: ExportedImage) -> RowState:
    """Read a row's files.

    Raises:
        OSError: one is there and cannot be read.
    """
    label = _state(root / row.label_file, row.label_sha256) if row.label_file else ExportedFileState.SAME
    return RowState(_state(root / row.file, row.sha256), label)


def _state(path: Path, sha256: str) -> ExportedFileState:
    found = sha256_or_none(path)
    if found is None:
        return ExportedFileState.MISSING
    return ExportedFileState.SAME if found == sha256 else ExportedFileState.OTHER


@dataclass(frozen=True)
class ClassBalance:
    """One class of a training folder."""

    class_name: str
    real: int
    """Images in the folder that were not exported."""
    generated_before: int
    generated_after: int

    @property
    def total_before(self) -> int:
        """Real and generated before the export."""
        return self.real + self.generated_before

    @property
    def total_after(self) -> int:
        """Real and generated after the export."""
        return self.real + self.generated_after

    @property
    def generated_share(self) -> float | None:
        """Share of the total after the export, 0 to 1; None for an empty class."""
        return self.generated_after / self.total_after if self.total_after else None


def balance_of(real: Mapping[str, int], before: Counter[str], after: Counter[str]) -> tuple[ClassBalance, ...]:
    """A row for each class that has any image, by name."""
    rows = (ClassBalance(name, real.get(name, 0), before[name], after[name]) for name in {*real, *before, *after})
    return tuple(sorted((row for row in rows if row.total_before or row.total_after), key=lambda row: row.class_name))


def sum_of(rows: tuple[ClassBalance, ...]) -> ClassBalance:
    """All classes together."""
    return ClassBalance(
        "",
        sum(row.real for row in rows),
        sum(row.generated_before for row in rows),
        sum(row.generated_after for row in rows),
    )
