"""Compares a candidate arm with a baseline and a control, image by image; the comparison as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sdcore.messages import Message

from ..config import ABNORMAL, NORMAL
from ..messages import text
from ..models.predictions import Predictions
from . import stats
from .arms import (
    Arm,
    ArmResult,
    MeanRate,
    align,
    compared_statistics,
    confusion_by_group,
    number_groups,
    recall_statistics,
    summarise_arm,
)
from .evaluate import evaluate, evaluation_as_json, interval_as_json, label_images
from .metrics import BoolArray, FloatArray
from .verdict import Difference, SampleSizeNeed, Verdict, give_verdict, images_needed, notes_on


@dataclass(frozen=True)
class Flip:
    """An image that most trainings of one arm judge correctly and most of the other arm wrongly."""

    image: str
    label: str
    first_right: float
    """Share of the first arm's trainings that judge it correctly (Normal/Abnormal)."""
    second_right: float
    first_predicted: str
    """Most frequent prediction of the first arm's trainings; on a tie that of the earlier training."""
    second_predicted: str
    """Likewise of the second arm."""


@dataclass(frozen=True)
class McNemar:
    """Normal/Abnormal correctness of one training of each arm on the same images."""

    first_seed: str
    second_seed: str
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float


@dataclass(frozen=True)
class RecallDifference:
    """Difference of the recall of one class between two arms, second minus first."""

    name: str
    support: int
    """Test images of this class."""
    first: float | None
    """Mean over the first arm's seeds; None when there are no images of this class."""
    second: float | None
    interval: stats.Interval | None
    """95 % percentile interval of the difference, for this class alone."""
    p_value: float | None
    """Two-sided, from the resamples; for this class alone."""
    p_holm: float | None
    """The p-value corrected by Holm for all classes of the comparison."""

    @property
    def value(self) -> float | None:
        """Second minus first."""
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class Contrast:
    """The second arm against the first; every difference is second minus first."""

    first: str
    second: str
    differences: tuple[Difference, ...]
    """The primary metric first."""
    recalls: tuple[RecallDifference, ...]
    """One per class, in class order; empty when the labels do not name the defects."""
    mcnemar: tuple[McNemar, ...]
    worth: SampleSizeNeed | None
    """Sample size needed to see the requested difference; None when none was requested."""


@dataclass(frozen=True)
class Comparison:
    """The answer to "did it help?", with all the figures behind it."""

    images: int
    groups: int | None
    """Number of groups of test images; None when unknown, and each image is its own group."""
    normal: str
    labels: tuple[str, ...]
    """Row names of the confusion matrices."""
    classes: tuple[str, ...]
    """Column names of the confusion matrices."""
    baseline: ArmResult
    candidate: ArmResult
    control: ArmResult | None
    against_baseline: Contrast
    against_control: Contrast | None
    gained: tuple[Flip, ...]
    """Wrong in the baseline, right in the candidate."""
    lost: tuple[Flip, ...]
    verdict: Verdict
    notes: tuple[Message, ...]
    """Caveats of the verdict."""
    resamples: int
    bootstrap_seed: int

    @property
    def arms(self) -> tuple[ArmResult, ...]:
        """Baseline, candidate and, where given, control."""
        return (self.baseline, self.candidate, *((self.control,) if self.control else ()))


def compare(
    baseline: Arm,
    candidate: Arm,
    control: Arm | None = None,
    *,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    resamples: int = stats.RESAMPLES,
    seed: int = 0,
    worth: float | None = None,
) -> Comparison:
    """Compare the candidate with the baseline, and with the control where given, image by image.

    Args:
        baseline: the arm without the change in question.
        candidate: the arm with it.
        control: an arm with as many images from classical augmentation.
        worth: the smallest useful difference of the primary metric, in (0, 1); adds the sample size needed to see it.

    Raises:
        SettingsError: `worth` is out of range.
        EvaluationError: test images, labels or classes differ between arms, or do not fit `normal`.
    """
    arms = [arm for arm in (baseline, candidate, control) if arm is not None]
    reference = arms[0].seeds[0].predictions
    sets = [[align(one.predictions, reference, arms[0].name, arm.name) for one in arm.seeds] for arm in arms]
    labelled = [[label_images(one, normal=normal, abnormal=abnormal) for one in predictions] for predictions in sets]
    truth = labelled[0][0]
    group_of, groups = number_groups(arms, reference)
    counts = [np.stack([confusion_by_group(one, group_of) for one in seeds]) for seeds in labelled]
    results = [
        summarise_arm(arm, [evaluate(one, normal=normal, abnormal=abnormal) for one in predictions], table)
        for arm, predictions, table in zip(arms, sets, counts, strict=True)
    ]
    statistics = compared_statistics(normal=truth.normal, classes=len(truth.classes), named=truth.named)
    recalls = recall_statistics(truth)
    draws = stats.bootstrap_arms(counts, {**statistics, **recalls}, resamples=resamples, seed=seed)
    right = [np.stack([one.is_defective == one.judged_defective for one in seeds]) for seeds in labelled]
    sides = [ContrastSide(*parts, row=row) for row, parts in enumerate(zip(arms, counts, right, strict=True))]
    contrasts = [
        contrast_arms(sides[first], sides[1], statistics, recalls, draws, worth=worth)
        for first in ([0, 2] if control is not None else [0])
    ]
    gained, lost = _flips(sets, right)
    return Comparison(
        images=len(reference.images),
        groups=groups,
        normal=normal,
        labels=truth.names,
        classes=truth.classes,
        baseline=results[0],
        candidate=results[1],
        control=results[2] if control is not None else None,
        against_baseline=contrasts[0],
        against_control=contrasts[1] if control is not None else None,
        gained=gained,
        lost=lost,
        verdict=give_verdict(
            images=len(reference.images),
            names=[result.name for result in results],
            seeds=[len(result.seeds) for result in results],
            against_baseline=contrasts[0].differences,
            against_control=contrasts[1].differences if control is not None else None,
        ),
        notes=notes_on(truth, results, groups),
        resamples=resamples,
        bootstrap_seed=seed,
    )


