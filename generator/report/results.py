"""What a report found; plain values, but for the pictures of its pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .figures import Figure, Share
from .manifold import SetComparison
from .material import Pixels
from .settings import ReportSettings
from .strengths import StrengthLimits

FORMAT, VERSION = "sd-defects generator report", 1


@dataclass(frozen=True)
class AtStrength:
    """Pictures of one class, or of all, made at one strength."""

    strength: float
    kept: Share
    """Called their class by the classifier."""
    kept_of_named: Share
    """The same, of the pictures whose source it calls by its class: no other can lose what it sees."""
    changed: Share
    """Differ from their source by more than taking it again would change."""
    compared: SetComparison
    """With held-out real pictures of the class; of all classes together the mean over classes."""


@dataclass(frozen=True)
class OutOfNoise:
    """Pictures of one class, or of all, made from noise alone."""

    kept: Share
    compared: SetComparison


@dataclass(frozen=True)
class Nearness:
    """How near pictures out of noise lie to those learned from."""

    made: int
    real: int
    """Real pictures whose distances are the measure."""
    real_are: str
    """Which those are, in words."""
    pixel_ratio: Figure
    """Median distance of made pictures by that of real ones; 1 is as near as real ones."""
    feature_ratio: Figure
    pixel_nearer_rate: float | None
    """How often a made picture lies nearer than a real one; 0.5 is as real ones."""
    feature_nearer_rate: float | None
    copies: Share
    """Made pictures that are too alike to the nearest one learned from."""


@dataclass(frozen=True)
class ClassFindings:
    """Everything about one class."""

    name: str
    learned: int
    held_out: int
    sources: int
    sources_named: Share
    """Sources that the classifier calls by their class."""
    named: Share
    """Held-out real pictures that it calls by their class: how far keeping can be measured."""
    floor_sources: SetComparison
    """The sources themselves against held-out pictures: what strength 0 gives."""
    floor_held_out: SetComparison
    """Some held-out pictures, as many as were made where there are, against the others."""
    at: tuple[AtStrength, ...]
    out_of_noise: OutOfNoise
    nearness: Nearness
    limits: StrengthLimits
    asked: Answer


@dataclass(frozen=True)
class Answer:
    """Over the strengths asked about: how many images keep their class, and how many change."""

    strengths: tuple[float, ...]
    kept: Share
    kept_of_named: Share
    """Of the pictures whose source the classifier calls by its class."""
    changed: Share
    both: Share
    keep_rate: float
    change_rate: float

    @property
    def keeps(self) -> bool | None:
        """Whether the share that keeps its class is large enough; None where nothing was made."""
        return None if self.kept.rate is None else self.kept.rate >= self.keep_rate

    @property
    def changes(self) -> bool | None:
        """Whether the share that changes is large enough."""
        return None if self.changed.rate is None else self.changed.rate >= self.change_rate


@dataclass(frozen=True, eq=False)
class NearPair:
    """A picture out of noise, and what it is nearest to."""

    class_name: str
    made: Pixels
    """Turned as its neighbour lies."""
    in_pixels: Pixels
    in_features: Pixels
    in_pixels_file: str
    in_features_file: str
    distance: float
    """To the first, root mean square of levels."""
    ratio: float | None
    """That distance by the median one of real pictures of its class."""
    is_copy: bool


@dataclass(frozen=True, eq=False)
class Findings:
    """The whole report."""

    model: str
    model_sha256: str
    size_px: int
    """Side of its pictures."""
    data: str
    classifier: str
    classifier_checkpoint_sha256: str
    settings: ReportSettings
    classes: tuple[ClassFindings, ...]
    together: tuple[AtStrength, ...]
    out_of_noise: OutOfNoise
    floor_sources: SetComparison
    floor_held_out: SetComparison
    limits: StrengthLimits
    answer: Answer
    notes: tuple[str, ...]
    nearest: tuple[NearPair, ...]
    """Nearest first."""
    sheet: bytes
    """PNG."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, the pictures left out."""
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
    """Dataclasses as mappings, shares with their rate, answers with their verdicts."""
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
        if isinstance(value, Answer):
            plain |= {"keeps": value.keeps, "changes": value.changes}
        return plain
    return value
