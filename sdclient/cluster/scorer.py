"""What runs on a node when images are scored there: plain functions, to which the files are sent along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from sdcore import __version__

from .._images import decode
from ..errors import BadImage, MissingExtra, OutputError, SDClientError, SettingsError
from ..masks import decode_mask
from ..photos import decode_photo

if TYPE_CHECKING:
    from ..curate.real import ClassStatistics
    from ..curate.score import Scored
    from ..curate.scorer import PairJob, ScoreJob, Scorer

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class ScoringSetup:
    """What is the same for all images of a call."""

    name: str
    """Tells one call from another."""
    version: str
    """Of the owner's software."""
    real: dict[str, ClassStatistics] = field(repr=False)
    """Measures of real images by class."""
    with_faces: bool


@dataclass(frozen=True)
class SentImages:
    """The files of some jobs; what runs on a node reads them here."""

    images: dict[str, bytes] = field(repr=False)
    """By the image's file."""
    masks: dict[str, bytes] = field(repr=False)
    """By the mask's file."""
    bases: dict[str, bytes] = field(default_factory=dict, repr=False)
    """By sha256; sent apart, once to a node."""

    def image(self, job: ScoreJob) -> Image.Image:
        """Decoded from the bytes, which the owner has compared with the record."""
        try:
            return decode(self.images[job.file], job.file)
        except BadImage as error:
            raise OutputError(
                f"{job.file}: cannot be decoded; run 'sdclient verify OUTPUT --repair', generate what is missing, and "
                "curate again"
            ) from error

    def base(self, job: ScoreJob) -> Image.Image:
        """The same."""
        return decode_photo(self.bases[job.base_sha256], f"the picture that {job.file} was made from")

    def mask(self, job: ScoreJob, size: tuple[int, int]) -> Image.Image:
        """Decoded from the bytes."""
        return decode_mask(self.masks[job.mask], job.mask, size)


def score_chunk(
    setup: ScoringSetup, jobs: Sequence[ScoreJob], pictures: SentImages, names: Sequence[str], *bases: bytes
) -> list[Scored] | SDClientError:
    """Scores of some images, in their order; an error is a result, so that it comes back as it is.

    Args:
        setup: what is the same for all.
        jobs: what to score.
        pictures: their files, without the bases.
        names: sha256 of each base.
        bases: the bases' files.
    """
    return _at_work(setup, pictures, names, bases, lambda scorer: [scorer.score(job) for job in jobs])


def compare_chunk(
    setup: ScoringSetup, pairs: Sequence[PairJob], pictures: SentImages, names: Sequence[str], *bases: bytes
) -> list[float] | SDClientError:
    """Likenesses of some pairs, in their order; otherwise as `score_chunk`."""
    return _at_work(setup, pictures, names, bases, lambda scorer: [scorer.compare(pair) for pair in pairs])


def _at_work(
    setup: ScoringSetup,
    pictures: SentImages,
    names: Sequence[str],
    bases: Sequence[bytes],
    work: Callable[[Scorer], list[_Found]],
) -> list[_Found] | SDClientError:
    if setup.version != __version__:
        return SettingsError(
            f"a node has sd-defects {__version__}, the owner's machine {setup.version}; install the same version there"
        )
    try:
        from ..curate.scorer import Scorer
    except ImportError:
        return MissingExtra("'sdclient curate --ray' on each node", "curate")
    sent = replace(pictures, bases=dict(zip(names, bases, strict=True)))
    if setup.name not in _SCORERS:
        _SCORERS.clear()
        _SCORERS[setup.name] = Scorer(sent, setup.real, with_faces=setup.with_faces)
    scorer = _SCORERS[setup.name]
    scorer.pictures = sent
    try:
        return work(scorer)
    except SDClientError as error:
        return error


_SCORERS: dict[str, Scorer] = {}
"""The scorer of this process, by the call it serves: what it learnt from the real images is learnt once."""
