"""Images learned from and held out."""

from __future__ import annotations

import hashlib
import io
import random
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from sdcore.images.decode import to_rgb
from sdcore.images.folders import LabelledImage, list_labelled_images

from ..errors import DataError, GeneratedImages, TooFewImages

LEAST_OF_A_CLASS = 2
LEAST_OF_ALL = 8
"""Fewer pictures than these, of a class and of all, can only be learned by heart."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One decoded picture."""

    pixels: torch.Tensor
    """(C, H, W) uint8, C of the whole set, the shorter side of the size asked."""
    label: int
    file: str
    """Relative to the folder it was read from."""
    sha256: str
    """Of the file's bytes."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a training learns from."""

    classes: tuple[str, ...]
    train: tuple[DecodedImage, ...]
    val: tuple[DecodedImage, ...]
    """Held out: only for the validation loss and the sheet's sources. Empty when none were wanted."""
    val_from: str
    """Where they come from, in words."""
    notes: tuple[str, ...] = ()
    """What the user should know, in sentences."""

    @property
    def channels(self) -> int:
        """1 when every picture is grey, else 3."""
        return int(self.train[0].pixels.shape[0])

    @property
    def counts(self) -> dict[str, int]:
        """Pictures learned from, by class."""
        found = Counter(picture.label for picture in self.train)
        return {name: found[number] for number, name in enumerate(self.classes)}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over class and content of every picture, learned from or held out."""
        lines = [
            f"{part} {self.classes[picture.label]} {picture.sha256}"
            for part, pictures in (("train", self.train), ("val", self.val))
            for picture in pictures
        ]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def read_training_set(
    folder: Path,
    *,
    size_px: int,
    val_folder: Path | None,
    val_share: float,
    seed: int,
    progress: bool = True,
) -> TrainingSet:
    """Read DATA/train and its held-out pictures.

    Without `val_folder`, a folder `val` beside one called `train` is taken; without that, `val_share` of each class
    is held out, files of the same bytes on one side.

    Args:
        folder: one folder of images per class.
        size_px: what the shorter side is brought to.
        val_folder: the same layout, classes among those of `folder`.
        val_share: 0 to 0.5.
        seed: which are held out.
        progress: show a bar on stderr.

    Raises:
        DataError: a folder or a file cannot be used (with its branches TooFewImages and GeneratedImages).
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
    bar: tqdm[Any] = tqdm(
        total=len(listed) + len(held), desc="reading", unit="image", disable=not progress, file=sys.stderr
    )
    with bar:
        read = _read_all(folder, listed, classes, size_px, bar)
        read_held = _read_all(val_folder, held, classes, size_px, bar) if val_folder is not None else []
    grey = all(is_grey for is_grey, _ in [*read, *read_held])
    train = [_with_channels(picture, grey) for _, picture in read]
    val = [_with_channels(picture, grey) for _, picture in read_held]
    notes: list[str] = []
    if val_folder is None:
        train, val = _hold_out(train, val_share, seed)
        where = f"{len(val)} of {len(listed)} pictures of {folder}, drawn by seed {seed}" if val else "none held out"
    else:
        where = str(val_folder)
        shared = {picture.sha256 for picture in train} & {picture.sha256 for picture in val}
        if shared:
            notes.append(
                f"{len(shared)} held-out picture(s) are in {folder} byte for byte; "
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
    """Each picture, and whether it is grey."""
    read = []
    generated: list[tuple[Path, str]] = []
    for image in listed:
        decoded = decode(image.path, size_px)
        bar.update()
        if decoded.generated_by is not None:
            generated.append((image.path, decoded.generated_by))
            continue
        pixels = torch.from_numpy(decoded.pixels.copy()).permute(2, 0, 1).contiguous()
        file = image.path.relative_to(folder).as_posix()
        picture = DecodedImage(pixels, classes.index(image.label), file, decoded.sha256)
        read.append((decoded.is_grey, picture))
    if generated:
        path, words = generated[0]
        raise GeneratedImages(
            f"{folder}: {len(generated)} of {len(listed)} pictures were generated themselves, the first is {path} "
            f"(it carries {words}); a model that learns from such pictures drifts away from real ones, so give "
            "real photographs only"
        )
    return read


def _with_channels(picture: DecodedImage, grey: bool) -> DecodedImage:
    if not grey:
        return picture
    return DecodedImage(picture.pixels[:1].contiguous(), picture.label, picture.file, picture.sha256)


def _hold_out(pictures: list[DecodedImage], share: float, seed: int) -> tuple[list[DecodedImage], list[DecodedImage]]:
    """Divide each class by files of distinct bytes, leaving the greater part to learn from."""
    by_class: dict[int, list[str]] = {}
    for picture in pictures:
        contents = by_class.setdefault(picture.label, [])
        if picture.sha256 not in contents:
            contents.append(picture.sha256)
    held: set[str] = set()
    for label, contents in sorted(by_class.items()):
        chance = random.Random(f"{seed} {label}")  # noqa: S311 - which pictures are held out is no secret
        count = min(round(share * len(contents)), len(contents) - LEAST_OF_A_CLASS)
        held.update(chance.sample(sorted(contents), max(count, 0)))
    train = [picture for picture in pictures if picture.sha256 not in held]
    return train, [picture for picture in pictures if picture.sha256 in held]


_GENERATED_KEYWORDS = {
    "sdclient": "the lineage that 'sdclient generate' writes",
    "parameters": "the parameters that a WebUI writes",
}
"""PNG text chunks that only generated pictures carry."""
_LONGEST_SHAPE = 8
"""A picture longer than this many times its width is cut to it about its middle."""


@dataclass(frozen=True, eq=False)
class Upright:
    """One picture as it is shown."""

    picture: Image.Image
    """RGB."""
    sha256: str
    """Of the file's bytes."""
    generated_by: str | None
    """Why it counts as generated, in words; None for a picture that does not."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """One picture, its shorter side brought to the size asked."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3)."""
    is_grey: bool
    """Whether all three channels are equal everywhere."""
    sha256: str
    """Of the file's bytes."""
    generated_by: str | None
    """Why it counts as generated, in words; None for a picture that does not."""


def decode(path: Path, size_px: int) -> Decoded:
    """Read a picture as `read_upright` does, and bring its shorter side to `size_px`.

    Raises:
        DataError: it cannot be read.
    """
    read = read_upright(path)
    pixels = np.asarray(_scaled(read.picture, size_px))
    is_grey = bool((pixels[..., :1] == pixels).all())
    return Decoded(pixels, is_grey, read.sha256, read.generated_by)


def read_upright(path: Path) -> Upright:
    """Read a picture upright, in RGB, transparency on white, deep grey brought to 8 bits.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content))
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path}: cannot be read as a picture ({error}); remove it, 'trainer check' lists all such files"
        ) from error
    told = next((words for key, words in _GENERATED_KEYWORDS.items() if key in picture.info), None)
    return Upright(to_rgb(picture), hashlib.sha256(content).hexdigest(), told)


def _scaled(picture: Image.Image, size_px: int) -> Image.Image:
    longest = _LONGEST_SHAPE * min(picture.size)
    if max(picture.size) > longest:
        picture = ImageOps.fit(picture, (min(picture.width, longest), min(picture.height, longest)))
    factor = size_px / min(picture.size)
    size = (max(size_px, round(picture.width * factor)), max(size_px, round(picture.height * factor)))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
