"""Arms, cells and folds of an experiment, and the images of each arm."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdcore.files import sha256_of

from ..data.dataset import PARTS, Dataset, read_dataset
from ..data.provenance import GeneratedImage, GeneratedSet, read_generated
from ..errors import DataError, EvaluationError, GeneratedSetError, LeakageError, SettingsError
from .config import ArmConfig, ExperimentConfig, is_folder_name
from .judge import Kind

CELLS_FOLDER = "cells"

SetKey = tuple[str, bool]
"""A folder of generated images, and whether only its accepted images are used."""


@dataclass(frozen=True)
class PlannedArm:
    """One arm; a table of the file with several shares makes several arms."""

    name: str
    """Unique; also the name of a folder."""
    kind: Kind
    sets: tuple[str, ...] = ()
    """Folders of generated images; for a classical arm those of the arm it controls."""
    share: float | None = None
    """Share of generated images in the training list; None: all images."""
    normal: bool | None = None
    """Whether generated Normal images are used; None: if there are any."""
    controls: str = ""
    """Of a classical arm: the generated arm whose number of images it copies."""
    curated: bool = True
    """Whether only the accepted images of curated sets are used."""
    shares_control: str = ""
    """Of a generated arm: the one whose classical control it shares; "" if it has its own."""

    @property
    def set_keys(self) -> tuple[SetKey, ...]:
        """The sets from which the arm takes images."""
        return tuple((path, self.curated) for path in self.sets)


@dataclass(frozen=True)
class Cell:
    """One training: an arm, a seed, and the number of its fold if there are folds."""

    arm: PlannedArm
    seed: int
    fold: int | None

    @property
    def folder(self) -> str:
        """Relative to the output folder, with forward slashes."""
        return "/".join((CELLS_FOLDER, *self._parts))

    @property
    def name(self) -> str:
        """Name of the cell in messages."""
        return " ".join(self._parts)

    @property
    def _parts(self) -> list[str]:
        return [self.arm.name, f"seed-{self.seed}", *([] if self.fold is None else [f"fold-{self.fold}"])]


def plan_arms(config: ExperimentConfig) -> tuple[PlannedArm, ...]:
    """Every arm, in the order of the file; the classical table gives a control to each generated arm that shares none.

    Raises:
        SettingsError: two arms would have the same name, or an arm shares the control of a missing arm.
    """
    generated = {table.title: _shares_of(table) for table in config.arm if table.kind == "generated"}
    planned = [arm for arms in generated.values() for arm in arms]
    controlled = [arm for arm in planned if not arm.shares_control]
    names = [arm.name for arm in controlled]
    for arm in planned:
        if arm.shares_control and arm.shares_control not in names:
            raise SettingsError(
                f"[[arm]] {arm.name!r}: control = {arm.shares_control!r} is no generated arm with a control of its "
                f"own; expected one of {', '.join(names) or 'none, because no arm has one'}"
            )
    arms: list[PlannedArm] = []
    for table in config.arm:
        if table.kind == "generated":
            arms += generated[table.title]
        elif table.kind == "classical":
            for arm in controlled:
                name = f"{table.title} {arm.name}" if len(controlled) > 1 else table.title
                arms.append(PlannedArm(name, "classical", arm.sets, controls=arm.name, curated=arm.curated))
        else:
            arms.append(PlannedArm(table.title, table.kind))
    folded = [arm.name.casefold() for arm in arms]
    for arm in arms:
        if folded.count(arm.name.casefold()) > 1 or not is_folder_name(arm.name):
            raise SettingsError(
                f"[[arm]] name: {arm.name!r} would be the name of two arms, or is too long; give them other names"
            )
    return tuple(arms)


def _shares_of(arm: ArmConfig) -> list[PlannedArm]:
    """The arms of a table of generated images, one for each of its shares."""
    shares: tuple[float | None, ...] = arm.share or (None,)
    names = [f"{arm.title} {share:g}" for share in arm.share] if len(shares) > 1 else [arm.title]
    options: dict[str, Any] = {"normal": arm.normal, "curated": arm.curated, "shares_control": arm.control}
    return [
        PlannedArm(name, "generated", arm.sets, share, **options) for name, share in zip(names, shares, strict=True)
    ]


def plan_cells(config: ExperimentConfig, arms: tuple[PlannedArm, ...]) -> tuple[Cell, ...]:
    """Every cell, seed by seed, so that an interrupted experiment has complete seeds; pure."""
    folds: tuple[int | None, ...] = tuple(range(config.folds)) if config.folds else (None,)
    return tuple(Cell(arm, seed, fold) for seed in config.seeds for fold in folds for arm in arms)


def images_for_share(share: float, real: int) -> int:
    """Number of generated images that are `share` of a training list with `real` real ones, at least 1."""
    return max(1, round(share / (1.0 - share) * real))


def largest_share(usable: int, real: int) -> float:
    """Share of all usable images in the training list, rounded down to three digits."""
    return math.floor(1000 * usable / (usable + real)) / 1000


def choose_images(
    images: Sequence[GeneratedImage], *, share: float | None, real: int, seed: int, where: str
) -> tuple[GeneratedImage, ...]:
    """Choose the images of one arm, in their given order and with the classes in their given proportions.

    A hash of the seed and an image's bytes ranks the images of a class, so a larger share contains the images of a
    smaller one (except, by rounding, one image per class).

    Args:
        share: of the training list, in (0, 1); None takes all images.
        where: arm, and fold if there are folds, for messages.

    Raises:
        GeneratedSetError: too few images for the share, or a share so small that a class would get no image.
    """
    if not images:
        raise GeneratedSetError(f"{where}: no generated image is left to use; expected one or more")
    if share is None:
        return tuple(images)
    wanted = images_for_share(share, real)
    if wanted > len(images):
        raise GeneratedSetError(
            f"{where}: share {share:g} of a training list with {real} real images takes {wanted} generated ones, found "
            f"{len(images)}; the largest share possible is {largest_share(len(images), real):g}: ask for that or less, "
            "or generate more"
        )
    sizes = Counter(image.label for image in images)
    if wanted < len(sizes):
        raise GeneratedSetError(
            f"{where}: share {share:g} of a training list with {real} real images takes {wanted} generated ones, fewer "
            f"than the {len(sizes)} classes that were generated; ask for a larger share, or generate fewer classes"
        )
    left = _quotas(sizes, wanted)
    ranks = [hashlib.sha256(f"{seed}\0{image.sha256}".encode()).hexdigest() for image in images]
    taken = set()
    for place in sorted(range(len(images)), key=ranks.__getitem__):
        if left[images[place].label] > 0:
            left[images[place].label] -= 1
            taken.add(place)
    return tuple(image for place, image in enumerate(images) if place in taken)


def _quotas(sizes: Counter[str], wanted: int) -> dict[str, int]:
    """`wanted` images divided among classes in proportion to their sizes, by largest remainders, at least one each."""
    total = sum(sizes.values())
    exact = {label: wanted * size / total for label, size in sizes.items()}
    quotas = {label: math.floor(one) for label, one in exact.items()}
    by_remainder = sorted(exact, key=lambda label: (quotas[label] - exact[label], label))
    for label in by_remainder[: wanted - sum(quotas.values())]:
        quotas[label] += 1
    for label in sorted(label for label, quota in quotas.items() if quota == 0):
        quotas[max(quotas, key=lambda other: (quotas[other], other))] -= 1
        quotas[label] = 1
    return quotas


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of the data into train, val and test."""

    number: int | None
    """None if the data is divided only once."""
    dataset: Dataset
    sources: Mapping[tuple[str, str], Path]
    """(class, SHA-256) of every training image -> its file."""
    held_out: frozenset[str]
    """SHA-256 of every validation and test image."""
    fingerprint: str
    """Hash over part, class, name and bytes of every image."""

    @property
    def real(self) -> int:
        """Number of training images."""
        return len(self.dataset.train)


