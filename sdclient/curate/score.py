"""All scores of one image; each is a function of its own in the modules named here, with its range.

likeness      `likeness.likeness`, `likeness.retake_similarity`: to the picture it was made from
hash          `hashes.hash_distance`
garbage       `batch.spoiled`: noise and colour noise beyond the base's
sharpness     `sharpness.sharpness`, `texture`, `grain`
tone, colour  `tone.tone_distances`, `colour_distances`: to the nearest real image
face          `faces.face_score`
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from sdcore.images.decode import to_rgb
from sdcore.images.hashes import hash_distance, structure_hash
from sdcore.images.similarity import luma_of, retake_similarity, similarity

from ..batch.spoiled import examine_sibling
from .faces import face_score
from .learnt import ReferenceModel
from .sharpness import grain, sharpness, texture
from .tone import look_of


@dataclass(frozen=True)
class Base:
    """The picture whose pixels stay where nothing was changed; what is found in it serves all its images."""

    picture: Image.Image

    @cached_property
    def rgb(self) -> Image.Image:
        """As the noise score wants it."""
        return to_rgb(self.picture)

    @cached_property
    def hash(self) -> str:
        """Its perceptual hash."""
        return structure_hash(self.picture)

    @cached_property
    def retake_similarity(self) -> float:
        """How like it is to itself when it is taken again, over the whole picture."""
        return retake_similarity(self.picture)


@dataclass(frozen=True)
class Scored:
    """Scores of an image, and its hash."""

    scores: dict[str, float | None]
    """By name, see `score_names.SCORES`; None where one does not apply."""
    hash: str


def score_image(
    image: Image.Image,
    base: Base | None,
    class_name: str,
    learnt: ReferenceModel,
    *,
    mask: Image.Image | None = None,
    with_faces: bool = True,
) -> Scored:
    """Compute every score of an image.

    Args:
        image: as it lies in the output, of any size and mode.
        base: None leaves out what compares the two.
        class_name: whose real images it is compared with.
        learnt: the real images.
        mask: mode "L", of the base's size: where it was changed; None is everywhere.
        with_faces: whether to look for faces.

    Raises:
        MissingExtra: faces are asked for and the detector is not installed.
    """
    grey, look, own_hash = luma_of(image), look_of(image), structure_hash(image)
    against_base, is_lost = _against_base(image, own_hash, base, mask)
    scores: dict[str, float | None] = {
        **against_base,
        # Black, or of one colour, where its base is not: all detail is gone.
        "sharpness": 0.0 if is_lost else sharpness(grey),
        "texture": texture(grey),
        "grain": grain(grey),
        "tone_distance": learnt.tone_distance(class_name, look),
        "colour_distance": learnt.colour_distance(class_name, look),
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
    found = similarity(image, base.picture, mask)
    rgb = to_rgb(image)
    if rgb.size != base.rgb.size:
        rgb = rgb.resize(base.rgb.size, Image.Resampling.BICUBIC)
    garbage = examine_sibling(rgb, base.rgb, None if mask is None else mask.getbbox())
    floor = base.retake_similarity if mask is None else retake_similarity(base.picture, mask)
    compared = {
        "ssim_inside": found.inside,
        "ssim_outside": found.outside,
        "ssim_reimaged": floor,
        "hash_distance": float(hash_distance(own_hash, base.hash)),
        "noise": garbage.luma_score,
        "colour_garbage": garbage.chroma_score,
    }
    return compared, garbage.is_black or garbage.is_uniform
