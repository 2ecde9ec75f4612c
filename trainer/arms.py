"""One side of a comparison: a run, a folder of runs that differ in their seed, or a predictions file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import DataError, EvaluationError
from .predictions import Predictions, read_predictions
from .run_names import BEST_NAME, RESUME_NAME

SPLIT_NAME = "split.csv"
TEST_FOLDER = "test"

Predictor = Callable[[Path, Path], Predictions]
"""(run folder, image folder) -> what the run's model says about the images."""


@dataclass(frozen=True, eq=False)
class SeedPredictions:
    """What one training of an arm says about the test images."""

    seed: str
    """The name of the run's folder, as "seed-0"."""
    predictions: Predictions
    run: Path | None
    """None for predictions from a file."""


@dataclass(frozen=True, eq=False)
class Arm:
    """The same way of training, once or once per seed."""

    name: str
    seeds: tuple[SeedPredictions, ...]


def predict_run(run: Path, images: Path) -> Predictions:
    """What a run's model says about a folder; the model's libraries are loaded only now."""
    from .predict import predict_folder

    return predict_folder(run, images)


def find_runs(path: Path) -> list[Path]:
    """The runs at `path`: itself, or its `seed-*` folders in the order of their numbers.

    Raises:
        EvaluationError: neither is there, or a training is unfinished.
    """
    if (path / BEST_NAME).is_file():
        _refuse_unfinished(path)
        return [path]
    seeds = sorted((folder for folder in path.glob("seed-*") if folder.is_dir()), key=_natural_key)
    for seed in seeds:
        if not (seed / BEST_NAME).is_file():
            raise EvaluationError(
                f"{seed}: no {BEST_NAME} here, so this training has not finished an epoch; "
                "run the same 'trainer train' again, or remove the folder"
            )
        _refuse_unfinished(seed)
    if not seeds:
        raise EvaluationError(
            f"{path}: neither a run ({BEST_NAME}), nor a folder of seed-* runs, nor a predictions file; "
            "make one with 'trainer train' or 'trainer predict'"
        )
    return seeds


def _refuse_unfinished(run: Path) -> None:
    if (run / RESUME_NAME).is_file():
        raise EvaluationError(
            f"{run}: this training was interrupted, so its best epoch may be yet to come; run the same 'trainer train' "
            "again to finish it"
        )


def load_arm(
    path: Path, data: Path | None, *, name: str, predict: Predictor = predict_run, part: str = TEST_FOLDER
) -> Arm:
    """Predictions of one arm on `DATA/test`, one set a seed; a predictions file is one set as it stands.

    Args:
        path: a run, a folder of seed-* runs, or a predictions.csv.
        data: the DATA folder; may be None for a predictions file.
        name: what the arm is called in tables.
        predict: runs a model over a folder.
        part: which part of DATA, "test" or "val".

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
        name,
        tuple(SeedPredictions(run.name, _with_groups(predict(run, images), data, part), run) for run in runs),
    )


def load_one(
    path: Path, data: Path | None, *, predict: Predictor = predict_run, part: str = TEST_FOLDER
) -> SeedPredictions:
    """Predictions of a single training; arguments and errors as for `load_arm`.

    Raises:
        EvaluationError: also when `path` holds several trainings.
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
    """Short names for arms, all different: the folder's own name, or the whole path where two agree."""
    short = [_short_name(path) for path in paths]
    return [
        name if name and short.count(name) == 1 else path.as_posix() for name, path in zip(short, paths, strict=True)
    ]


def read_groups(split_csv: Path, part: str = TEST_FOLDER) -> dict[str, str]:
    """Image -> group out of a `split.csv`, keyed by the path below `DATA/test`, or below another part.

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
    # An image that the split does not know stands alone; its own path cannot be another's group.
    groups = tuple(group_of.get(image, f"image {image}") for image in predictions.images)
    return replace(predictions, groups=groups)


def _short_name(path: Path) -> str:
    whole = path.resolve()
    if whole.name == "predictions.csv":
        return whole.parent.name
    return whole.stem if whole.suffix.lower() == ".csv" else whole.name


def _natural_key(path: Path) -> tuple[int, str]:
    number = re.search(r"\d+$", path.name)
    return (int(number.group()) if number else -1, path.name)
