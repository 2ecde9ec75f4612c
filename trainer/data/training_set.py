"""What one arm trains on: the real images, generated ones, or real ones once more as their control."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sdcore.files import sha256_of
from sdcore.images.folders import LabelledImage
from sdcore.messages import Message

from ..config import TrainingJob
from ..errors import DataError, GeneratedSetError
from .check import write_look_alike_page
from .dataset import Dataset, read_dataset
from .findings import Finding
from .fingerprints import Fingerprint, fingerprint_files
from .leakage import check_leakage, find_look_alikes_across, leakage_warnings, refuse_doubtful
from .provenance import GeneratedSet, describe_marked, read_generated

Origin = Literal["real", "generated", "repeated"]


@dataclass(frozen=True)
class TrainingImage:
    """One entry of the training list; a file may occur more than once."""

    path: Path
    label: str
    origin: Origin


@dataclass(frozen=True)
class TrainingData:
    """Everything a training reads, checked for leakage."""

    dataset: Dataset
    train: tuple[TrainingImage, ...]
    summary: dict[str, Any]
    """The content of `data.json`, with `warnings` still as messages: whoever writes the file puts them into words."""
    near: tuple[Finding, ...] = ()
    """Validation and test images that look like a training image."""
    warnings: tuple[Message, ...] = ()
    """What the check for leakage allowed; also in `summary`."""
    notes: tuple[str, ...] = ()
    """How many images of each curated set were taken, one sentence each."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of a classifier's outputs."""
        return self.dataset.classes

    @property
    def val(self) -> tuple[LabelledImage, ...]:
        """Validation images, real ones only."""
        return self.dataset.val


def build_training_set(
    job: TrainingJob, *, sets: Sequence[GeneratedSet] = (), near_sheet: Path | None = None, progress: bool = False
) -> TrainingData:
    """List what a job trains on; its run folder and config are not read.

    An image in `train/` that was generated (shown by its text chunk, or by the bytes or pixels of a generated set)
    counts as generated. For each image of `control_for` its *source* joins training once more: as many images as in
    the arm with generated ones, but only real pixels. Further `sets` that were read already join after those of the
    job. Look-alikes across parts are shown by the page `near_sheet`, which is written before they are refused.

    Raises:
        DataError: the layout is wrong, or a file cannot be opened.
        LeakageError: see `trainer.data.leakage`.
        GeneratedSetError: a set cannot be used, has no accepted image, a class that `train/` lacks, an image that is
            in `train/` already, or (for a control) a source that is not in `train/`.
        OSError: the page cannot be written.
    """
    data = job.data
    dataset = read_dataset(data)
    read = partial(read_generated, uncurated=job.uncurated, progress=progress)
    sets = [*(read(path) for path in job.generated), *sets]
    control_sets = [read(path) for path in job.control_for]
    all_sets = [*sets, *control_sets]
    fingerprints = _read_fingerprints(dataset, all_sets, progress=progress)
    report = check_leakage(dataset, all_sets, fingerprints)
    _refuse_unknown_classes(dataset, all_sets)
    _refuse_double(dataset, sets, fingerprints)
    near = find_look_alikes_across(dataset, sets, fingerprints)
    held_out = [*dataset.val, *dataset.test]
    if near and near_sheet is not None:
        write_look_alike_page(near_sheet, data, near, images=len(held_out))
    if job.strict:
        refuse_doubtful(dataset, report, near, near_sheet)

    marked = set(report.marked)
    own = [TrainingImage(one.path, one.label, "generated" if one in marked else "real") for one in dataset.train]
    by_hash = {(image.label, fingerprints[image.path].sha256): image.path for image in own}
    joined = [TrainingImage(image.path, image.label, "generated") for one in sets for image in one.images]
    repeated = [image for one in control_sets for image in _repeat_sources(one, by_hash, dataset)]
    train = (*own, *joined, *repeated)

    fingerprint = hashlib.sha256()
    for origin, label, sha256 in [
        *((image.origin, image.label, fingerprints[image.path].sha256) for image in own),
        *(("generated", image.label, image.sha256) for one in sets for image in one.images),
        *(("repeated", image.label, image.source_sha256) for one in control_sets for image in one.images),
        *(("held out", held.parent.name, sha256) for sha256, held in _first_of_each(held_out, fingerprints).items()),
    ]:
        fingerprint.update(f"{origin}\0{label}\0{sha256}\n".encode())
    unread = [image.path for image in held_out if fingerprints[image.path].error is not None]
    warnings = leakage_warnings(dataset, report, near, unread)
    summary = {
        "data": data.as_posix(),
        "classes": list(dataset.classes),
        "train": _count_origins(train, dataset.classes),
        "val": _count(dataset.val),
        "test": _count(dataset.test),
        "generated_sets": [
            *(one.summary() for one in sets),
            *([describe_marked(dataset, report.marked)] if report.marked else []),
        ],
        "control_for": [one.summary() for one in control_sets],
        "single_coloured_across_parts": report.single_coloured,
        "look_alikes_across_parts": len(near),
        "warnings": warnings,
        "fingerprint": fingerprint.hexdigest(),
    }
    return TrainingData(dataset, train, summary, near, tuple(warnings), notes_on_sets(summary))


