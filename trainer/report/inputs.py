"""All a report shows, frozen: curves, mistakes, cuts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sdcore.messages import Message

from ..config import ABNORMAL, NORMAL
from ..evaluation.arms import Arm, align
from ..evaluation.compare import Comparison
from ..evaluation.evaluate import defect_scores, label_images
from ..evaluation.metrics import BoolArray, FloatArray, Rate
from ..evaluation.operating_point import miss_overkill_curve
from ..models.decision_threshold import DecisionThreshold
from ..models.predictions import Predictions

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
class ChosenCut:
    """A cut that was chosen on validation images, on the test images."""

    cut: float
    promised: float | None
    """The miss rate that was promised; None when the file does not say."""
    miss_rate: Rate
    overkill_rate: Rate


@dataclass(frozen=True)
class OperatingCurve:
    """What one training does on the test images as the cut moves."""

    seed: str
    overkill_rate: tuple[float, ...]
    """Corners of the curve, the highest cut first: 0 to 1."""
    miss_rate: tuple[float, ...]
    """At the same corners: 1 to 0."""
    chosen: ChosenCut | None


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
class Mistake:
    """An image that most trainings of an arm judge wrongly, Normal/Abnormal."""

    image: str
    label: str
    predicted: str
    """What most of those that judge it wrongly called it; of equally many names the earlier training's."""
    sureness: float
    """What they gave the wrong judgement, on average: p(Normal) of a miss, 1 - p(Normal) of overkill."""


@dataclass(frozen=True)
class WorstMistakes:
    """The mistakes of an arm, the surest first."""

    arm: str
    misses: tuple[Mistake, ...] = ()
    """Defects that pass."""
    overkill: tuple[Mistake, ...] = ()
    """Good images called defective."""


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
        """Names of the engines that were not Stable Diffusion, each once."""
        return stand_ins([*(arm.engines for arm in self.arms), *(one.engines for one in self.generated_sets)])


def stand_ins(engines: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Names of the engines that were not Stable Diffusion, each once."""
    words = dict.fromkeys(engine for one in engines for engine in one)
    return tuple(engine for engine in words if not engine.startswith(GENUINE_ENGINE_PREFIX))


def operating_curve(
    seed: str,
    predictions: Predictions,
    *,
    normal: str,
    abnormal: str | None = ABNORMAL,
    point: DecisionThreshold | None = None,
) -> OperatingCurve:
    """Miss rate and overkill rate at every cut; an image is called defective when 1 - p(normal) reaches the cut.

    Args:
        seed: name of the training.
        point: the cut that was chosen for this training, if any.

    Returns:
        A curve without corners when there is no defect, or no good image.
    """
    labelled = label_images(predictions, normal=normal, abnormal=abnormal)
    scores, is_defective = defect_scores(predictions, labelled.normal), labelled.is_defective
    overkill, miss = _corners(scores, is_defective)
    chosen = None
    if point is not None:
        called = scores >= point.cut
        chosen = ChosenCut(
            point.cut,
            point.max_miss_rate,
            Rate(int(np.sum(is_defective & ~called)), int(is_defective.sum())),
            Rate(int(np.sum(~is_defective & called)), int((~is_defective).sum())),
        )
    return OperatingCurve(seed, tuple(overkill.tolist()), tuple(miss.tolist()), chosen)


def _corners(scores: FloatArray, is_defective: BoolArray) -> tuple[FloatArray, FloatArray]:
    if not is_defective.any() or is_defective.all():
        return np.zeros(0), np.zeros(0)
    curve = miss_overkill_curve(scores, is_defective)
    overkill, miss = curve.overkill_rate[::-1], curve.miss_rate[::-1]
    # A point in the middle of a straight horizontal or vertical stretch shows nothing.
    flat, steep = np.diff(miss) == 0, np.diff(overkill) == 0
    inner = (flat[:-1] & flat[1:]) | (steep[:-1] & steep[1:])
    keep = np.concatenate([[True], ~inner, [True]])
    return overkill[keep], miss[keep]


MOST_WORST = 12
"""Mistakes shown of each kind; the count is always of all."""


def worst_mistakes(arm: Arm, *, normal: str = NORMAL, abnormal: str | None = ABNORMAL) -> WorstMistakes:
    """Find what an arm does worst; equally sure mistakes stand in the order of their images.

    Args:
        arm: every training with labels, of the same images.

    Raises:
        EvaluationError: the trainings judged different images.
    """
    reference = arm.seeds[0].predictions
    seeds = [align(one.predictions, reference, arm.name, arm.name) for one in arm.seeds]
    labelled = [label_images(one, normal=normal, abnormal=abnormal) for one in seeds]
    is_defective = labelled[0].is_defective
    wrongly = np.stack([one.judged_defective != is_defective for one in labelled])
    wrong = wrongly.mean(axis=0) > 0.5
    score = np.stack([defect_scores(one, labelled[0].normal) for one in seeds]).mean(axis=0)

    def ordered(chosen: BoolArray, sureness: Sequence[float]) -> tuple[Mistake, ...]:
        found = [
            Mistake(
                reference.images[n],
                reference.labels[n],
                _most_common([one.predicted[n] for one, is_wrong in zip(seeds, wrongly, strict=True) if is_wrong[n]]),
                float(sureness[n]),
            )
            for n in np.flatnonzero(chosen).tolist()
        ]
        return tuple(sorted(found, key=lambda one: (-one.sureness, one.image)))

    return WorstMistakes(
        arm.name, ordered(wrong & is_defective, (1.0 - score).tolist()), ordered(wrong & ~is_defective, score.tolist())
    )


def _most_common(names: Sequence[str]) -> str:
    return Counter(names).most_common(1)[0][0]
