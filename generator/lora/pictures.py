"""The training pictures by class: found, checked not to be generated themselves, and read."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from ..errors import DataError, GeneratedImages, TooFewImages
from ..images import list_labelled_images
from .captions import Captions

GENERATED_KEYWORDS = {
    "sdclient": "the lineage that 'sdclient generate' writes",
    "parameters": "the parameters that a WebUI writes",
}
"""PNG text chunks that only generated pictures carry."""
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
        ConfigError: a caption that cannot be read.
    """
    listed = list_labelled_images(data)
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; what cannot be decoded raises
            with Image.open(path) as opened:
                picture = _rgb(ImageOps.exif_transpose(opened))
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise DataError(f"{path}: cannot be read as a picture ({error}); take it away or replace it") from error
    smaller = size[0] * size[1] < picture.width * picture.height
    return picture.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)


def fingerprint(images: Sequence[TrainingImage]) -> str:
    """sha256 over class and bytes of every picture: the same for the same pictures, whatever their names and order."""
    entries = sorted([image.class_name, image.sha256] for image in images)
    return hashlib.sha256(json.dumps(entries, ensure_ascii=False).encode("utf-8")).hexdigest()


def _describe(path: Path, class_name: str, captions: Captions) -> TrainingImage:
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                size = ImageOps.exif_transpose(opened).size  # decodes it, and so finds what is cut short
                generated = next((words for key, words in GENERATED_KEYWORDS.items() if key in opened.info), None)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as a picture ({error}); take it away or replace it") from error
    if generated is not None:
        raise GeneratedImages(
            f"{path}: a generated picture, for it carries {generated}; a model taught by its own kind drifts away from "
            "real pictures, so give folders of real ones alone"
        )
    caption = captions.of(class_name, path)
    return TrainingImage(path, class_name, caption, hashlib.sha256(data).hexdigest(), *size)


def _rgb(picture: Image.Image) -> Image.Image:
    """Grey of more than 8 bits by the depth that holds its brightest pixel, transparency on white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        deep = picture.convert("F")
        high = deep.getextrema()[1]
        assert isinstance(high, float)  # noqa: S101 - one band
        full = next((float(2**bits - 1) for bits in (8, 10, 12, 14, 16) if high < 2**bits), high)
        return deep.point(lambda value: value * (255.0 / full) + 0.5).convert("L").convert("RGB")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return picture.convert("RGB")
