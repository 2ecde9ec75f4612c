"""Thresholds, learned from real images or given by the user, and the reasons to reject an image by them.

A limit is the quantile that a share `RATE` of real images exceeds. Nobody has hundreds of images of a rare defect, so
the far quantile is extrapolated: beyond the upper quartile the values are assumed to fall exponentially (the
peaks-over-threshold estimate with shape 0; Coles 2001, ch. 4), q75 + b ln(0.25 / RATE), where b is the mean excess over
the quartile. A lower limit is the upper limit of the negated values.

A class with fewer than `ENOUGH` real images also uses the tail of all classes, each shifted so that the medians agree;
the limit is the laxer of the two. Below `TOO_FEW` the median of the class cannot be trusted, and the values of all
classes are pooled unshifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError
from . import reasons

RATE = 0.005
"""Share of real images that each limit may reject."""
ENOUGH = 30
TOO_FEW = 5

_QUARTILE = 0.75


@dataclass(frozen=True)
class Threshold:
    """A bound and the images that it was learned from."""

    value: float
    images: int
    """Real images of the class itself."""
    is_pooled: bool
    """Whether other classes were used too."""


def upper_limits(values: Mapping[str, npt.ArrayLike], *, least: float, rate: float = RATE) -> dict[str, Threshold]:
    """Upper limit of each class, which a share `rate` of its real images may exceed; empty where no class has a value.

    `values` are (N,) of the real images of each class, without NaN. No limit is below `least`, however alike the real
    images are.
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
    limits = upper_limits(negated, least=-most, rate=rate)
    return {name: replace(limit, value=-limit.value) for name, limit in limits.items()}


def tail_quantile(values: Sequence[float] | npt.NDArray[np.float64], rate: float) -> float:
    """Value that a share `rate` in (0, 0.25] of such values (N,), at least one, exceeds.

    It is extrapolated by an exponential tail above the upper quartile.
    """
    array = np.asarray(values, dtype=np.float64)
    quartile = float(np.quantile(array, _QUARTILE))
    beyond = array[array > quartile]
    mean_excess = float((beyond - quartile).mean()) if len(beyond) else 0.0
    return quartile + mean_excess * float(np.log((1 - _QUARTILE) / rate))


DEFAULT_NOISE = 0.5
DEFAULT_FACE = 0.7
"""Threshold of the last stage of MTCNN."""

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class UserThresholds:
    """Thresholds that the user set; None leaves one to its learned or default value."""

    max_ssim: float | None = None
    """Too alike from this similarity; by default that of each source to its retake."""
    max_twin_ssim: float | None = None
    """Near duplicates from this similarity; default as `max_ssim`."""
    max_noise: float | None = None
    max_colour_garbage: float | None = None
    max_grain: float | None = None
    min_sharpness: float | None = None
    min_texture: float | None = None
    max_tone: float | None = None
    max_colour: float | None = None
    max_face: float | None = None
    min_p_class: float | None = None
    """Lowest probability of its class; by default no other class may be more probable."""
    max_p_normal: float | None = None
    """Highest probability of Normal; by default Normal may not be the most probable class."""
    max_feature_distance: float | None = None


@dataclass(frozen=True)
class LearnedThresholds:
    """Thresholds of one class; None where no real image has a value."""

    sharpness: Threshold | None
    """Lowest that is real."""
    soft: float | None
    """Sharpness below which an image without texture counts as blurred, not as an oil painting."""
    texture: Threshold | None
    """Lowest that is real, levels."""
    grain: Threshold | None
    """Highest that is real, levels."""
    tone_distance: Threshold | None
    colour_distance: Threshold | None