def notes_on_sets(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """How many images of each curated set in `data.json` were taken, one sentence each."""
    curated = [one for one in (*summary["generated_sets"], *summary["control_for"]) if one.get("curated")]
    return tuple(
        f"{one['path']}: {one['count']} of {one['recorded']} images are accepted and taken; "
        f"{one['recorded'] - one['count'] - one['undecided']} rejected, {one['undecided']} undecided"
        for one in curated
    )


def _read_fingerprints(dataset: Dataset, sets: Sequence[GeneratedSet], *, progress: bool) -> dict[Path, Fingerprint]:
    """Read and decode every file once, for all checks; of an undecodable file at least the bytes are hashed."""
    paths = [image.path for image in (*dataset.train, *dataset.val, *dataset.test)]
    paths += [image.path for one in sets for image in one.images]
    fingerprints = {}
    for one in fingerprint_files(list(dict.fromkeys(paths)), progress=progress, label="check leakage"):
        fingerprints[one.path] = one if one.error is None else replace(one, sha256=_hash_file(one.path))
    return fingerprints


def _hash_file(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; repair or remove it") from error


def _first_of_each(images: Sequence[LabelledImage], fingerprints: Mapping[Path, Fingerprint]) -> dict[str, Path]:
    first: dict[str, Path] = {}
    for image in images:
        first.setdefault(fingerprints[image.path].sha256, image.path)
    return first


def _refuse_unknown_classes(dataset: Dataset, sets: Sequence[GeneratedSet]) -> None:
    for one in sets:
        if unknown := sorted(one.counts().keys() - set(dataset.classes)):
            raise GeneratedSetError(
                f"{one.path}: class {unknown[0]!r} is not in {dataset.root / 'train'} "
                f"({', '.join(dataset.classes)}); generate from this DATA's train folder"
            )


def _refuse_double(dataset: Dataset, sets: Sequence[GeneratedSet], fingerprints: Mapping[Path, Fingerprint]) -> None:
    there = {fingerprints[image.path].sha256: image.path for image in dataset.train}
    twice = [image for one in sets for image in one.images if image.sha256 in there]
    if twice:
        raise GeneratedSetError(
            f"{twice[0].path}: lies in training already, as {there[twice[0].sha256]} ({len(twice)} such image(s)), and "
            "would be trained on twice; remove it there, or leave out --generated"
        )


def _repeat_sources(
    generated_set: GeneratedSet, by_hash: dict[tuple[str, str], Path], dataset: Dataset
) -> list[TrainingImage]:
    repeated = []
    for image in generated_set.images:
        source = by_hash.get((image.label, image.source_sha256))
        if source is None:
            raise GeneratedSetError(
                f"{image.path}: its source (sha256 {image.source_sha256[:12]}...) is not in "
                f"{dataset.root / 'train' / image.label}; a control arm needs the sources that the set was made from"
            )
        repeated.append(TrainingImage(source, image.label, "repeated"))
    return repeated


def _count_origins(images: Sequence[TrainingImage], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    counts = Counter((image.label, image.origin) for image in images)
    return {name: {origin: counts[name, origin] for origin in ("real", "generated", "repeated")} for name in classes}


def _count(images: Sequence[LabelledImage]) -> dict[str, int]:
    return dict(sorted(Counter(image.label for image in images).items()))