def _flips(
    sets: Sequence[Sequence[Predictions]], right: Sequence[BoolArray]
) -> tuple[tuple[Flip, ...], tuple[Flip, ...]]:
    first, second = right[0].mean(axis=0), right[1].mean(axis=0)
    reference = sets[0][0]
    flips = [
        Flip(
            image=image,
            label=reference.labels[n],
            first_right=float(first[n]),
            second_right=float(second[n]),
            first_predicted=_most_common(sets[0], n),
            second_predicted=_most_common(sets[1], n),
        )
        for n, image in enumerate(reference.images)
    ]
    gained = [flip for flip in flips if flip.first_right < 0.5 < flip.second_right]
    lost = [flip for flip in flips if flip.second_right < 0.5 < flip.first_right]
    return tuple(gained), tuple(lost)


def _most_common(seeds: Sequence[Predictions], image: int) -> str:
    return Counter(one.predicted[image] for one in seeds).most_common(1)[0][0]


@dataclass(frozen=True, eq=False)
class ContrastSide:
    """One arm of a contrast."""

    arm: Arm
    counts: FloatArray
    """(S, G, L, K) confusion counts."""
    right: BoolArray
    """(S, N) whether each seed judges each image correctly (Normal/Abnormal)."""
    row: int
    """Its row in the resamples."""


def contrast_arms(
    first: ContrastSide,
    second: ContrastSide,
    statistics: Mapping[str, stats.Statistic],
    recalls: Mapping[str, stats.Statistic],
    draws: Mapping[str, stats.Resampled],
    *,
    worth: float | None,
) -> Contrast:
    """Compare two arms.

    Args:
        second: the arm to judge.
        statistics: compared figures by name, the primary metric first.
        recalls: the recall of each class by "recall <class>"; may be empty.
        draws: resamples of all of them.
        worth: the smallest useful difference of the primary metric, in (0, 1), or None.
    """
    differences = tuple(_difference(key, first, second, one, draws[key]) for key, one in statistics.items())
    needed = None
    if worth is not None:
        primary = next(iter(statistics))
        needed = images_needed(
            worth,
            draws[primary],
            rows=(first.row, second.row),
            images=first.right.shape[1],
            seeds=min(len(first.right), len(second.right)),
        )
    return Contrast(
        first=first.arm.name,
        second=second.arm.name,
        differences=differences,
        recalls=_recall_differences(first, second, recalls, draws),
        mcnemar=_mcnemar_by_seed(first, second),
        worth=needed,
    )


def _difference(
    key: str, first: ContrastSide, second: ContrastSide, statistic: stats.Statistic, draws: stats.Resampled
) -> Difference:
    before, after = _level(first, statistic), _level(second, statistic)
    defined = before is not None and after is not None and first.counts.shape[1] > 1
    apart = draws.values[second.row] - draws.values[first.row]
    return Difference(key, before, after, stats.percentile_interval(apart) if defined else None)


def _level(side: ContrastSide, statistic: stats.Statistic) -> float | None:
    """Mean over seeds on all images; None when undefined."""
    value = float(statistic(side.counts.sum(axis=1)).mean())
    return None if np.isnan(value) else value


