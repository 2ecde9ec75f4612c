"""The training pictures by class: found, checked not to be generated themselves, and read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdcore.images.folders import list_labelled_images

from ..decoding import read_upright
from ..errors import GeneratedImages, TooFewImages
from .captions import Captions

_FEWEST = 2


@dataclass(frozen=True)
class TrainingImage:
    """One picture to learn from."""

    path: Path
    class_name: str
    caption: str
    sha256: str
    width_px: int
    height_px: int
    """Of the upright picture."""


def find_images(data: Path, captions: Captions) -> list[TrainingImage]:
    """Every picture of DATA/<class>/, in the order of class and name.

    Raises:
        DataError: the folder is laid out otherwise, or a picture cannot be read.
        GeneratedImages: a picture tells that it was generated.
        TooFewImages: a class with fewer than two pictures.
        SettingsError: a caption that cannot be read.
    """
    listed = list_labelled_images(data, refuse_divided=True)
    for label, count in Counter(image.label for image in listed).items():
        if count < _FEWEST:
            raise TooFewImages(
                f"{data / label}: {count} picture; at least {_FEWEST} are needed, add some or take the folder away"
            )
    return [_describe(image.path, image.label, captions) for image in listed]


def read_picture(path: Path, size: tuple[int, int]) -> Image.Image:
    """A picture upright, 8-bit RGB, scaled to (width, height); nothing is cut off, for a defect may be anywhere.

    Raises:
        DataError: it cannot be read.
    """
    picture = read_upright(path).picture
    smaller = size[0] * size[1] < picture.width * picture.height
    # As 'sdclient generate' scales a source: enlarging with Lanczos would draw halos along hard edges.
    return picture.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)


def fingerprint(images: Sequence[TrainingImage]) -> str:
    """sha256 over class and bytes of every picture: the same for the same pictures, whatever their names and order."""
    entries = sorted([image.class_name, image.sha256] for image in images)
    return hashlib.sha256(json.dumps(entries, ensure_ascii=False).encode("utf-8")).hexdigest()


def _describe(path: Path, class_name: str, captions: Captions) -> TrainingImage:
    read = read_upright(path)
    if read.generated_by is not None:
        raise GeneratedImages(
            f"{path}: a generated picture, for it carries {read.generated_by}; a model taught by its own kind drifts "
            "away from real pictures, so give folders of real ones alone"
        )
    return TrainingImage(path, class_name, captions.of(class_name, path), read.sha256, *read.picture.size)
