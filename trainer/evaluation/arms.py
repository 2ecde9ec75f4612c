"""Arms of a comparison: loaded from runs or files, aligned, and summarised over their seeds."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import DataError, EvaluationError
from ..models.predictions import Predictions, read_predictions
from ..run_files import find_runs
from . import metrics
from .evaluate import Evaluation, LabelledImages
from .stats import Interval, Statistic, clopper_pearson

SPLIT_NAME = "split.csv"
TEST_FOLDER = "test"

Predictor = Callable[[Path, Path], Predictions]
"""(run folder, image folder) -> the predictions of the run's model for the images."""


@dataclass(frozen=True, eq=False)
class SeedPredictions:
    """Predictions of one training of an arm on the test images."""

    seed: str
    """Name of the run folder, as "seed-0"."""
    predictions: Predictions
    run: Path | None
    """None for predictions from a file."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One way of training, with one or several seeds."""

    name: str
    seeds: tuple[SeedPredictions, ...]


def predict_run(run: Path, images: Path) -> Predictions:
    """Predictions of a run's model for a folder of images."""
    from ..models.predict import predict_folder  # loads torch, which predictions from a file do not need

    return predict_folder(run, images)


def load_arm(
    path: Path, data: Path | None, *, name: str, predict: Predictor = predict_run, part: str = TEST_FOLDER
) -> Arm:
    """Predictions of one arm on `DATA/test`, one set per seed; a predictions file is a single set.

    Args:
        path: a run, a folder of seed-* runs, or a predictions.csv.
        data: the DATA folder; may be None for a predictions file.
        part: of DATA, "test" or "val".

    Raises:
        EvaluationError: no run there, or a run without DATA.
        DataError: DATA has no such folder, or its split.csv cannot be read.
        PredictionsError: the predictions file cannot be used.
    """
    if path.is_file() or path.suffix.lower() == ".csv":
        return Arm(name, (SeedPredictions("file", _with_groups(read_predictions(path), data, part), None),))
    runs = find_runs(path)
    if data is None:
        raise EvaluationError(
            f"{path} is a run, and there is no DATA to judge it on; add the folder that holds {part}/"
        )
    images = data / part
    if not images.is_dir():
        raise DataError(
            f"{images}: no such folder; expected DATA to hold train/, val/ and test/ as 'trainer split' makes them"
        )
    return Arm(
        name, tuple(SeedPredictions(run.name, _with_groups(predict(run, images), data, part), run) for run in runs)
    )


def load_one(
    path: Path, data: Path | None, *, predict: Predictor = predict_run, part: str = TEST_FOLDER
) -> SeedPredictions:
    """Predictions of a single training; arguments and errors as for `load_arm`.

    Raises:
        EvaluationError: `path` holds several trainings.
    """
    if not (path.is_file() or path.suffix.lower() == ".csv"):
        runs = find_runs(path)
        if len(runs) > 1:
            raise EvaluationError(
                f"{path} holds {len(runs)} trainings ({', '.join(run.name for run in runs)}); evaluate one, as "
                f"{runs[0]}, or compare all of them with 'trainer compare'"
            )
    return load_arm(path, data, name=path.name, predict=predict, part=part).seeds[0]


def name_arms(paths: Sequence[Path]) -> list[str]:
    """Short, unique names for arms: the name of the folder, or the whole path where two are equal."""
    short = [_short_name(path) for path in paths]
    return [
        name if name and short.count(name) == 1 else path.as_posix() for name, path in zip(short, paths, strict=True)
    ]


