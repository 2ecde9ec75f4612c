"""Everything a report shows, as plain frozen data; nothing here reads a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sdcore.messages import Message

from ..compare import Comparison
from .operating import OperatingCurve
from .worst import WorstMistakes

GENUINE_ENGINE_PREFIX = "Stable Diffusion"


@dataclass(frozen=True)
class Curve:
    """The losses of one training."""

    seed: str
    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    val_loss: tuple[float, ...]


@dataclass(frozen=True)
class SeedDiagnosis:
    """What the loss curves of one training say."""

    seed: str
    kind: str
    line: Message
    """One sentence with its figures."""
    advice: tuple[Message, ...] = ()


@dataclass(frozen=True)
class ClassCount:
    """Training images of one class; whole numbers, or means over folds."""

    class_name: str
    real: float
    generated: float
    repeated: float = 0
    """Real images that stand in the training list once more, in a control arm."""

    @property
    def total(self) -> float:
        """Real, generated and repeated."""
        return self.real + self.generated + self.repeated

    @property
    def generated_share(self) -> float | None:
        """In [0, 1]; None without images."""
        return self.generated / self.total if self.total else None


def sum_counts(counts: Sequence[ClassCount]) -> ClassCount:
    """All classes together."""
    return ClassCount(
        "all classes",
        real=sum(one.real for one in counts),
        generated=sum(one.generated for one in counts),
        repeated=sum(one.repeated for one in counts),
    )


@dataclass(frozen=True)
class ArmFacts:
    """How one arm was trained; empty parts for predictions that came as a file."""

    name: str
    counts: tuple[ClassCount, ...] = ()
    engines: tuple[str, ...] = ()
    """What made its generated images, in the makers' own words."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Name -> value as text; settings that vary by seed list their values."""
    curves: tuple[Curve, ...] = ()
    diagnoses: tuple[SeedDiagnosis, ...] = ()
    operating: tuple[OperatingCurve, ...] = ()
    """One a training, on the test images."""


@dataclass(frozen=True)
class MadeImage:
    """A small picture of a generated image, inside the file."""

    data_uri: str
    file: str
    strength: float | None
    """Denoising strength it was asked for; None when the manifest does not say."""
    seed: int


@dataclass(frozen=True)
class SourceSample:
    """A source image beside images generated from it."""

    class_name: str
    source: str | None
    """Data URI; None when the source file is gone."""
    source_name: str
    generated: tuple[MadeImage, ...]


@dataclass(frozen=True)
class GeneratedSet:
    """One folder of generated images."""

    folder: str
    images: int
    engines: tuple[str, ...]
    models: tuple[str, ...]
    parameters: Mapping[str, str]
    samples: tuple[SourceSample, ...]
    missing: Message | None = None
    """Why samples cannot be shown."""
    recorded: int | None = None
    """Of a curated set: how many images there are, accepted or not; None where all were taken."""


@dataclass(frozen=True)
class ReportInputs:
    """All a report needs."""

    comparison: Comparison
    arms: tuple[ArmFacts, ...]
    """In the order of `comparison.arms`."""
    generated_sets: tuple[GeneratedSet, ...] = ()
    worst: WorstMistakes | None = None
    """Of the candidate; None when its predictions are not at hand."""
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    """Test image -> data URI, of those that are shown."""
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """The user's own caveats, shown before those of the comparison."""
    made_at: str = ""

    @property
    def stand_in_engines(self) -> tuple[str, ...]:
        """ReportWords of every engine that was not Stable Diffusion, each once."""
        return stand_ins([*(arm.engines for arm in self.arms), *(one.engines for one in self.generated_sets)])


def stand_ins(engines: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """ReportWords of every engine that was not Stable Diffusion, each once."""
    words = dict.fromkeys(engine for one in engines for engine in one)
    return tuple(engine for engine in words if not engine.startswith(GENUINE_ENGINE_PREFIX))
