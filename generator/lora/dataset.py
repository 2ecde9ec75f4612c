"""The training data of a LoRA: images with captions, their sizes and latents, and the order in which they are drawn."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from sdcore.images.folders import list_labelled_images

from ..config import Flip
from ..errors import GeneratedImages, SettingsError, TooFewImages
from ..user_images import read_user_image

_FEWEST = 2


@dataclass(frozen=True)
class TrainingImage:
    """One training image with its caption; width and height are those of the upright image."""

    path: Path
    class_name: str
    caption: str
    sha256: str
    width_px: int
    height_px: int


def find_images(data: Path, captions: Captions) -> list[TrainingImage]:
    """Every image of DATA/<class>/, in the order of class and name.

    Raises:
        DataError: the folder has another layout, or an image cannot be read.
        GeneratedImages: an image was generated.
        TooFewImages: a class has fewer than two images.
        SettingsError: a caption cannot be read.
    """
    listed = list_labelled_images(data, refuse_divided=True)
    for label, count in Counter(image.label for image in listed).items():
        if count < _FEWEST:
            raise TooFewImages(
                f"{data / label}: {count} image; at least {_FEWEST} are needed, add some or remove the folder"
            )
    return [_describe(image.path, image.label, captions) for image in listed]


def read_scaled(path: Path, size: tuple[int, int]) -> Image.Image:
    """An image as 8-bit RGB, upright, scaled to (width, height); not cropped, because a defect may be anywhere.

    Raises:
        DataError: it cannot be read.
    """
    image = read_user_image(path).image
    smaller = size[0] * size[1] < image.width * image.height
    # The same rule as for a source in 'sdclient generate': enlarging with Lanczos would draw halos along hard edges.
    return image.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)


def fingerprint(images: Sequence[TrainingImage]) -> str:
    """sha256 over class and bytes of every image; it does not depend on file names or order."""
    entries = sorted([image.class_name, image.sha256] for image in images)
    return hashlib.sha256(json.dumps(entries, ensure_ascii=False).encode("utf-8")).hexdigest()


def _describe(path: Path, class_name: str, captions: Captions) -> TrainingImage:
    read = read_user_image(path)
    if read.generated_by is not None:
        raise GeneratedImages(
            f"{path}: a generated image, because it carries {read.generated_by}; a model trained on generated images "
            "drifts away from real ones, so give folders of real images only"
        )
    return TrainingImage(path, class_name, captions.of(class_name, path), read.sha256, *read.image.size)


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_TEMPLATE = "photo of a circuit board, {class}"
_SECTIONS = ("class", "caption")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Captions:
    """Rules for captions.

    An image's caption is the first of: the text file beside it, with its name and `.txt`; the whole caption of its
    class; the template.
    """

    template: str = DEFAULT_TEMPLATE
    """{class} is replaced by the word of the class."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Class -> its word in captions, if the text encoder does not know the folder's name."""
    whole: Mapping[str, str] = field(default_factory=dict)
    """Class -> its whole caption, which may contain {class}."""

    def __post_init__(self) -> None:
        _check(self.template, "--caption")

    def of_class(self, class_name: str) -> str:
        """The caption of the images of a class that have no text file."""
        template = self.whole.get(class_name, self.template)
        return template.replace("{class}", self.words.get(class_name, class_name)).strip()

    def of(self, class_name: str, image: Path) -> str:
        """The caption of one image.

        Raises:
            SettingsError: the text file beside it cannot be read.
        """
        beside = image.with_suffix(".txt")
        try:
            own = " ".join(beside.read_text(encoding="utf-8-sig").split())
        except FileNotFoundError:
            return self.of_class(class_name)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{beside}: the caption cannot be read ({error}); save it as UTF-8 text") from error
        return own or self.of_class(class_name)


def read_captions(file: Path | None, template: str = DEFAULT_TEMPLATE) -> Captions:
    """Captions from a template and a TOML file with [class] (words) and [caption] (whole captions) by class name.

    Raises:
        SettingsError: the file cannot be read, or has other sections or values; the message names section and key.
    """
    if file is None:
        return Captions(template)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{file}: captions cannot be read ({error}); expected TOML with [class] and [caption], "
            'as "漏铜" = "exposed copper"'
        ) from error
    tables: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for section, table in content.items():
        if section not in tables or not isinstance(table, dict):
            raise SettingsError(f"{file}: found {section!r}; expected the sections [class] and [caption]")
        for name, text in table.items():
            if not isinstance(text, str) or not text.strip():
                raise SettingsError(f"{file}: [{section}] {name}: found {text!r}; expected a text")
            if section == "caption":
                _check(text, f"{file}: [caption] {name}")
            tables[section][name] = text
    return Captions(template, tables["class"], tables["caption"])


def check_classes(captions: Captions, classes: list[str]) -> None:
    """Refuse rules for unknown classes, which are most likely misspelt.

    Raises:
        SettingsError: there are some.
    """
    unknown = sorted({*captions.words, *captions.whole} - set(classes))
    if unknown:
        raise SettingsError(f"captions for {', '.join(unknown)}: no such class; there are {', '.join(classes)}")


def _check(text: str, where: str) -> None:
    wrong = [name for name in _PLACEHOLDER.findall(text) if name != "class"]
    if wrong or not text.strip():
        found = f"{{{wrong[0]}}}" if wrong else "an empty text"
        raise SettingsError(f"{where}: found {found}; expected a caption, with {{class}} in place of the class's word")