def read_groups(split_csv: Path, part: str = TEST_FOLDER) -> dict[str, str]:
    """Image -> group from a `split.csv`, keyed by the path below `DATA/<part>`.

    Raises:
        DataError: the file cannot be read, or has no columns `file` and `group`.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(split_csv.read_text(encoding="utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{split_csv}: not readable as CSV in UTF-8: {error}; run 'trainer split' again") from error
    if rows and not {"file", "group"} <= set(rows[0]):
        raise DataError(
            f"{split_csv}: columns {', '.join(rows[0])}; expected 'file' and 'group' among them; "
            "run 'trainer split' again"
        )
    return {
        row["file"].removeprefix(f"{part}/"): row["group"]
        for row in rows
        if row["group"] and row.get("split", part) == part
    }


def _with_groups(predictions: Predictions, data: Path | None, part: str) -> Predictions:
    if predictions.groups is not None or data is None or not (data / SPLIT_NAME).is_file():
        return predictions
    group_of = read_groups(data / SPLIT_NAME, part)
    if not any(image in group_of for image in predictions.images):
        return predictions
    # An image that is missing in the split forms its own group; its path differs from all group names.
    groups = tuple(group_of.get(image, f"image {image}") for image in predictions.images)
    return replace(predictions, groups=groups)


def _short_name(path: Path) -> str:
    whole = path.resolve()
    if whole.name == "predictions.csv":
        return whole.parent.name
    return whole.stem if whole.suffix.lower() == ".csv" else whole.name


def align(other: Predictions, reference: Predictions, first: str, second: str) -> Predictions:
    """`other` with its images and classes in the order of `reference`.

    Args:
        other: predictions of any arm.
        reference: predictions that define the order.
        first: name of the reference's arm in messages.
        second: name of the other's arm.

    Raises:
        EvaluationError: images, labels or classes differ.
    """
    if set(other.classes) != set(reference.classes):
        raise EvaluationError(
            f"the class lists differ: {first} has {', '.join(reference.classes)}; {second} has "
            f"{', '.join(other.classes)}; compare models that were trained on the same classes"
        )
    place = {image: index for index, image in enumerate(other.images)}
    apart = set(place) ^ set(reference.images)
    if apart:
        image = min(apart)
        only = second if image in place else first
        raise EvaluationError(
            f"the test sets differ: {image!r} and {len(apart) - 1} other image(s) are in one of them alone "
            f"(this one in {only}); judge both on the same DATA"
        )
    rows = [place[image] for image in reference.images]
    labels = tuple(other.labels[row] for row in rows)
    for row, expected, found in zip(rows, reference.labels, labels, strict=True):
        if expected != found:
            raise EvaluationError(
                f"the test sets differ: {other.where(row)} is labelled {found!r} in {second} and {expected!r} in "
                f"{first}; judge both on the same DATA"
            )
    columns = [other.classes.index(name) for name in reference.classes]
    return replace(
        other,
        images=reference.images,
        labels=labels,
        classes=reference.classes,
        predicted=tuple(other.predicted[row] for row in rows),
        probabilities=other.probabilities[np.ix_(rows, columns)],
        groups=tuple(other.groups[row] for row in rows) if other.groups else None,
        lines=tuple(other.lines[row] for row in rows) if other.lines else (),
    )


def number_groups(arms: Sequence[Arm], reference: Predictions) -> tuple[metrics.IntArray, int | None]:
    """(N,) group number of each reference image, and the number of groups from the first arm that has them.

    Where no two images share a group, each image is its own group and the number is None.
    """
    for arm in arms:
        for one in arm.seeds:
            if one.predictions.groups is not None:
                group_of = dict(zip(one.predictions.images, one.predictions.groups, strict=True))
                names = [group_of[image] for image in reference.images]
                levels, numbers = np.unique(names, return_inverse=True)
                # A file with one group per image says no more than one without groups.
                known = len(levels) if len(levels) < len(names) else None
                return numbers.astype(np.int64), known
    return np.arange(len(reference.images), dtype=np.int64), None


@dataclass(frozen=True)
class Spread:
    """Distribution of a figure over the seeds of an arm; None where undefined."""

    mean: float | None
    least: float | None
    most: float | None
    sd: float | None
    """Sample standard deviation over seeds; None with one seed."""


@dataclass(frozen=True)
class MeanRate:
    """A rate averaged over seeds, all of which judged the same `of` images."""

    spread: Spread
    count: float
    """Mean count over seeds."""
    of: int
    interval: Interval | None
    """Clopper-Pearson interval of `count` of `of`: each image counts once, however many seeds judged it."""


@dataclass(frozen=True)
class ClassMeans:
    """Scores of one class, averaged over the seeds of an arm."""

    name: str
    precision: Spread
    recall: Spread
    f1: Spread
    support: int
    """Test images of this class."""


@dataclass(frozen=True)
class ArmResult:
    """Results of one arm."""

    name: str
    seeds: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    """One per seed, in the order of `seeds`."""
    rates: Mapping[str, MeanRate]
    """By the keys of `metrics.RATE_DEFINITIONS`."""
    named_wrong: MeanRate | None
    """Defects judged defective under another defect's name, of all defects; None where labels do not name defects."""
    macro_f1: Spread
    weighted_f1: Spread
    auroc: Spread
    per_class: tuple[ClassMeans, ...]
    """In class order; empty when the labels do not name the defects."""
    confusion: tuple[tuple[int, ...], ...]
    """L x K counts added up over seeds, row = label, column = predicted class."""


