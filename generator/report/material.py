"""The images of a report: real ones, and those that the model generates."""

import csv
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from sdcore.diffusion_model import DiffusionModel
from sdcore.torch_runtime import MixedPrecision, choose_device

from ..diffusion.dataset import DecodedImage, read_training_set
from ..diffusion.sampling import SampleOptions, sample
from ..diffusion.session import centre_square
from ..errors import DataError
from .results import Pixels, ReportSettings

_BATCH = 32


@dataclass(frozen=True, eq=False)
class RealImage:
    """A real image, cropped as the model sees it."""

    pixels: Pixels
    """(C, S, S), the central square."""
    label: int
    file: str
    """Relative to DATA."""
    group: str
    """Images of one group, for example of one board, are not independent."""


@dataclass(frozen=True)
class Material:
    """The real images that a report compares with, and sentences that the user should know."""

    learned: tuple[RealImage, ...]
    held_out: tuple[RealImage, ...]
    notes: tuple[str, ...]

    def of_class(self, label: int) -> tuple[tuple[RealImage, ...], tuple[RealImage, ...]]:
        """Learned and held-out images of a class."""
        learned = tuple(one for one in self.learned if one.label == label)
        return learned, tuple(one for one in self.held_out if one.label == label)


def read_material(data: Path, model: DiffusionModel, *, progress: bool = True) -> Material:
    """Read DATA/train and, where it exists, DATA/val; DATA/test is not read.

    The model's own record says, by content, which images it learned from. Of several files with the same bytes, the
    first counts. Groups come from DATA/split.csv, as `trainer split` writes it; without that file each image is its
    own group.

    Raises:
        DataError: a folder or file cannot be used, or the model was trained on other classes or images.
    """
    train = data / "train"
    if not train.is_dir():
        raise DataError(f"{data}: no folder 'train' in it; expected the data set that the model was trained on")
    images = read_training_set(train, size_px=model.size_px, val_folder=None, val_share=0.0, seed=0, progress=progress)
    _refuse_other_classes(train, images.classes, model)
    if images.channels > model.channels:
        raise DataError(f"{train}: colour images; {model.folder} learned from grey ones; give the data it learned from")
    groups = read_groups(data)
    learned: list[RealImage] = []
    held_out: list[RealImage] = []
    seen: set[str] = set()
    everything = [("train", one) for one in images.train] + [("val", one) for one in images.val]
    for folder, one in everything:
        if one.sha256 in seen:  # the nearest neighbour of a copy would be itself
            continue
        seen.add(one.sha256)
        file = f"{folder}/{one.file}"
        label = model.classes.index(images.classes[one.label])
        real = RealImage(_square(one, model), label, file, groups.get(file, file))
        (learned if one.sha256 in model.learned_from else held_out).append(real)
    if not learned:
        raise DataError(
            f"{train}: {model.folder} learned from none of these images (its {len(model.learned_from)} have other "
            "contents); give the data set that it was trained on"
        )
    notes = []
    if copies := len(everything) - len(seen):
        notes.append(f"{copies} picture(s) are copies of others, byte for byte; of those the first counts.")
    if missing := len(model.learned_from - seen):
        notes.append(f"{missing} picture(s) that the model learned from are not in {data}; copies of those go unseen.")
    if not held_out:
        notes.append("No held-out pictures, so nothing tells how far real pictures differ from those learned from.")
    return Material(tuple(learned), tuple(held_out), tuple(notes))


def read_groups(data: Path) -> Mapping[str, str]:
    """Group of each file by DATA/split.csv; empty where there is no such file.

    Raises:
        DataError: it cannot be read, or has no columns "file" and "group".
    """
    path = data / "split.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row["file"].replace("\\", "/"): row["group"] for row in csv.DictReader(file)}
    except (UnicodeDecodeError, csv.Error, KeyError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected columns 'file' and 'group', as 'trainer split' writes them; "
            "restore or remove it"
        ) from error


