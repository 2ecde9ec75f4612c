"""Why an image is rejected: the words that stand in the manifest, which way each fails, and how to say it.

Too alike means that the image teaches a classifier nothing that its source does not; a higher denoising strength helps.
Unreal means that no camera would have taken it; a lower one helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which way an image fails."""

    TOO_ALIKE = "too alike"
    UNREAL = "unreal"


@dataclass(frozen=True)
class Reason:
    """One reason for rejecting an image."""

    word: str
    """As it stands in the manifest and on the command line."""
    direction: Direction
    english: str
    chinese: str

    @property
    def label(self) -> str:
        """Both languages, for tables."""
        return f"{self.english} {self.chinese}"


TOO_ALIKE = "too_alike"
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

_ALL = (
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

REASONS: dict[str, Reason] = {reason.word: reason for reason in _ALL}
"""Every reason by its word, too alike first."""


def label_of(word: str) -> str:
    """A reason in both languages; a word that this version does not know stands for itself."""
    reason = REASONS.get(word)
    return word if reason is None else reason.label


def fails(words: tuple[str, ...], direction: Direction) -> bool:
    """Whether one of these reasons points that way."""
    return any(word in REASONS and REASONS[word].direction is direction for word in words)