def summarise_arm(arm: Arm, evaluations: Sequence[Evaluation], table: metrics.FloatArray) -> ArmResult:
    """Average an arm's evaluations over its seeds.

    Args:
        arm: S trainings.
        evaluations: one per training, of the same images.
        table: (S, G, L, K) confusion counts.
    """
    wrong = [evaluation.named_wrong for evaluation in evaluations if evaluation.named_wrong]
    named = [evaluation.multiclass for evaluation in evaluations]
    pooled = table.sum(axis=(0, 1)).astype(np.int64)
    return ArmResult(
        name=arm.name,
        seeds=tuple(one.seed for one in arm.seeds),
        evaluations=tuple(evaluations),
        rates={
            one.key: _average([evaluation.binary.rates[one.key] for evaluation in evaluations])
            for one in metrics.RATE_DEFINITIONS
        },
        named_wrong=_average(wrong) if wrong else None,
        macro_f1=_spread([scores.macro_f1 if scores else None for scores in named]),
        weighted_f1=_spread([scores.weighted_f1 if scores else None for scores in named]),
        auroc=_spread([evaluation.auroc for evaluation in evaluations]),
        per_class=_average_classes([scores for scores in named if scores]),
        confusion=tuple(tuple(row) for row in pooled.tolist()),
    )


def _average(rates: Sequence[metrics.Rate]) -> MeanRate:
    count = sum(rate.count for rate in rates) / len(rates)
    return MeanRate(
        spread=_spread([rate.value for rate in rates]),
        count=count,
        of=rates[0].of,
        interval=clopper_pearson(count, rates[0].of),
    )


def _average_classes(scores: Sequence[metrics.MulticlassScores]) -> tuple[ClassMeans, ...]:
    return tuple(
        ClassMeans(
            name=same[0].name,
            precision=_spread([one.precision.value for one in same]),
            recall=_spread([one.recall.value for one in same]),
            f1=_spread([one.f1 for one in same]),
            support=same[0].support,
        )
        for same in zip(*(one.per_class for one in scores), strict=True)
    )


def _spread(values: Sequence[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return Spread(None, None, None, None)
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Spread(float(np.mean(known)), min(known), max(known), sd)


MACRO_F1 = "macro_f1"
JUDGED_RATES = ("accuracy", "miss_rate", "overkill_rate")
"""The compared figures of the Normal/Abnormal judgement."""


def confusion_by_group(labelled: LabelledImages, group_of: metrics.IntArray) -> metrics.FloatArray:
    """(G, L, K) counts: group, label, predicted class.

    Args:
        labelled: N images.
        group_of: (N,) in [0, G).
    """
    rows, columns = len(labelled.names), len(labelled.classes)
    groups = int(group_of.max()) + 1
    cell = (group_of * rows + labelled.true) * columns + labelled.predicted
    counted = np.bincount(cell, minlength=groups * rows * columns)
    return counted.reshape(groups, rows, columns).astype(np.float64)


def compared_statistics(*, normal: int, classes: int, named: bool) -> dict[str, Statistic]:
    """The figures that are resampled, each a function of an (..., L, K) confusion.

    Args:
        normal: row and column of the Normal class.
        named: whether every label is a class; otherwise there is no macro-F1.
    """
    by_name: dict[str, Statistic] = {MACRO_F1: lambda table: metrics.macro_f1_of_confusion(table[..., :classes, :])}
    return {**(by_name if named else {}), **{key: _binary_statistic(key, normal) for key in JUDGED_RATES}}


def recall_statistics(truth: LabelledImages) -> dict[str, Statistic]:
    """The recall of every class by "recall <class>"; empty where labels do not name the defects."""
    size = len(truth.classes) if truth.named else 0
    return {f"recall {truth.classes[k]}": _recall_statistic(k) for k in range(size)}


def _recall_statistic(k: int) -> Statistic:
    return lambda table: metrics.recall_of_confusion(table, k)


def _binary_statistic(key: str, normal: int) -> Statistic:
    return lambda table: metrics.binary_rate_of_confusion(table, key, normal=normal)
