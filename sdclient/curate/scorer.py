"""Scores images of an output one by one, and compares two; where their files come from is left open."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from sdcore.files import printable
from sdcore.images.similarity import aligned_similarity, comparable_area, to_comparable

from .._images import decode
from ..errors import BadImage, OutputError
from ..masks import read_mask
from ..photos import decode_photo
from .learnt import ReferenceModel
from .real import ClassStatistics
from .score import Base, Scored, score_image

_BASES_KEPT = 8
_PICTURES_KEPT = 64


@dataclass(frozen=True)
class ScoreJob:
    """One image to score."""

    file: str
    sha256: str
    class_name: str
    base: str
    """Path of the picture it was made on."""
    base_sha256: str
    mask: str
    """Relative to the output folder; "" where all was changed."""


@dataclass(frozen=True)
class PairJob:
    """Two images to compare."""

    one: ScoreJob
    other: ScoreJob


class ImageSource(Protocol):
    """Where the pictures of an output come from."""

    def image(self, job: ScoreJob) -> Image.Image:
        """The image of a job.

        Raises:
            OutputError: it is missing, changed, or cannot be decoded.
        """

    def base(self, job: ScoreJob) -> Image.Image:
        """The upright picture it was made on.

        Raises:
            OutputError: it is missing or changed.
            SourceError: it cannot be decoded.
        """

    def mask(self, job: ScoreJob, size: tuple[int, int]) -> Image.Image:
        """Its mask, mode "L", of its base's size.

        Raises:
            MaskError: it cannot be read.
        """


class PicturesOnDisk:
    """Those of an output folder on this machine."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def image(self, job: ScoreJob) -> Image.Image:
        """Read, compared with the record and decoded."""
        return read_recorded(self._output, job.file, job.sha256)

    def base(self, job: ScoreJob) -> Image.Image:
        """Read, compared with the record and decoded."""
        return decode_photo(base_bytes(job), printable(job.base))

    def mask(self, job: ScoreJob, size: tuple[int, int]) -> Image.Image:
        """Read and decoded."""
        return read_mask(self._output / job.mask, size)


class Scorer:
    """Scores and compares images of one output.

    Args:
        pictures: where they come from; may be changed between two calls, when the others have come.
        real: measures of real images by class.
        with_faces: whether to look for faces.
    """

    def __init__(self, pictures: ImageSource, real: dict[str, ClassStatistics], *, with_faces: bool) -> None:
        self.pictures = pictures
        self._learnt = ReferenceModel(real)
        self._with_faces = with_faces
        self._bases: OrderedDict[tuple[str, str], Base] = OrderedDict()
        self._comparable = lru_cache(maxsize=_PICTURES_KEPT)(lambda job: to_comparable(self.pictures.image(job)))

    def score(self, job: ScoreJob) -> Scored:
        """Scores of one image.

        Raises:
            OutputError: the image or its base is missing or not the one that was recorded.
            MaskError: its mask cannot be read.
        """
        image = self.pictures.image(job)
        base = self._base(job)
        mask = self.pictures.mask(job, base.picture.size) if job.mask else None
        return score_image(image, base, job.class_name, self._learnt, mask=mask, with_faces=self._with_faces)

    def compare(self, pair: PairJob) -> float:
        """Likeness of two images: where either was changed if they have one base, else everywhere.

        Raises:
            OutputError: one of them is missing or not the one that was recorded.
        """
        one, other = self._comparable(pair.one), self._comparable(pair.other)
        if one.shape != other.shape:
            return 0.0
        area: Any = None
        if pair.one.mask and pair.other.mask and pair.one.base_sha256 == pair.other.base_sha256:
            size = self._base(pair.one).picture.size
            masks = [self.pictures.mask(job, size) for job in (pair.one, pair.other)]
            both = comparable_area(masks[0]) | comparable_area(masks[1])
            area = both if both.shape == one.shape else None
        return aligned_similarity(one, other, area)

    def _base(self, job: ScoreJob) -> Base:
        """Kept for the images that follow: most of them have the same one."""
        wanted = (job.base, job.base_sha256)
        if wanted not in self._bases:
            self._bases[wanted] = Base(self.pictures.base(job))
            while len(self._bases) > _BASES_KEPT:
                self._bases.popitem(last=False)
        self._bases.move_to_end(wanted)
        return self._bases[wanted]


def read_recorded(output: Path, file: str, sha256: str) -> Image.Image:
    """An image of an output, its bytes checked.

    Raises:
        OutputError: it is missing, changed, or cannot be decoded.
    """
    data = recorded_bytes(output, file, sha256)
    try:
        return decode(data, printable(output / file))
    except BadImage as error:
        raise unfit(printable(output / file), "cannot be decoded", printable(output)) from error


def recorded_bytes(output: Path, file: str, sha256: str) -> bytes:
    """The bytes of an image of an output.

    Raises:
        OutputError: it is missing or changed.
    """
    path = output / file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unfit(printable(path), f"cannot be read: {error.strerror or error}", printable(output)) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise unfit(printable(path), "was changed since it was generated", printable(output))
    return data


def base_bytes(job: ScoreJob) -> bytes:
    """The bytes of the picture that an image was made on.

    Raises:
        OutputError: it is missing or changed.
    """
    name = printable(job.base)
    try:
        data = Path(job.base).read_bytes()
    except OSError as error:
        raise OutputError(
            f"{name}: the picture that {job.file} was made from cannot be read "
            f"({error.strerror or error}); put it back, or give its folder with --sources"
        ) from error
    if hashlib.sha256(data).hexdigest() != job.base_sha256:
        raise OutputError(f"{name}: was changed since {job.file} was made from it; put the former picture back")
    return data


def unfit(name: str, what: str, output: str) -> OutputError:
    """What to say of an image of an output that cannot be scored.

    Args:
        name: of the image.
        what: is the matter with it.
        output: name of the output folder.
    """
    return OutputError(
        f"{name}: {what}; run 'sdclient verify {output} --repair', generate what is missing, and curate again"
    )
