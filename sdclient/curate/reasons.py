"""Names of reasons and scores, and one judged image; loads no extra.

Too alike means that the image teaches a classifier nothing that its source does not; a higher denoising strength helps.
Unreal means that no camera would have taken it; a lower one helps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ..manifest.curation import ACCEPTED

TOO_ALIKE = "too_alike"


class Direction(Enum):
    """Which way an image fails."""

    TOO_ALIKE = "too alike"
    UNREAL = "unreal"


class _TwoLanguages:
    english: str
    chinese: str

    @property
    def label(self) -> str:
        """English and Chinese, for tables."""
        return f"{self.english} {self.chinese}"


@dataclass(frozen=True)
class Reason(_TwoLanguages):
    """One reason for rejecting an image."""

    word: str
    """As in the manifest and on the command line."""
    direction: Direction
    english: str
    chinese: str


NEAR_DUPLICATE = "near_duplicate"
NOISE = "noise"
COLOUR_GARBAGE = "colour_garbage"
BLURRED = "blurred"
OIL_PAINT = "oil_paint"
TONE = "tone"
COLOUR = "colour"
FACE = "face"
WRONG_CLASS = "wrong_class"
LOOKS_NORMAL = "looks_normal"
FAR_FROM_CLASS = "far_from_class"

_ALL_REASONS = (
    Reason(TOO_ALIKE, Direction.TOO_ALIKE, "too like its source", "与源图过于相似"),
    Reason(NEAR_DUPLICATE, Direction.TOO_ALIKE, "near duplicate", "近似重复"),
    Reason(NOISE, Direction.UNREAL, "noise", "噪声"),
    Reason(COLOUR_GARBAGE, Direction.UNREAL, "colour garbage", "彩色噪声"),
    Reason(BLURRED, Direction.UNREAL, "blurred", "模糊"),
    Reason(OIL_PAINT, Direction.UNREAL, "oil painting", "油画感"),
    Reason(TONE, Direction.UNREAL, "tone", "明暗异常"),
    Reason(COLOUR, Direction.UNREAL, "colour", "颜色异常"),
    Reason(FACE, Direction.UNREAL, "face", "人脸"),
    Reason(WRONG_CLASS, Direction.UNREAL, "wrong class", "类别不符"),
    Reason(LOOKS_NORMAL, Direction.UNREAL, "looks Normal", "看似正常"),
    Reason(FAR_FROM_CLASS, Direction.UNREAL, "far from its class", "偏离本类"),
)

REASONS = {reason.word: reason for reason in _ALL_REASONS}
"""Every reason by its word, those of too alike first."""


def label_of(word: str) -> str:
    """A reason in English and Chinese; an unknown word, as of a newer version, is returned as it is."""
    return REASONS[word].label if word in REASONS else word


@dataclass(frozen=True)
class ScoreName(_TwoLanguages):
    """One score of an image."""

    name: str
    low: float
    high: float | None
    """Bounds of the score; None where there is no upper one."""
    english: str
    chinese: str


_ALL_SCORES = (
    ScoreName("ssim_inside", -1, 1, "likeness to its base inside the changed area", "变化区域内相似度"),
    ScoreName("ssim_outside", -1, 1, "likeness to its base outside it", "变化区域外相似度"),
    ScoreName("ssim_reimaged", -1, 1, "likeness of the base to itself, taken again", "重新成像相似度"),
    ScoreName("hash_distance", 0, 256, "bits of the perceptual hash that differ from the base's", "感知哈希距离"),
    ScoreName("noise", 0, 1, "grey noise beyond the base's", "噪声"),
    ScoreName("colour_garbage", 0, 1, "colour noise beyond the base's", "彩色噪声"),
    ScoreName("sharpness", 0, None, "sharpness: finest detail to the next coarser", "边缘锐度"),
    ScoreName("texture", 0, 255, "fine texture, in levels of 0-255", "细纹理"),
    ScoreName("grain", 0, 128, "unrest of the quiet parts, in levels", "平坦处颗粒"),
    ScoreName("tone_distance", 0, 255, "distance to the tones of real images, in levels", "明暗距离"),
    ScoreName("colour_distance", 0, 442, "distance to the colours of real images, in levels", "颜色距离"),
    ScoreName("face", 0, 1, "how surely there is a face", "人脸置信度"),
    ScoreName("p_class", 0, 1, "the classifier's probability of its class", "本类概率"),
    ScoreName("p_normal", 0, 1, "the classifier's probability of Normal", "正常概率"),
    ScoreName("p_other", 0, 1, "the highest probability of another class", "其他类最高概率"),
    ScoreName("feature_distance", 0, 2, "the classifier's features: distance to the class", "特征距离"),
)

SCORES: dict[str, ScoreName] = {score.name: score for score in _ALL_SCORES}
"""Every score by its name."""


@dataclass(frozen=True)
class JudgedImage:
    """One image with its scores and its verdict."""

    file: str
    """Relative to the output folder, forward slashes."""
    class_name: str
    source: str
    """Relative to the sources folder, forward slashes."""
    sha256: str
    """Of the bytes that were judged."""
    reasons: tuple[str, ...]
    """The filters' reasons, words of `REASONS`; empty when the filters accept it."""
    scores: Mapping[str, float | None]
    """Score by name, see `SCORES`; None where it does not apply."""
    verdict: str
    """A person's decision where there is one, else the filters'."""

    @property
    def is_accepted(self) -> bool:
        """Whether the verdict accepts the image."""
        return self.verdict == ACCEPTED

    @property
    def is_too_alike(self) -> bool:
        """Whether a filter rejects it as too alike; a higher strength may help."""
        return self._fails(Direction.TOO_ALIKE)

    @property
    def is_unreal(self) -> bool:
        """Whether a filter rejects it as unreal; a lower strength may help."""
        return self._fails(Direction.UNREAL)

    def _fails(self, direction: Direction) -> bool:
        return any(word in REASONS and REASONS[word].direction is direction for word in self.reasons)