@dataclass(frozen=True)
class Thresholds:
    """The limits of one class as they are applied."""

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
    """Real images of the class that the limits were learned from."""
    pooled: tuple[str, ...] = field(default=())
    """Names of thresholds for which other classes were used too."""

    @classmethod
    def of(
        cls,
        given: UserThresholds,
        learned: LearnedThresholds,
        real_images: int,
        opinion: Mapping[str, Threshold | None] | None = None,
    ) -> Thresholds:
        """Each limit as given, else as learned from the real images of the class, else its default.

        `opinion` are learned limits of a classifier's opinion, by field name.
        """
        from_real = {
            "max_grain": learned.grain,
            "min_sharpness": learned.sharpness,
            "min_texture": learned.texture,
            "max_tone": learned.tone_distance,
            "max_colour": learned.colour_distance,
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
        return cls(**values, soft=learned.soft, real_images=real_images, pooled=tuple(pooled))  # type: ignore[arg-type]


def rejection_reasons(
    scores: Scores, limits: Thresholds, *, is_normal: bool, skip: frozenset[str] = frozenset()
) -> list[str]:
    """Why an image is rejected, except for near duplicates, in the order of `REASONS` and without those in `skip`.

    A score that is missing or None rejects nothing. `is_normal`: the image's class is that of images without a defect.
    """
    found = {word for word in _reasons_for(scores, limits, is_normal) if word not in skip}
    return [word for word in reasons.REASONS if word in found]


def duplicate_threshold(scores: Scores, limits: Thresholds, other: Scores) -> float:
    """Similarity from which two images are near duplicates: the lower retake similarity of their sources."""
    if limits.max_twin_ssim is not None:
        return limits.max_twin_ssim
    floors = [floor for one in (scores, other) if (floor := one.get("ssim_reimaged")) is not None]
    return min(floors, default=1.0)


def _reasons_for(scores: Scores, limits: Thresholds, is_normal: bool) -> Iterable[str]:
    alike_from = limits.max_ssim if limits.max_ssim is not None else scores.get("ssim_reimaged")
    inside = scores.get("ssim_inside")
    if inside is not None and alike_from is not None and inside >= alike_from:
        yield reasons.TOO_ALIKE
    if _above(scores, "noise", limits.max_noise) or _above(scores, "grain", limits.max_grain):
        yield reasons.NOISE
    if _above(scores, "colour_garbage", limits.max_colour_garbage):
        yield reasons.COLOUR_GARBAGE
    yield from _sharpness_reasons(scores, limits)
    if _above(scores, "tone_distance", limits.max_tone):
        yield reasons.TONE
    elif _above(scores, "colour_distance", limits.max_colour):
        yield reasons.COLOUR
    face = scores.get("face")
    if face is not None and face > 0 and face >= limits.max_face:
        yield reasons.FACE
    yield from _opinion_reasons(scores, limits, is_normal)


def _sharpness_reasons(scores: Scores, limits: Thresholds) -> Iterable[str]:
    """Soft edges are blur; hard edges without texture between them are an oil painting."""
    sharp = scores.get("sharpness")
    if _below(scores, "sharpness", limits.min_sharpness):
        yield reasons.BLURRED
    elif _below(scores, "texture", limits.min_texture):
        is_soft = sharp is None or (limits.soft is not None and sharp < limits.soft)
        yield reasons.BLURRED if is_soft else reasons.OIL_PAINT


def _opinion_reasons(scores: Scores, limits: Thresholds, is_normal: bool) -> Iterable[str]:
    own = scores.get("p_class")
    if own is not None:
        normal = 0.0 if is_normal else scores.get("p_normal") or 0.0
        other = scores.get("p_other") or 0.0
        is_first = normal > own and normal >= other
        if is_first if limits.max_p_normal is None else normal > limits.max_p_normal:
            yield reasons.LOOKS_NORMAL
        elif own < (max(normal, other) if limits.min_p_class is None else limits.min_p_class):
            yield reasons.WRONG_CLASS
    if _above(scores, "feature_distance", limits.max_feature_distance):
        yield reasons.FAR_FROM_CLASS


def _above(scores: Scores, name: str, limit: float | None) -> bool:
    value = scores.get(name)
    return value is not None and limit is not None and value > limit


def _below(scores: Scores, name: str, limit: float | None) -> bool:
    value = scores.get(name)
    return value is not None and limit is not None and value < limit


@dataclass(frozen=True)
class CurationSettings:
    """Files to compare with, limits, and filters to leave out; `SettingsError` for a combination that is impossible."""

    real: Path | None = None
    """Folder of class folders of real images; the run's numbered sources by default."""
    sources: Path | None = None
    """Where the numbered sources are now; where the run found them by default."""
    predictions: Path | None = None
    """A classifier's predictions of the output's images."""
    features: Path | None = None
    """Its features of the output's images."""
    real_predictions: Path | None = None
    """Its predictions of real images; the limits of its opinion are then learned from these."""
    real_features: Path | None = None
    """Its features of real images."""
    limits: UserThresholds = field(default_factory=UserThresholds)
    skip: frozenset[str] = frozenset()
    """Reasons that are not applied."""
    normal: str = "Normal"
    """Name of the class of images without a defect."""
    workers: int | None = None
    """Processes for scoring; by default one a core, four at most."""

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        unknown = sorted(self.skip - reasons.REASONS.keys())
        if unknown:
            raise SettingsError(
                f"skip-filter {unknown[0]!r}: no such filter; expected one of {', '.join(reasons.REASONS)}"
            )
        if self.real_predictions is not None and self.predictions is None:
            raise SettingsError("predictions of real images alone judge nothing; give --predictions of the output, too")
        if (self.features is None) != (self.real_features is None):
            raise SettingsError(
                "features of the output and of real images belong together; give both --features and --real-features, "
                "each made with 'trainer predict RUN FOLDER --features FILE'"
            )
