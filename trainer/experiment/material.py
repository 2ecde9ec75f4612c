"""What there is to train on: the folds of the data with their hashes, and the generated sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from sdcore.files import sha256_of

from ..dataset import PARTS, Dataset, read_dataset
from ..errors import DataError, EvaluationError, GeneratedSetError, LeakageError
from ..generated import GeneratedImage, GeneratedSet, read_generated
from .config import ExperimentConfig
from .plan import PlannedArm, SetKey
from .subset import choose_images


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of the data into train, val and test."""

    number: int | None
    """None where there is but one."""
    dataset: Dataset
    sources: Mapping[tuple[str, str], Path]
    """(class, SHA-256) of every training image -> its file."""
    held_out: frozenset[str]
    """SHA-256 of every validation and test image."""
    fingerprint: str
    """Of part, class, name and bytes of every image."""

    @property
    def real(self) -> int:
        """Training images."""
        return len(self.dataset.train)


def fold_folder(data: Path, number: int) -> Path:
    """Where `trainer split --folds` puts a fold."""
    return data / f"fold-{number}"


def read_folds(config: ExperimentConfig, *, progress: bool = False) -> tuple[Fold, ...]:
    """Read and hash the data.

    Raises:
        DataError: the layout is not as it should be, there is no test part, or an image is tested in two folds.
        EvaluationError: the Normal class, or the primary metric, does not fit the classes.
    """
    data = Path(config.data)
    if not config.folds:
        if fold_folder(data, 0).is_dir():
            raise DataError(f"{data}: holds folds; say how many in the experiment file, as 'folds = 5'")
        folds = [_read_fold(data, None, progress=progress)]
    else:
        for number in (config.folds - 1, config.folds):
            if fold_folder(data, number).is_dir() != (number < config.folds):
                found = sum(fold_folder(data, n).is_dir() for n in range(1000))
                raise DataError(
                    f"{data}: found {found} folders fold-*, expected fold-0 to fold-{config.folds - 1}; make them "
                    f"with 'trainer split PHOTOS {data} --folds {config.folds}', or change 'folds'"
                )
        folds = [_read_fold(fold_folder(data, n), n, progress=progress) for n in range(config.folds)]
    _check_folds(config, folds)
    return tuple(folds)


def read_sets(arms: Sequence[PlannedArm], *, progress: bool = False) -> dict[SetKey, GeneratedSet]:
    """Every generated set that an arm names, read once as a whole and once by what is accepted, as far as needed.

    Raises:
        GeneratedSetError: a set cannot be used.
    """
    keys = dict.fromkeys(key for arm in arms for key in arm.set_keys)
    return {key: read_generated(Path(key[0]), uncurated=not key[1], progress=progress) for key in keys}


def images_of_arm(
    arm: PlannedArm, fold: Fold, sets: Mapping[SetKey, GeneratedSet], config: ExperimentConfig
) -> tuple[GeneratedImage, ...]:
    """The generated images that an arm trains on in a fold.

    With folds, images with a parent outside of the fold's training part stay out; without, one such is an error.

    Raises:
        LeakageError: an image is, or descends from, a validation or test image (without folds).
        GeneratedSetError: an unknown class or source, or too few images for the share.
    """
    where = f"arm {arm.name!r}" + ("" if fold.number is None else f", fold {fold.number}")
    in_train = {sha256 for _, sha256 in fold.sources}
    usable = []
    for image in (image for key in arm.set_keys for image in sets[key].images):
        if image.label not in fold.dataset.classes:
            raise GeneratedSetError(
                f"{image.path}: class {image.label!r} is not in {fold.dataset.root / 'train'} "
                f"({', '.join(fold.dataset.classes)}); generate from this data"
            )
        # In train and held out at once are single-coloured pictures alone; the guard of every training sees to that.
        of_others = {parent.sha256 for parent in image.others} & fold.held_out - in_train
        has_source = (image.label, image.source_sha256) in fold.sources
        if of_others or (not has_source and {image.sha256, image.source_sha256} & fold.held_out):
            if fold.number is not None:
                continue
            raise LeakageError(
                f"{image.path}: it is, or was made from, a validation or test image of {fold.dataset.root}; "
                "number and generate from its train folder only"
            )
        if not has_source:
            raise GeneratedSetError(
                f"{image.path}: its source (sha256 {image.source_sha256[:12]}...) is not among the "
                f"{image.label!r} images of {fold.dataset.root}; the classical control needs the very sources"
            )
        if arm.normal is not False or image.label != config.normal:
            usable.append(image)
    if arm.normal and not any(image.label == config.normal for image in usable):
        raise GeneratedSetError(
            f"{where}: normal = true, but its sets hold no usable image of class {config.normal!r}; regenerate some "
            "Normal images, or leave 'normal' out"
        )
    return choose_images(usable, share=arm.share, real=fold.real, seed=config.seed, where=where)


def _read_fold(root: Path, number: int | None, *, progress: bool) -> Fold:
    dataset = read_dataset(root)
    if not dataset.test:
        raise DataError(f"{root}: no folder test/ with images; an experiment is judged on it, see 'trainer split'")
    fingerprint = hashlib.sha256()
    sources: dict[tuple[str, str], Path] = {}
    held_out = set()
    images = [(part, image) for part in PARTS for image in dataset.part(part)]
    label = "hash data" if number is None else f"hash fold {number}"
    for part, image in tqdm(images, desc=label, unit="image", disable=not progress):
        sha256 = sha256_of(image.path)
        name = image.path.relative_to(root).as_posix()
        fingerprint.update(f"{part}\0{image.label}\0{name}\0{sha256}\n".encode())
        if part == "train":
            sources.setdefault((image.label, sha256), image.path)
        else:
            held_out.add(sha256)
    return Fold(number, dataset, sources, frozenset(held_out), fingerprint.hexdigest())


def _check_folds(config: ExperimentConfig, folds: Sequence[Fold]) -> None:
    classes = folds[0].dataset.classes
    tested: dict[str, Path] = {}
    for fold in folds:
        root = fold.dataset.root
        if fold.dataset.classes != classes:
            raise DataError(
                f"{root}: classes {', '.join(fold.dataset.classes)}; expected {', '.join(classes)} as before"
            )
        for image in fold.dataset.test:
            name = image.path.relative_to(root / "test").as_posix()
            if name in tested:
                raise DataError(f"{image.path}: tested in {tested[name]} too; expected each image in one fold's test/")
            tested[name] = root
    if config.normal not in classes:
        raise EvaluationError(
            f"normal: found {config.normal!r}, which is no class of {folds[0].dataset.root} ({', '.join(classes)}); "
            "name the class without defects"
        )
    labels = {image.label for fold in folds for image in fold.dataset.test}
    unnamed = sorted(labels - set(classes))
    if unnamed and config.primary == "macro_f1":
        raise EvaluationError(
            f"primary: 'macro_f1' needs the defects' names, but test images are labelled {unnamed[0]!r}; declare "
            "accuracy, miss_rate or overkill_rate"
        )
