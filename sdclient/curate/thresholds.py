"""Thresholds learnt and given, and what an image oversteps.

A limit is the quantile that a share `RATE` of real images would overstep. Nobody has hundreds of a rare defect, so the
far quantile is not read off but extrapolated: beyond the upper quartile the distances are taken to fall exponentially
(the peaks-over-threshold estimate with shape 0; Coles 2001, ch. 4), q75 + b ln(0.25 / RATE), b being the mean excess
over the quartile. A lower limit is the upper one of the negated values.

A class with fewer than `ENOUGH` real images borrows: the tail is also read from all classes, each moved so that the
medians agree, and the limit is the laxer of the two. Below `TOO_FEW` the class has no median of its own that could be
trusted, and the values of all classes are pooled as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError
from .reasons import (
    BLURRED,
    COLOUR,
    COLOUR_GARBAGE,
    FACE,
    FAR_FROM_CLASS,
    LOOKS_NORMAL,
    NOISE,
    OIL_PAINT,
    REASONS,
    TONE,
    TOO_ALIKE,
    WRONG_CLASS,
)

RATE = 0.005
"""Share of real images that each limit may cost."""
ENOUGH = 30
TOO_FEW = 5

_QUARTILE = 0.75


@dataclass(frozen=True)
class Threshold:
    """A bound and where it came from."""

    value: float
    images: int
    """Real images of the class itself."""
    is_pooled: bool
    """Whether other classes were asked too."""


def upper_limits(values: Mapping[str, npt.ArrayLike], *, least: float, rate: float = RATE) -> dict[str, Threshold]:
    """Upper limit of each class.

    Args:
        values: (N,) of the real images of each class; None of them NaN.
        least: no limit is below this, however alike the real images are.
        rate: share of real images that may be above.

    Returns:
        A limit for every class of `values`, none where no class has a value.
    """
    arrays = {name: np.asarray(found, dtype=np.float64) for name, found in values.items()}
    known = [array for array in arrays.values() if len(array)]
    if not known:
        return {}
    everything = np.concatenate(known)
    moved = np.concatenate([array - np.median(array) for array in known if len(array) >= TOO_FEW] or [np.zeros(1)])
    limits = {}
    for name, array in arrays.items():
        if len(array) >= ENOUGH:
            bound = tail_quantile(array, rate)
        elif len(array) >= TOO_FEW:
            bound = max(tail_quantile(array, rate), float(np.median(array)) + tail_quantile(moved, rate))
        else:
            bound = max(tail_quantile(everything, rate), float(array.max(initial=-np.inf)))
        limits[name] = Threshold(max(bound, least), len(array), is_pooled=len(array) < ENOUGH)
    return limits


def lower_limits(values: Mapping[str, npt.ArrayLike], *, most: float, rate: float = RATE) -> dict[str, Threshold]:
    """Lower limit of each class; as `upper_limits`, with `most` in place of `least`."""
    negated = {name: -np.asarray(found, dtype=np.float64) for name, found in values.items()}
    return {
        name: Threshold(-limit.value, limit.images, limit.is_pooled)
        for name, limit in upper_limits(negated, least=-most, rate=rate).items()
    }


def tail_quantile(values: Sequence[float] | npt.NDArray[np.float64], rate: float) -> float:
    """What a share `rate` of such values exceeds, extrapolated by an exponential tail above the upper quartile.

    Args:
        values: (N,), at least one.
        rate: in (0, 0.25].
    """
    array = np.asarray(values, dtype=np.float64)
    quartile = float(np.quantile(array, _QUARTILE))
    beyond = array[array > quartile]
    mean_excess = float((beyond - quartile).mean()) if len(beyond) else 0.0
    return quartile + mean_excess * float(np.log((1 - _QUARTILE) / rate))


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
    return [word for word in REASONS if word in found]


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
        yield TOO_ALIKE
    if _above(scores, "noise", limits.max_noise) or _above(scores, "grain", limits.max_grain):
        yield NOISE
    if _above(scores, "colour_garbage", limits.max_colour_garbage):
        yield COLOUR_GARBAGE
    yield from _of_sharpness(scores, limits)
    if _above(scores, "tone_distance", limits.max_tone):
        yield TONE
    elif _above(scores, "colour_distance", limits.max_colour):
        yield COLOUR
    face = scores.get("face")
    if face is not None and face > 0 and face >= limits.max_face:
        yield FACE
    yield from _of_opinion(scores, limits, is_normal)


def _of_sharpness(scores: Scores, limits: Thresholds) -> Iterable[str]:
    """Soft edges are blur; hard ones with nothing between them are an oil painting."""
    sharp = scores.get("sharpness")
    lacks_texture = _below(scores, "texture", limits.min_texture)
    if _below(scores, "sharpness", limits.min_sharpness):
        yield BLURRED
    elif lacks_texture:
        is_soft = sharp is None or (limits.soft is not None and sharp < limits.soft)
        yield BLURRED if is_soft else OIL_PAINT


def _of_opinion(scores: Scores, limits: Thresholds, is_normal: bool) -> Iterable[str]:
    own = scores.get("p_class")
    if own is not None:
        normal = 0.0 if is_normal else scores.get("p_normal") or 0.0
        other = scores.get("p_other") or 0.0
        is_first = normal > own and normal >= other
        if is_first if limits.max_p_normal is None else normal > limits.max_p_normal:
            yield LOOKS_NORMAL
        elif own < (max(normal, other) if limits.min_p_class is None else limits.min_p_class):
            yield WRONG_CLASS
    if _above(scores, "feature_distance", limits.max_feature_distance):
        yield FAR_FROM_CLASS


def _above(scores: Scores, name: str, limit: float | None) -> bool:
    value = scores.get(name)
    return value is not None and limit is not None and value > limit


def _below(scores: Scores, name: str, limit: float | None) -> bool:
    value = scores.get(name)
    return value is not None and limit is not None and value < limit


@dataclass(frozen=True)
class CurationSettings:
    """Files to compare with, limits, and filters to leave out.

    Raises:
        SettingsError: an unknown word in `skip`, features without those of real images or the other way round, or
            predictions of real images alone.
    """

    real: Path | None = None
    """Folder of class folders of real images; the run's numbered sources by default."""
    sources: Path | None = None
    """Where the numbered sources are now; where the run found them by default."""
    predictions: Path | None = None
    """What a classifier says of the output's images."""
    features: Path | None = None
    """Its features of the output's images."""
    real_predictions: Path | None = None
    """What it says of real images; the limits of its opinion are then learnt from these."""
    real_features: Path | None = None
    """Its features of real images."""
    limits: UserThresholds = field(default_factory=UserThresholds)
    skip: frozenset[str] = frozenset()
    """Reasons that are not applied."""
    normal: str = "Normal"
    """Name of the class of good boards."""
    workers: int | None = None
    """Processes for scoring; by default what the machine has, four at most."""

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        unknown = sorted(self.skip - REASONS.keys())
        if unknown:
            raise SettingsError(f"skip-filter {unknown[0]!r}: no such filter; expected one of {', '.join(REASONS)}")
        if self.real_predictions is not None and self.predictions is None:
            raise SettingsError("predictions of real images alone judge nothing; give --predictions of the output, too")
        if (self.features is None) != (self.real_features is None):
            raise SettingsError(
                "features of the output and of real images belong together; give both --features and --real-features, "
                "each made with 'trainer predict RUN FOLDER --features FILE'"
            )


@dataclass(frozen=True)
class LearnedThresholds:
    """Thresholds of one class; None where the real images do not tell."""

    sharpness: Threshold | None
    """Lowest that is real."""
    soft: float | None
    """Sharpness below which a picture without texture is called blurred, not an oil painting."""
    texture: Threshold | None
    """Lowest that is real, levels."""
    grain: Threshold | None
    """Highest that is real, levels."""
    tone_distance: Threshold | None
    colour_distance: Threshold | None