def read_folds(config: ExperimentConfig, *, progress: bool = False) -> tuple[Fold, ...]:
    """Read and hash the data.

    Raises:
        DataError: the layout is wrong, there is no test part, or an image is tested in two folds.
        EvaluationError: the Normal class, or the primary metric, does not fit the classes.
    """
    data = Path(config.data)
    folders = [data / f"fold-{n}" for n in range(config.folds + 1000)]
    if not config.folds:
        if folders[0].is_dir():
            raise DataError(f"{data}: holds folds; say how many in the experiment file, as 'folds = 5'")
        folds = [_read_fold(data, None, progress=progress)]
    else:
        if not folders[config.folds - 1].is_dir() or folders[config.folds].is_dir():
            raise DataError(
                f"{data}: found {sum(one.is_dir() for one in folders)} folders fold-*, expected fold-0 to "
                f"fold-{config.folds - 1}; make them with 'trainer split PHOTOS {data} --folds {config.folds}', or "
                "change 'folds'"
            )
        folds = [_read_fold(folders[n], n, progress=progress) for n in range(config.folds)]
    _check_folds(config, folds)
    return tuple(folds)


def read_sets(arms: Sequence[PlannedArm], *, progress: bool = False) -> dict[SetKey, GeneratedSet]:
    """Every generated set that an arm names, with all images or only the accepted ones, as the arms need it.

    Raises:
        GeneratedSetError: a set cannot be used.
    """
    keys = dict.fromkeys(key for arm in arms for key in arm.set_keys)
    return {key: read_generated(Path(key[0]), uncurated=not key[1], progress=progress) for key in keys}


def images_of_arm(
    arm: PlannedArm, fold: Fold, sets: Mapping[SetKey, GeneratedSet], config: ExperimentConfig
) -> tuple[GeneratedImage, ...]:
    """The generated images that an arm trains on in a fold.

    With folds, images with a parent among the fold's held-out images are left out; without folds they are an error.

    Raises:
        LeakageError: without folds, an image is, or descends from, a validation or test image.
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
        # Only single-coloured images are both in train and held out; the leakage check of every training ensures it.
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
                f"{image.label!r} images of {fold.dataset.root}; the classical control needs the same sources"
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
    held_out = set()
    sources: dict[tuple[str, str], Path] = {}
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
            f"normal: found {config.normal!r}, not a class of {folds[0].dataset.root} ({', '.join(classes)}); "
            "name the class without defects"
        )
    unnamed = sorted({image.label for fold in folds for image in fold.dataset.test} - set(classes))
    if unnamed and config.primary == "macro_f1":
        raise EvaluationError(
            f"primary: 'macro_f1' needs the defects' names, but test images are labelled {unnamed[0]!r}; declare "
            "accuracy, miss_rate or overkill_rate"
        )
