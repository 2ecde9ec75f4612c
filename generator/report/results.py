"""The settings of a report, and everything that it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..diffusion.sampling import GUIDANCE, STEPS
from ..errors import SettingsError
from .stats import CHANGE_RATE, KEEP_RATE, Figure, SetComparison, Share, StrengthLimits

FORMAT, VERSION = "sd-defects generator report", 1


@dataclass(frozen=True)
class StrengthFindings:
    """Images of one class, or of all classes, generated at one strength."""

    strength: float
    kept: Share
    """Images that the classifier assigns to their class."""
    kept_of_named: Share
    """The same, among images whose source it assigns rightly: the others have no class to lose."""
    changed: Share
    """Images that differ from their source by more than a second photograph of it would."""
    compared: SetComparison
    """With held-out real images of the class; for all classes together, the mean over classes."""


@dataclass(frozen=True)
class OutOfNoise:
    """Images of one class, or of all classes, generated from noise alone."""

    kept: Share
    compared: SetComparison


@dataclass(frozen=True)
class Nearness:
    """How near images from noise are to those learned from."""

    made: int
    real: int
    """Number of real images that the distances are compared with."""
    real_are: str
    """Which images these are, in words."""
    pixel_ratio: Figure
    """Median distance of generated images divided by that of real ones; 1: as near as these."""
    feature_ratio: Figure
    pixel_nearer_rate: float | None
    """How often a generated image is nearer than a real one; 0.5: as near as these."""
    feature_nearer_rate: float | None
    copies: Share
    """Generated images that are too similar to the nearest image learned from."""


@dataclass(frozen=True)
class KeepChangeAnswer:
    """Over the strengths asked about: how many images keep their class, and how many change."""

    strengths: tuple[float, ...]
    kept: Share
    kept_of_named: Share
    """Among the images whose source the classifier assigns rightly."""
    changed: Share
    both: Share
    keep_rate: float
    change_rate: float

    @property
    def keeps(self) -> bool | None:
        """Whether the share that keeps its class is large enough; None where nothing was generated."""
        return None if self.kept.rate is None else self.kept.rate >= self.keep_rate

    @property
    def changes(self) -> bool | None:
        """Whether the share that changes is large enough."""
        return None if self.changed.rate is None else self.changed.rate >= self.change_rate


@dataclass(frozen=True)
class ClassFindings:
    """Everything about one class."""

    name: str
    learned: int
    held_out: int
    sources: int
    sources_named: Share
    """Sources that the classifier assigns to their class."""
    named: Share
    """Held-out real images that it assigns to their class: how well `kept` can be measured at all."""
    floor_sources: SetComparison
    """The sources themselves against held-out images: what strength 0 would give."""
    floor_held_out: SetComparison
    """Some held-out images, if possible as many as were generated, against the others."""
    at: tuple[StrengthFindings, ...]
    out_of_noise: OutOfNoise
    nearness: Nearness
    limits: StrengthLimits
    asked: KeepChangeAnswer


Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class NearPair:
    """An image from noise, and the images learned from that are nearest to it."""

    class_name: str
    made: Pixels
    """In the orientation of its neighbour."""
    in_pixels: Pixels
    in_features: Pixels
    in_pixels_file: str
    in_features_file: str
    distance: float
    """To `in_pixels`; root mean square of grey levels."""
    ratio: float | None
    """That distance divided by the median distance of real images of its class."""
    is_copy: bool


class ReportSettings(BaseModel):
    """All settings of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strengths: tuple[float, ...] = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """In rising order, each above 0 and below 1."""
    asked: tuple[float, float] = (0.25, 0.5)
    """Lowest and highest strength over which keeping and changing are counted together."""
    per_class: int = Field(24, ge=2)
    """Sources of each class, at most, and images of each class from noise."""
    k: int = Field(3, ge=1, le=20)
    """A ball of the manifold reaches to the k-th nearest neighbour."""
    keep_rate: float = Field(KEEP_RATE, gt=0, le=1)
    change_rate: float = Field(CHANGE_RATE, gt=0, le=1)
    steps: int = Field(STEPS, ge=2, le=1000)
    cfg_scale: float = Field(GUIDANCE, ge=1, le=30)
    draws: int = Field(200, ge=20)
    """Random halves for the intervals of precision, recall and kernel distance."""
    seed: int = Field(0, ge=0, lt=2**31)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(None, ge=1)
    """CPU threads; None: as many as this process may use."""

    @model_validator(mode="after")
    def _refuse_disorder(self) -> ReportSettings:
        if not self.strengths or any(not 0 < one < 1 for one in self.strengths):
            raise ValueError(f"strengths: found {self.strengths}; expected one or more above 0 and below 1")
        if list(self.strengths) != sorted(set(self.strengths)):
            raise ValueError(f"strengths: found {self.strengths}; expected them in rising order, each once")
        return self


@dataclass(frozen=True, eq=False)
class Findings:
    """The whole report."""

    model: str
    model_sha256: str
    size_px: int
    data: str
    classifier: str
    classifier_checkpoint_sha256: str
    settings: ReportSettings
    classes: tuple[ClassFindings, ...]
    together: tuple[StrengthFindings, ...]
    out_of_noise: OutOfNoise
    floor_sources: SetComparison
    floor_held_out: SetComparison
    limits: StrengthLimits
    answer: KeepChangeAnswer
    notes: tuple[str, ...]
    nearest: tuple[NearPair, ...]
    """Nearest first."""
    sheet: bytes
    """PNG."""

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON, without the images."""
        found = {name: value for name, value in _plain(self).items() if name not in ("sheet", "nearest")}
        nearest = [
            {
                "class": one.class_name,
                "nearest_in_pixels": one.in_pixels_file,
                "nearest_in_features": one.in_features_file,
                "rms_levels": one.distance,
                "ratio": one.ratio,
                "is_copy": one.is_copy,
            }
            for one in self.nearest
        ]
        return {"format": FORMAT, "version": VERSION, **found, "nearest": nearest}


def _plain(value: Any) -> Any:
    """A value as plain JSON; shares get their rate, answers their verdicts."""
    if isinstance(value, ReportSettings):
        return value.model_dump(mode="json")
    if isinstance(value, Share):
        return {**asdict(value), "rate": value.rate}
    if isinstance(value, NearPair | bytes):
        return None
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        plain = {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
        if isinstance(value, KeepChangeAnswer):
            plain |= {"keeps": value.keeps, "changes": value.changes}
        return plain
    return value


SAMPLER = "DPM++ 2M Karras"
"""The name in a WebUI of the sampler of `generator.diffusion.sampling.sample`."""


def make_settings(**settings: Any) -> ReportSettings:
    """`ReportSettings` from a user's settings.

    Raises:
        SettingsError: a setting is out of range; the message names the first.
    """
    try:
        return ReportSettings.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        words = first["msg"].removeprefix("Value error, ")
        if first["type"] != "value_error":
            words = f"{'.'.join(map(str, first['loc']))}: found {first['input']!r}; {words.lower()}"
        raise SettingsError(words) from error
