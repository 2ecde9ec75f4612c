"""Scores and limits -> reasons. Pure, and quick: a changed limit costs no new score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from . import reasons as words
from .learnt import LearnedThresholds
from .limits import Threshold

DEFAULT_NOISE = 0.5
DEFAULT_FACE = 0.7
"""Where MTCNN's own last stage cuts."""

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class UserThresholds:
    """Thresholds that a person set; None leaves one to what was learnt, or to its default."""

    max_ssim: float | None = None
    """Too alike from here on; learnt from each source taken again."""
    max_twin_ssim: float | None = None
    """Near duplicates from here on; as `max_ssim`."""
    max_noise: float | None = None
    max_colour_garbage: float | None = None
    max_grain: float | None = None
    min_sharpness: float | None = None
    min_texture: float | None = None
    max_tone: float | None = None
    max_colour: float | None = None
    max_face: float | None = None
    min_p_class: float | None = None
    """Lowest probability of its class; the default asks that no other class is more probable."""
    max_p_normal: float | None = None
    """Highest probability of Normal; the default asks that Normal is not the most probable class."""
    max_feature_distance: float | None = None


@dataclass(frozen=True)
class Thresholds:
    """Every limit of one class, as it is applied."""

    max_ssim: float | None
    max_twin_ssim: float | None
    max_noise: float
    max_colour_garbage: float
    max_grain: float | None
    min_sharpness: float | None
    soft: float | None
    min_texture: float | None
    max_tone: float | None
    max_colour: float | None
    max_face: float
    min_p_class: float | None
    max_p_normal: float | None
    max_feature_distance: float | None
    real_images: int = 0
    """Real images of the class that the limits were learnt from."""
    pooled: tuple[str, ...] = field(default=())
    """Thresholds for which other classes were asked too, the class having too few real images."""

    @classmethod
    def of(
        cls,
        given: UserThresholds,
        learnt: LearnedThresholds,
        real_images: int,
        opinion: Mapping[str, Threshold | None] | None = None,
    ) -> Thresholds:
        """What was given, else what was learnt.

        Args:
            given: a person's limits.
            learnt: from real images of the class.
            real_images: how many these are.
            opinion: learnt limits of a classifier's opinion, by their names here.
        """
        from_real = {
            "max_grain": learnt.grain,
            "min_sharpness": learnt.sharpness,
            "min_texture": learnt.texture,
            "max_tone": learnt.tone_distance,
            "max_colour": learnt.colour_distance,
            **(opinion or {}),
        }
        defaults = {"max_noise": DEFAULT_NOISE, "max_colour_garbage": DEFAULT_NOISE, "max_face": DEFAULT_FACE}
        values: dict[str, float | None] = {}
        pooled = []
        for one in fields(UserThresholds):
            limit = from_real.get(one.name)
            chosen = getattr(given, one.name)
            if chosen is None and limit is not None and limit.is_pooled:
                pooled.append(one.name)
            fallback = limit.value if limit is not None else defaults.get(one.name)
            values[one.name] = fallback if chosen is None else chosen
        return cls(**values, soft=learnt.soft, real_images=real_images, pooled=tuple(pooled))  # type: ignore[arg-type]


def rejection_reasons(
    scores: Scores, limits: Thresholds, *, is_normal: bool, skip: frozenset[str] = frozenset()
) -> list[str]:
    """Why an image is rejected for itself, in the order of `reasons.REASONS`.

    Args:
        scores: of the image; a score that is missing or None rejects nothing.
        limits: of its class.
        is_normal: whether its class is that of good boards.
        skip: reasons that are not applied.
    """
    found = {word for word in _found(scores, limits, is_normal) if word not in skip}
    return [word for word in words.REASONS if word in found]


def duplicate_threshold(scores: Scores, limits: Thresholds, other: Scores) -> float:
    """From which likeness on two images are near duplicates: the lower of what their sources have when taken again."""
    if limits.max_twin_ssim is not None:
        return limits.max_twin_ssim
    floors = [floor for one in (scores, other) if (floor := one.get("ssim_reimaged")) is not None]
    return min(floors, default=1.0)


def _found(scores: Scores, limits: Thresholds, is_normal: bool) -> Iterable[str]:
    alike_from = limits.max_ssim if limits.max_ssim is not None else scores.get("ssim_reimaged")
    inside = scores.get("ssim_inside")
    if inside is not None and alike_from is not None and inside >= alike_from:
        yield words.TOO_ALIKE
    if _above(scores, "noise", limits.max_noise) or _above(scores, "grain", limits.max_grain):
        yield words.NOISE
    if _above(scores, "colour_garbage", limits.max_colour_garbage):
        yield words.COLOUR_GARBAGE
    yield from _of_sharpness(scores, limits)
    if _above(scores, "tone_distance", limits.max_tone):
        yield words.TONE
    elif _above(scores, "colour_distance", limits.max_colour):
        yield words.COLOUR
    face = scores.get("face")
    if face is not None and face > 0 and face >= limits.max_face:
        yield words.FACE
    yield from _of_opinion(scores, limits, is_normal)


def _of_sharpness(scores: Scores, limits: Thresholds) -> Iterable[str]:
    """Soft edges are blur; hard ones with nothing between them are an oil painting."""
    sharp = scores.get("sharpness")
    lacks_texture = _below(scores, "texture", limits.min_texture)
    if _below(scores, "sharpness", limits.min_sharpness):
        yield words.BLURRED
    elif lacks_texture:
        is_soft = sharp is None or (limits.soft is not None and sharp < limits.soft)
        yield words.BLURRED if is_soft else words.OIL_PAINT


def _of_opinion(scores: Scores, limits: Thresholds, is_normal: bool) -> Iterable[str]:
    own = scores.get("p_class")
    if own is not None:
        normal = 0.0 if is_normal else scores.get("p_normal") or 0.0
        other = scores.get("p_other") or 0.0
        is_first = normal > own and normal >= other
        if is_first if limits.max_p_normal is None else normal > limits.max_p_normal:
            yield words.LOOKS_NORMAL
        elif own < (max(normal, other) if limits.min_p_class is None else limits.min_p_class):
            yield words.WRONG_CLASS
    if _above(scores, "feature_distance", limits.max_feature_distance):
        yield words.FAR_FROM_CLASS


def _above(scores: Scores, name: str, limit: float | None) -> bool:
    value = scores.get(name)
    return value is not None and limit is not None and value > limit


def _below(scores: Scores, name: str, limit: float | None) -> bool:
    value = scores.get(name)
    return value is not None and limit is not None and value < limit
