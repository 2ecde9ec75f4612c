"""The training images of a diffusion model, and those held out."""

from __future__ import annotations

import hashlib
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from sdcore.images.folders import LabelledImage, list_labelled_images

from ..errors import DataError, GeneratedImages, TooFewImages
from ..user_images import read_user_image

LEAST_OF_A_CLASS = 2
LEAST_OF_ALL = 8
"""With fewer images, per class or in total, a model only learns copies."""
_LONGEST_SHAPE = 8
"""Largest ratio of an image's sides; a longer image is cropped at both ends."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One image of a training set."""

    pixels: torch.Tensor
    """(C, H, W) uint8; C is 1 if the whole set is grey, else 3. The shorter side is the model's size."""
    label: int
    file: str
    """Relative to the folder it was read from."""
    sha256: str
    """Of the file's bytes."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The images of a training."""

    classes: tuple[str, ...]
    train: tuple[DecodedImage, ...]
    val: tuple[DecodedImage, ...]
    """Held out: used only for the validation loss and as sources of the sheet. May be empty."""
    val_from: str
    """Where the held-out images come from, in words."""
    notes: tuple[str, ...] = ()
    """What the user should know, in sentences."""

    @property
    def channels(self) -> int:
        """1 if every image is grey, else 3."""
        return int(self.train[0].pixels.shape[0])

    @property
    def counts(self) -> dict[str, int]:
        """Number of training images by class."""
        found = Counter(image.label for image in self.train)
        return {name: found[number] for number, name in enumerate(self.classes)}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over class and content of every image, held-out ones too."""
        lines = [
            f"{part} {self.classes[image.label]} {image.sha256}"
            for part, images in (("train", self.train), ("val", self.val))
            for image in images
        ]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def read_training_set(
    folder: Path, *, size_px: int, val_folder: Path | None, val_share: float, seed: int, progress: bool = True
) -> TrainingSet:
    """Read DATA/train, one folder per class, and its held-out images; scale the shorter side of each to `size_px`.

    Without `val_folder`, a folder `val` beside a folder named `train` is used. If there is none, `val_share` (0 to 0.5)
    of each class is held out, drawn by `seed`; files with the same bytes stay together.

    Raises:
        DataError: a folder or a file cannot be used; also its subclasses TooFewImages and GeneratedImages.
    """
    listed = list_labelled_images(folder, refuse_divided=True)
    classes = tuple(sorted({image.label for image in listed}))
    _refuse_too_few(folder, listed)
    beside = folder.resolve().parent / "val"
    if val_folder is None and folder.resolve().name == "train" and beside.is_dir():
        val_folder = beside
    held: tuple[LabelledImage, ...] = ()
    if val_folder is not None:
        held = list_labelled_images(val_folder, refuse_divided=True)
        unknown = sorted({image.label for image in held} - set(classes))
        if unknown:
            raise DataError(
                f"{val_folder / unknown[0]}: class {unknown[0]!r} is not in {folder} ({', '.join(classes)}); "
                "remove it, or give another --val"
            )
    total = len(listed) + len(held)
    with tqdm(total=total, desc="reading", unit="image", disable=not progress, file=sys.stderr) as bar:
        read = _read_all(folder, listed, classes, size_px, bar)
        read_held = _read_all(val_folder, held, classes, size_px, bar) if val_folder is not None else []
    grey = all(is_grey for is_grey, _ in [*read, *read_held])
    train = [_with_channels(image, grey) for _, image in read]
    val = [_with_channels(image, grey) for _, image in read_held]
    notes: list[str] = []
    if val_folder is None:
        train, val = _hold_out(train, val_share, seed)
        where = f"{len(val)} of {len(listed)} images of {folder}, drawn by seed {seed}" if val else "none held out"
    else:
        where = str(val_folder)
        shared = {image.sha256 for image in train} & {image.sha256 for image in val}
        if shared:
            notes.append(
                f"{len(shared)} held-out image(s) are in {folder} byte for byte; "
                "they make the validation loss look lower than it is"
            )
    return TrainingSet(classes, tuple(train), tuple(val), where, tuple(notes))


def _refuse_too_few(folder: Path, listed: Sequence[LabelledImage]) -> None:
    counts = Counter(image.label for image in listed)
    name, least = min(counts.items(), key=lambda item: item[1])
    if least < LEAST_OF_A_CLASS:
        raise TooFewImages(
            f"{folder / name}: {least} image; expected {LEAST_OF_A_CLASS} or more of every class, and some dozens to "
            "learn more than copies; add images, or leave the class out"
        )
    if len(listed) < LEAST_OF_ALL:
        raise TooFewImages(
            f"{folder}: {len(listed)} images in all; expected {LEAST_OF_ALL} or more, and some hundreds for a model "
            "that does more than copy; add images"
        )


def _read_all(
    folder: Path, listed: Sequence[LabelledImage], classes: tuple[str, ...], size_px: int, bar: tqdm[Any]
) -> list[tuple[bool, DecodedImage]]:
    """Each image, and whether it is grey."""
    read = []
    generated: list[tuple[Path, str]] = []
    for entry in listed:
        scaled = decode(entry.path, size_px)
        bar.update()
        if scaled.generated_by is not None:
            generated.append((entry.path, scaled.generated_by))
            continue
        pixels = torch.from_numpy(scaled.pixels.copy()).permute(2, 0, 1).contiguous()
        file = entry.path.relative_to(folder).as_posix()
        read.append((scaled.is_grey, DecodedImage(pixels, classes.index(entry.label), file, scaled.sha256)))
    if generated:
        path, words = generated[0]
        raise GeneratedImages(
            f"{folder}: {len(generated)} of {len(listed)} images were generated, the first is {path} (it carries "
            f"{words}); a model trained on generated images drifts away from real ones, so give real photographs only"
        )
    return read


@dataclass(frozen=True, eq=False)
class ScaledImage:
    """One image file, its shorter side scaled to the size asked for."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3)."""
    sha256: str
    """Of the file's bytes."""
    generated_by: str | None
    """Why it counts as generated, in words; None for an image that does not."""

    @property
    def is_grey(self) -> bool:
        """Whether all three channels are equal everywhere."""
        return bool((self.pixels[..., :1] == self.pixels).all())