def _refuse_other_classes(train: Path, classes: tuple[str, ...], model: DiffusionModel) -> None:
    if set(classes) == set(model.classes):
        return
    extra, missing = sorted(set(classes) - set(model.classes)), sorted(set(model.classes) - set(classes))
    words = f"class {extra[0]!r} is not one of the model's" if extra else f"the model's class {missing[0]!r} is missing"
    known = f"({', '.join(model.classes)}, by {model.folder})"
    raise DataError(f"{train}: {words} {known}; give the data set that it was trained on")


def _square(image: DecodedImage, model: DiffusionModel) -> Pixels:
    pixels = np.asarray(centre_square(image.pixels, model.size_px).numpy())
    return np.repeat(pixels, model.channels, axis=0) if len(pixels) < model.channels else pixels


def image_of(pixels: Pixels) -> Image.Image:
    """An image of mode "L" or "RGB" from (C, H, W) levels, C 1 or 3."""
    return Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))


@dataclass(frozen=True, eq=False)
class GeneratedSamples:
    """All generated images of a report."""

    sources: tuple[RealImage, ...]
    """By class, in random order within a class."""
    by_strength: tuple[tuple[Pixels, ...], ...]
    """For each strength one image of each source, in the order of `sources`."""
    pure: tuple[Pixels, ...]
    """Images from noise alone, in the order of `pure_labels`."""
    pure_labels: tuple[int, ...]


def generate_samples(
    model: DiffusionModel, material: Material, settings: ReportSettings, *, progress: bool = True
) -> GeneratedSamples:
    """Generate one image of each chosen source at each strength, and `per_class` images of each class from noise alone.

    Up to `per_class` sources of each class are drawn from the images that the model learned from.

    Raises:
        SettingsError: there is no such device.
        OutOfMemory: the device's memory does not hold a batch.
    """
    sources = [one for label in range(len(model.classes)) for one in _choose(material, label, settings)]
    labels = [one.label for one in sources]
    pure_labels = [label for label in range(len(model.classes)) for _ in range(settings.per_class)]
    device = choose_device(settings.device)
    network, precision = model.network.to(device), MixedPrecision(device, amp=True)
    total = len(settings.strengths) * len(sources) + len(pure_labels)
    bar: tqdm[Any] = tqdm(total=total, desc="making", unit="image", disable=not progress, file=sys.stderr)

    def make(starts: Sequence[Pixels], wanted: Sequence[int], strength: float, first_seed: int) -> tuple[Pixels, ...]:
        options = SampleOptions(
            strength, model.no_class, device, precision=precision, steps=settings.steps, guidance=settings.cfg_scale
        )
        made: list[Pixels] = []
        for start in range(0, len(wanted), _BATCH):
            part = slice(start, start + _BATCH)
            seeds = range(first_seed + start, first_seed + start + len(wanted[part]))
            levels = torch.from_numpy(np.stack(starts[part]))
            found = sample(network, model.codec, levels, wanted[part], seeds, options)
            made += list(found.numpy())
            bar.update(len(found))
        return tuple(made)

    with bar:
        seeds_apart = max(len(sources), len(pure_labels))
        first = settings.seed * (len(settings.strengths) + 1) * seeds_apart
        by_strength = tuple(
            make([one.pixels for one in sources], labels, strength, first + number * seeds_apart)
            for number, strength in enumerate(settings.strengths)
        )
        nothing = np.zeros((model.channels, model.size_px, model.size_px), dtype=np.uint8)
        last = first + len(settings.strengths) * seeds_apart
        pure = make([nothing] * len(pure_labels), pure_labels, 1.0, last)
    return GeneratedSamples(tuple(sources), by_strength, pure, tuple(pure_labels))


def _choose(material: Material, label: int, settings: ReportSettings) -> list[RealImage]:
    learned, _ = material.of_class(label)
    rng = random.Random(f"{settings.seed} {label}")  # noqa: S311 - which sources are shown is no secret
    return rng.sample(learned, min(settings.per_class, len(learned)))
