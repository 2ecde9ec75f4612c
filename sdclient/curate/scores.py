"""All scores of one image, and the scores of many images in processes.

likeness      `sdcore.images.similarity`: to the image it was made from
hash          `sdcore.images.hashes.hash_distance`
noise         `output.artifacts`: grey and colour noise beyond the base's
sharpness     `measures.sharpness`, `texture`, `grain`
tone, colour  `measures.tone_distances`, `colour_distances`: to the nearest real image
face          `measures.face_score`
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

from PIL import Image

from sdcore.files import printable
from sdcore.images.decode import read_image, to_rgb
from sdcore.images.hashes import hash_distance, structure_hash
from sdcore.images.similarity import (
    aligned_similarity,
    comparable_area,
    luma_of,
    retake_similarity,
    similarity,
    to_comparable,
)

from ..errors import OutputError, UnreadableImage
from ..masks.mask import read_mask
from ..output.artifacts import measure_changed_part
from ..sources.source import read_photo
from .measures import face_score, grain, look_of, sharpness, texture
from .reference import ClassStatistics, ReferenceModel


@dataclass(frozen=True)
class Base:
    """The image that generated images were made from; its measures are computed once for all of them."""

    image: Image.Image

    @cached_property
    def rgb(self) -> Image.Image:
        """As the noise scores need it."""
        return to_rgb(self.image)

    @cached_property
    def hash(self) -> str:
        """Its perceptual hash."""
        return structure_hash(self.image)

    @cached_property
    def retake_similarity(self) -> float:
        """Its similarity to its own retake, over the whole image."""
        return retake_similarity(self.image)


@dataclass(frozen=True)
class Scored:
    """Scores of an image, and its hash."""

    scores: dict[str, float | None]
    """By name, see `reasons.SCORES`; None where one does not apply."""
    hash: str


def score_image(
    image: Image.Image,
    base: Base | None,
    class_name: str,
    reference: ReferenceModel,
    *,
    mask: Image.Image | None = None,
    with_faces: bool = True,
) -> Scored:
    """Compute every score of an image of the output, compared with the real images of a class.

    `base` None leaves out the scores that compare the two. `mask` (mode "L", of the base's size) says where it was
    changed; None is everywhere.

    Raises:
        MissingExtra: faces are asked for and the detector is not installed.
    """
    grey, look, own_hash = luma_of(image), look_of(image), structure_hash(image)
    against_base, is_lost = _against_base(image, own_hash, base, mask)
    scores = {
        **against_base,
        # Black or of one colour, and its base is not: all detail is gone.
        "sharpness": 0.0 if is_lost else sharpness(grey),
        "texture": texture(grey),
        "grain": grain(grey),
        "tone_distance": reference.tone_distance(class_name, look),
        "colour_distance": reference.colour_distance(class_name, look),
        "face": face_score(image) if with_faces else None,
    }
    return Scored(scores, own_hash)


def _against_base(
    image: Image.Image, own_hash: str, base: Base | None, mask: Image.Image | None
) -> tuple[dict[str, float | None], bool]:
    """Scores that compare the two, and whether the image is black or of one colour and its base is not."""
    if base is None:
        names = ("ssim_inside", "ssim_outside", "ssim_reimaged", "hash_distance", "noise", "colour_garbage")
        return dict.fromkeys(names), False
    found = similarity(image, base.image, mask)
    rgb = to_rgb(image)
    if rgb.size != base.rgb.size:
        rgb = rgb.resize(base.rgb.size, Image.Resampling.BICUBIC)
    garbage = measure_changed_part(rgb, base.rgb, None if mask is None else mask.getbbox())
    floor = base.retake_similarity if mask is None else retake_similarity(base.image, mask)
    compared = {
        "ssim_inside": found.inside,
        "ssim_outside": found.outside,
        "ssim_reimaged": floor,
        "hash_distance": float(hash_distance(own_hash, base.hash)),
        "noise": garbage.luma_score,
        "colour_garbage": garbage.chroma_score,
    }
    return compared, garbage.is_black or garbage.is_uniform


_BASES_KEPT = 8
_IMAGES_KEPT = 64


@dataclass(frozen=True)
class ScoreJob:
    """One image to score."""

    file: str
    sha256: str
    class_name: str
    base: str
    """Path of the image it was made from."""
    base_sha256: str
    mask: str
    """Relative to the output folder; "" where the whole image was changed."""


@dataclass(frozen=True)
class PairJob:
    """Two images to compare."""

    one: ScoreJob
    other: ScoreJob


class ImageSource(Protocol):
    """Gives the images, bases and masks of an output.

    Every method raises `OutputError` if the file is missing or changed. If it cannot be decoded, the error is
    `OutputError` for an image, `SourceError` for a base and `MaskError` for a mask.
    """

    def image(self, job: ScoreJob) -> Image.Image:
        """The image of a job."""

    def base(self, job: ScoreJob) -> Image.Image:
        """The upright image it was made from."""

    def mask(self, job: ScoreJob, size: tuple[int, int]) -> Image.Image:
        """Its mask, mode "L", of its base's size."""


class ImagesOnDisk:
    """Images of an output folder on this machine."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def image(self, job: ScoreJob) -> Image.Image:
        """Read it, check its bytes and decode it."""
        data = recorded_bytes(self._output, job.file, job.sha256)
        name = printable(self._output / job.file)
        try:
            return read_image(data, name)
        except UnreadableImage as error:
            raise _unfit_image(name, "cannot be decoded", self._output) from error

    def base(self, job: ScoreJob) -> Image.Image:
        """Read it, check its bytes and decode it."""
        return read_photo(base_bytes(job), printable(job.base))

    def mask(self, job: ScoreJob, size: tuple[int, int]) -> Image.Image:
        """Read and decode it."""
        return read_mask(self._output / job.mask, size)


class Scorer:
    """Scores and compares images of one output, with the measures of real images by class.

    A worker of a cluster replaces `images` between two calls by the images of the next call.
    """

    def __init__(self, images: ImageSource, real: dict[str, ClassStatistics], *, with_faces: bool) -> None:
        self.images = images
        self._reference = ReferenceModel(real)
        self._with_faces = with_faces
        self._bases: OrderedDict[tuple[str, str], Base] = OrderedDict()
        self._comparable = lru_cache(maxsize=_IMAGES_KEPT)(lambda job: to_comparable(self.images.image(job)))

    def score(self, job: ScoreJob) -> Scored:
        """Scores of one image; errors as in `ImageSource`."""
        image = self.images.image(job)
        base = self._base(job)
        mask = self.images.mask(job, base.image.size) if job.mask else None
        return score_image(image, base, job.class_name, self._reference, mask=mask, with_faces=self._with_faces)

    def compare(self, pair: PairJob) -> float:
        """Similarity of two images: where either was changed if they have the same base, otherwise everywhere."""
        one, other = self._comparable(pair.one), self._comparable(pair.other)
        if one.shape != other.shape:
            return 0.0
        area: Any = None
        if pair.one.mask and pair.other.mask and pair.one.base_sha256 == pair.other.base_sha256:
            size = self._base(pair.one).image.size
            masks = [self.images.mask(job, size) for job in (pair.one, pair.other)]
            both = comparable_area(masks[0]) | comparable_area(masks[1])
            area = both if both.shape == one.shape else None
        return aligned_similarity(one, other, area)

    def _base(self, job: ScoreJob) -> Base:
        """The base, kept for the next images, most of which have the same one."""
        wanted = (job.base, job.base_sha256)
        if wanted not in self._bases:
            self._bases[wanted] = Base(self.images.base(job))
            while len(self._bases) > _BASES_KEPT:
                self._bases.popitem(last=False)
        self._bases.move_to_end(wanted)
        return self._bases[wanted]


def recorded_bytes(output: Path, file: str, sha256: str) -> bytes:
    """The bytes of an image of an output.

    Raises:
        OutputError: it is missing or changed.
    """
    path = output / file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unfit_image(printable(path), f"cannot be read: {error.strerror or error}", output) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _unfit_image(printable(path), "was changed since it was generated", output)
    return data


def base_bytes(job: ScoreJob) -> bytes:
    """The bytes of the image that an image was made from.

    Raises:
        OutputError: it is missing or changed.
    """
    name = printable(job.base)
    try:
        data = Path(job.base).read_bytes()
    except OSError as error:
        raise OutputError(
            f"{name}: the image that {job.file} was made from cannot be read "
            f"({error.strerror or error}); put it back, or give its folder with --sources"
        ) from error
    if hashlib.sha256(data).hexdigest() != job.base_sha256:
        raise OutputError(f"{name}: was changed since {job.file} was made from it; put the former image back")
    return data


def _unfit_image(name: str, what: str, output: Path) -> OutputError:
    """The error of an image that cannot be scored, with what to do about it."""
    repair = f"sdclient verify {printable(output)} --repair"
    return OutputError(f"{name}: {what}; run '{repair}', generate what is missing, and curate again")


WORTH_WORKERS = 500
"""Fewer images are scored in this process: starting two others takes as long as 500 small images (3 to 4 s)."""
CHUNK = 32

_Item = TypeVar("_Item")


class ScoringPool(Protocol):
    """Scores and compares images, in this process, in others or in a cluster."""

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[tuple[ScoreJob, Scored]]]:
        """Scores in chunks, in the order of the jobs."""

    def compare(self, pairs: Sequence[PairJob]) -> Iterator[list[tuple[PairJob, float]]]:
        """Similarities in chunks, in the order of the pairs."""


ScoringFactory = Callable[[dict[str, ClassStatistics], bool, int], AbstractContextManager[ScoringPool]]
"""(measures of real images by class, whether to look for faces, number of images) -> what scores them."""


def default_workers() -> int:
    """Processes for scoring: one a core, four at most."""
    return max(1, min(4, os.cpu_count() or 1))


@contextmanager
def scoring(
    output: Path, real: dict[str, ClassStatistics], *, with_faces: bool, images: int, workers: int
) -> Iterator[ScoringPool]:
    """Open what scores images: this process for few images or one worker, otherwise a pool of processes."""
    if workers < 2 or images < WORTH_WORKERS:
        scorer = Scorer(ImagesOnDisk(output), real, with_faces=with_faces)
        yield _LocalScoring(lambda method, chunks: map(partial(_apply, scorer, method), chunks))
        return
    # A fresh interpreter each, as on Windows: a forked process would share the parent's open SQLite manifest.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(output, real, with_faces)
    ) as pool:
        try:
            yield _LocalScoring(lambda method, chunks: pool.map(partial(_apply_in_worker, method), chunks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def chunks_of(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """The items in chunks of `CHUNK`, so that a message between processes is worth its cost."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


class _LocalScoring:
    """A `ScoringPool`; `run` applies a method of a `Scorer`, given by name, to the items of each chunk."""

    def __init__(self, run: Callable[[str, list[Sequence[Any]]], Iterator[Any]]) -> None:
        self._run = run

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[tuple[ScoreJob, Scored]]]:
        return self._run("score", list(chunks_of(jobs)))

    def compare(self, pairs: Sequence[PairJob]) -> Iterator[list[tuple[PairJob, float]]]:
        return self._run("compare", list(chunks_of(pairs)))


def _apply(scorer: Scorer, method: str, chunk: Sequence[Any]) -> list[tuple[Any, Any]]:
    return [(item, getattr(scorer, method)(item)) for item in chunk]


_WORKER: list[Scorer] = []
"""The scorer of a worker process; empty elsewhere."""


def _start_worker(output: Path, real: dict[str, ClassStatistics], with_faces: bool) -> None:
    _WORKER[:] = [Scorer(ImagesOnDisk(output), real, with_faces=with_faces)]


def _apply_in_worker(method: str, chunk: Sequence[Any]) -> list[tuple[Any, Any]]:
    return _apply(_WORKER[0], method, chunk)