def decode(path: Path, size_px: int) -> ScaledImage:
    """Read an image and scale its shorter side to `size_px`.

    Raises:
        DataError: it cannot be read.
    """
    read = read_user_image(path)
    return ScaledImage(np.asarray(_scale(read.image, size_px)), read.sha256, read.generated_by)


def _scale(image: Image.Image, size_px: int) -> Image.Image:
    longest = _LONGEST_SHAPE * min(image.size)
    if max(image.size) > longest:
        image = ImageOps.fit(image, (min(image.width, longest), min(image.height, longest)))
    factor = size_px / min(image.size)
    size = (max(size_px, round(image.width * factor)), max(size_px, round(image.height * factor)))
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _with_channels(image: DecodedImage, grey: bool) -> DecodedImage:
    return replace(image, pixels=image.pixels[:1].contiguous()) if grey else image


def _hold_out(images: list[DecodedImage], share: float, seed: int) -> tuple[list[DecodedImage], list[DecodedImage]]:
    """Divide each class by distinct file contents; at least `LEAST_OF_A_CLASS` of them stay for training."""
    by_class: dict[int, set[str]] = {}
    for image in images:
        by_class.setdefault(image.label, set()).add(image.sha256)
    held: set[str] = set()
    for label, contents in sorted(by_class.items()):
        rng = random.Random(f"{seed} {label}")  # noqa: S311 - which images are held out is no secret
        count = min(round(share * len(contents)), len(contents) - LEAST_OF_A_CLASS)
        held.update(rng.sample(sorted(contents), max(count, 0)))
    train = [image for image in images if image.sha256 not in held]
    return train, [image for image in images if image.sha256 in held]