def _recall_differences(
    first: ContrastSide,
    second: ContrastSide,
    recalls: Mapping[str, stats.Statistic],
    draws: Mapping[str, stats.Resampled],
) -> tuple[RecallDifference, ...]:
    apart = {key: draws[key].values[second.row] - draws[key].values[first.row] for key in recalls}
    p_values = {key: p for key, values in apart.items() if (p := stats.bootstrap_p(values)) is not None}
    adjusted = dict(zip(p_values, stats.holm(list(p_values.values())), strict=True))
    support = first.counts[0].sum(axis=(0, 2))
    return tuple(
        RecallDifference(
            name=key.removeprefix("recall "),
            support=int(support[place]),
            first=_level(first, statistic),
            second=_level(second, statistic),
            interval=stats.percentile_interval(apart[key]),
            p_value=p_values.get(key),
            p_holm=adjusted.get(key),
        )
        for place, (key, statistic) in enumerate(recalls.items())
    )


def _mcnemar_by_seed(first: ContrastSide, second: ContrastSide) -> tuple[McNemar, ...]:
    """One test per pair of trainings: seeds of the same name, or in order where the arms share no name."""
    first_names, second_names = ([one.seed for one in side.arm.seeds] for side in (first, second))
    pairs = [(i, second_names.index(name)) for i, name in enumerate(first_names) if name in second_names]
    if not pairs:
        pairs = [(i, i) for i in range(min(len(first_names), len(second_names)))]
    return tuple(_mcnemar(first_names[i], second_names[j], first.right[i], second.right[j]) for i, j in pairs)


def _mcnemar(first_seed: str, second_seed: str, first: BoolArray, second: BoolArray) -> McNemar:
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    return McNemar(
        first_seed=first_seed,
        second_seed=second_seed,
        both_right=int(np.sum(first & second)),
        only_first=only_first,
        only_second=only_second,
        both_wrong=int(np.sum(~first & ~second)),
        p_value=stats.mcnemar_exact(only_first, only_second),
    )


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """Every figure of a comparison; undefined figures are null."""
    control, contrast = comparison.control, comparison.against_control
    return {
        "verdict": _verdict(comparison.verdict),
        "images": comparison.images,
        "groups": comparison.groups,
        "normal": comparison.normal,
        "labels": list(comparison.labels),
        "classes": list(comparison.classes),
        "arms": {
            "baseline": arm_result_as_json(comparison.baseline),
            "candidate": arm_result_as_json(comparison.candidate),
            "control": arm_result_as_json(control) if control else None,
        },
        "against_baseline": _contrast(comparison.against_baseline),
        "against_control": _contrast(contrast) if contrast else None,
        "gained": [asdict(flip) for flip in comparison.gained],
        "lost": [asdict(flip) for flip in comparison.lost],
        "notes": [text(note) for note in comparison.notes],
        "bootstrap": {"resamples": comparison.resamples, "seed": comparison.bootstrap_seed},
    }


def arm_result_as_json(result: ArmResult) -> dict[str, Any]:
    """Every figure of an arm, by seed and averaged."""
    return {
        "name": result.name,
        "seeds": {
            seed: evaluation_as_json(evaluation)
            for seed, evaluation in zip(result.seeds, result.evaluations, strict=True)
        },
        "rates": {key: _mean_rate(rate) for key, rate in result.rates.items()},
        "named_wrong": _mean_rate(result.named_wrong) if result.named_wrong else None,
        "macro_f1": asdict(result.macro_f1),
        "weighted_f1": asdict(result.weighted_f1),
        "auroc": asdict(result.auroc),
        "per_class": {one.name: asdict(one) for one in result.per_class},
        "confusion": [list(row) for row in result.confusion],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "word": verdict.word,
        "provisional": verdict.provisional,
        "primary": verdict.primary,
        "sentence": text(verdict.sentence),
        "chinese": text(verdict.sentence, "zh"),
    }


def _mean_rate(rate: MeanRate) -> dict[str, Any]:
    return {
        "value": rate.spread.mean,
        "count": rate.count,
        "of": rate.of,
        **interval_as_json(rate.interval),
        "least": rate.spread.least,
        "most": rate.spread.most,
        "sd": rate.spread.sd,
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        "first": contrast.first,
        "second": contrast.second,
        "differences": {
            one.metric: {"first": one.first, "second": one.second, "value": one.value, **interval_as_json(one.interval)}
            for one in contrast.differences
        },
        "recalls": {
            one.name: {
                "first": one.first,
                "second": one.second,
                "value": one.value,
                **interval_as_json(one.interval),
                "support": one.support,
                "p_value": one.p_value,
                "p_holm": one.p_holm,
            }
            for one in contrast.recalls
        },
        "mcnemar": [asdict(test) for test in contrast.mcnemar],
        "worth": {**asdict(contrast.worth), "sentence": text(contrast.worth.sentence)} if contrast.worth else None,
    }
