"""What one arm trains on: the real images, generated ones, or real ones once more as their control."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from .dataset import PARTS, Dataset, LabelledImage, read_dataset
from .errors import GeneratedSetError
from .generated import GeneratedSet, read_generated
from .leakage import hash_held_out, refuse_known_sources, refuse_shared_pixels

Origin = Literal["real", "generated", "repeated"]


@dataclass(frozen=True)
class TrainingImage:
    """One entry of the training list; the same file may stand in it more than once."""

    path: Path
    label: str
    origin: Origin


@dataclass(frozen=True)
class TrainingData:
    """Everything a training reads, checked for leakage."""

    dataset: Dataset
    train: tuple[TrainingImage, ...]
    summary: dict[str, Any]
    """The content of `data.json`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of a classifier's outputs."""
        return self.dataset.classes

    @property
    def val(self) -> tuple[LabelledImage, ...]:
        """Validation images, real ones only."""
        return self.dataset.val


def assemble(
    data: Path,
    *,
    generated: Sequence[Path] = (),
    control_for: Sequence[Path] = (),
    progress: bool = False,
) -> TrainingData:
    """List what an arm trains on.

    Args:
        data: a DATA folder with `train/`, `val/` and perhaps `test/`.
        generated: output folders whose images join training.
        control_for: output folders for each of whose images its *source* joins training once more: as many
            images as in the arm with generated ones, and nothing but real pixels.
        progress: show bars on stderr.

    Raises:
        DataError: the layout is not as it should be.
        LeakageError: a generated image is, or descends from, a validation or test image, or the same
            pixels lie in two parts.
        GeneratedSetError: a set cannot be used, has a class that training does not know, or (for a control)
            a source that is not in `train/`.
    """
    dataset = read_dataset(data)
    sets = [read_generated(path, progress=progress) for path in generated]
    control_sets = [read_generated(path, progress=progress) for path in control_for]
    held_out = hash_held_out([image.path for image in (*dataset.val, *dataset.test)], progress=progress)
    refuse_known_sources([*sets, *control_sets], held_out)
    flat = refuse_shared_pixels(
        {part: [image.path for image in dataset.part(part)] for part in PARTS}, progress=progress
    )
    for generated_set in [*sets, *control_sets]:
        _refuse_unknown_classes(generated_set, dataset)

    hashes = [
        hashlib.sha256(image.path.read_bytes()).hexdigest()
        for image in tqdm(dataset.train, desc="hash training", unit="image", disable=not progress)
    ]
    real = [TrainingImage(image.path, image.label, "real") for image in dataset.train]
    by_hash = {(image.label, sha256): image.path for image, sha256 in zip(real, hashes, strict=True)}
    joined = [TrainingImage(image.path, image.label, "generated") for one in sets for image in one.images]
    repeated = [image for one in control_sets for image in _repeat_sources(one, by_hash, dataset)]
    train = (*real, *joined, *repeated)

    fingerprint = hashlib.sha256()
    for origin, label, sha256 in [
        *(("real", image.label, sha256) for image, sha256 in zip(real, hashes, strict=True)),
        *(("generated", image.label, image.sha256) for one in sets for image in one.images),
        *(("repeated", image.label, image.source_sha256) for one in control_sets for image in one.images),
        *(("held out", held.parent.name, sha256) for sha256, held in held_out.items()),
    ]:
        fingerprint.update(f"{origin}\0{label}\0{sha256}\n".encode())
    summary = {
        "data": data.as_posix(),
        "classes": list(dataset.classes),
        "train": _count_origins(train, dataset.classes),
        "val": _count(dataset.val),
        "test": _count(dataset.test),
        "generated_sets": [one.summary() for one in sets],
        "control_for": [one.summary() for one in control_sets],
        "single_coloured_across_parts": flat,
        "fingerprint": fingerprint.hexdigest(),
    }
    return TrainingData(dataset, train, summary)


def _refuse_unknown_classes(generated_set: GeneratedSet, dataset: Dataset) -> None:
    unknown = sorted(generated_set.counts().keys() - set(dataset.classes))
    if unknown:
        raise GeneratedSetError(
            f"{generated_set.path}: class {unknown[0]!r} is not in {dataset.root / 'train'} "
            f"({', '.join(dataset.classes)}); generate from this DATA's train folder"
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
                f"{dataset.root / 'train' / image.label}; a control arm needs the very sources the set was made from"
            )
        repeated.append(TrainingImage(source, image.label, "repeated"))
    return repeated


def _count_origins(images: Sequence[TrainingImage], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    counts = Counter((image.label, image.origin) for image in images)
    return {name: {origin: counts[name, origin] for origin in ("real", "generated", "repeated")} for name in classes}


def _count(images: Sequence[LabelledImage]) -> dict[str, int]:
    return dict(sorted(Counter(image.label for image in images).items()))