STEP_PX = 64
"""Sides are multiples of this: the networks halve a side three times after the VAE has divided it by eight."""


def training_size(width_px: int, height_px: int, native_px: int) -> tuple[int, int]:
    """The (width, height) to which an image is scaled: its aspect ratio, at about the area `native_px` squared.

    Sides are multiples of 64 px and at least 64 px, so that images of similar aspect ratio share a size; the error is
    at most half a step of the longer side. `sdclient generate` asks for sizes by the same rule, in steps of 8 px.

    Raises:
        ValueError: a size is not positive.
    """
    if min(width_px, height_px, native_px) < 1:
        raise ValueError(f"sizes must be positive, got {width_px} x {height_px}, native {native_px}")

    def nearest(value: float) -> int:
        return math.floor(value / STEP_PX + 0.5) * STEP_PX

    short, long = sorted((width_px, height_px))
    most = max(STEP_PX, nearest(native_px * native_px / STEP_PX))
    out_short = max(STEP_PX, nearest(math.sqrt(native_px * native_px * short / long)))
    out_long = min(most, max(out_short, nearest(out_short * long / short)))
    return (out_short, out_long) if width_px <= height_px else (out_long, out_short)


_MIRRORINGS = {"horizontal": Image.Transpose.FLIP_LEFT_RIGHT, "vertical": Image.Transpose.FLIP_TOP_BOTTOM}


@dataclass(frozen=True)
class Latent:
    """The VAE's encoding of one image: a normal distribution for each value of its latent.

    Mean and standard deviation are (4, H/8, W/8) float16.
    """

    mean: torch.Tensor
    std: torch.Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image in px."""
        height, width = self.mean.shape[-2:]
        return 8 * width, 8 * height

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """One latent drawn from the distribution, float32, not yet scaled for the UNet."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean.float() + self.std.float() * noise


@dataclass(frozen=True)
class LatentCache:
    """Latents of all images and of their mirrored versions."""

    versions: tuple[tuple[Latent, ...], ...]
    """One tuple per image; its first latent is that of the unchanged image."""
    scaling: float
    """Factor by which latents are multiplied for the UNet."""

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) in px of each image after scaling."""
        return [versions[0].size for versions in self.versions]

    def draw(self, index: int, generator: torch.Generator) -> torch.Tensor:
        """A scaled latent of a random version of one image."""
        versions = self.versions[index]
        chosen = int(torch.randint(len(versions), (), generator=generator)) if len(versions) > 1 else 0
        return versions[chosen].draw(generator) * self.scaling


def encode_all(
    vae: Any,
    images: Sequence[TrainingImage],
    *,
    native_px: int,
    flips: Sequence[Flip] = (),
    device: torch.device,
    progress: bool = False,
) -> LatentCache:
    """Encode every image and its mirrored versions, in fp32, because SDXL's VAE gives NaN in half precision.

    Raises:
        DataError: an image cannot be read.
    """
    versions = []
    vae.to(device=device, dtype=torch.float32)
    with torch.no_grad():
        for entry in tqdm(images, desc="encode", unit="image", dynamic_ncols=True, disable=not progress):
            size = training_size(entry.width_px, entry.height_px, native_px)
            image = read_scaled(entry.path, size)
            mirrored = [image, *(image.transpose(_MIRRORINGS[flip]) for flip in flips)]
            if len(flips) > 1:
                mirrored.append(image.transpose(Image.Transpose.ROTATE_180))
            versions.append(tuple(_encode(vae, one, device) for one in mirrored))
    vae.to("cpu")
    return LatentCache(tuple(versions), float(vae.config.scaling_factor))


def _encode(vae: Any, image: Image.Image, device: torch.device) -> Latent:
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).transpose(2, 0, 1).copy())
    distribution = vae.encode((pixels / 127.5 - 1)[None].to(device)).latent_dist
    return Latent(*(part[0].to(device="cpu", dtype=torch.float16) for part in (distribution.mean, distribution.std)))


class WeightedSampler:
    """Draws images with replacement, from one generator, so that a resumed training draws the same ones.

    With `balance` a class is drawn first, each equally often, then one of its images; otherwise any image is drawn.
    """

    def __init__(self, classes: Sequence[str], *, balance: bool) -> None:
        by_class: dict[str, list[int]] = {}
        for index, name in enumerate(classes):
            by_class.setdefault(name, []).append(index)
        self._members = list(by_class.values()) if balance else [list(range(len(classes)))]

    def take(self, count: int, generator: torch.Generator) -> list[int]:
        """Indices of `count` images."""
        taken = []
        for _ in range(count):
            members = self._members[int(torch.randint(len(self._members), (), generator=generator))]
            taken.append(members[int(torch.randint(len(members), (), generator=generator))])
        return taken


def micro_batches(indices: Sequence[int], sizes: Sequence[tuple[int, int]], most: int) -> Iterator[list[int]]:
    """Positions in `indices` for each forward pass: images of one size, at most `most`."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for position, index in enumerate(indices):
        by_size.setdefault(sizes[index], []).append(position)
    for positions in by_size.values():
        for start in range(0, len(positions), most):
            yield positions[start : start + most]
