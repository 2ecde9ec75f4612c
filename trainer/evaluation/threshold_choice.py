"""Chooses an operating point from validation predictions, and saves both with their run."""

import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import read_json_or_none, sha256_of
from sdcore.messages import Message, message

from ..config import ABNORMAL, NORMAL
from ..errors import EvaluationError, PredictionsError
from ..models.decision_threshold import VALIDATION_PREDICTIONS_NAME, DecisionThreshold, write_operating_point
from ..models.predictions import Predictions, write_predictions
from ..run_files import DATA_NAME
from .arms import Predictor, load_one, predict_run
from .operating_point import choose_threshold

VALIDATION_FOLDER = "val"


@dataclass(frozen=True, eq=False)
class ThresholdChoice:
    """An operating point and the predictions it was chosen from."""

    point: DecisionThreshold
    validation: Predictions
    notes: tuple[Message, ...]
    """Caveats of the promise."""


def choose_for_run(
    run: Path,
    data: Path | None,
    *,
    max_miss_rate: float,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
    predict: Predictor = predict_run,
) -> ThresholdChoice:
    """Predict `DATA/val` with a run and choose its operating point from that.

    Args:
        run: a run folder.
        data: a DATA folder with `val/`; None is refused with an EvaluationError.
        max_miss_rate: in (0, 1).

    Raises:
        SettingsError: `max_miss_rate` is out of range.
        TooFewDefects: so few defects cannot promise it.
        EvaluationError: `run` is not a single run, or labels do not fit.
        DataError: DATA has no `val/`.
    """
    validation = load_one(run, data, predict=predict, part=VALIDATION_FOLDER).predictions
    point = choose_threshold(
        validation,
        max_miss_rate=max_miss_rate,
        normal=normal,
        abnormal=abnormal,
        predictions_sha256=hashlib.sha256(_as_file(validation)).hexdigest(),
    )
    notes = (message("best_epoch_on_validation"), *_note_other_images(run, f"{data}/{VALIDATION_FOLDER}", validation))
    return ThresholdChoice(point, validation, notes)


def choose_from_file(
    path: Path,
    test: Predictions,
    data: Path | None = None,
    *,
    max_miss_rate: float,
    normal: str = NORMAL,
    abnormal: str | None = ABNORMAL,
) -> ThresholdChoice:
    """Choose the operating point from a predictions file of validation images.

    Args:
        test: predictions that the point will be judged on; the file must not hold the same ones.
        data: a DATA folder whose split.csv has the groups of the images, if any.
        max_miss_rate: in (0, 1).

    Raises:
        SettingsError: `max_miss_rate` is out of range.
        TooFewDefects: so few defects cannot promise it.
        EvaluationError: labels do not fit, classes differ from those of `test`, or the predictions are the same.
        PredictionsError: the file cannot be used.
    """
    if not path.is_file():
        raise PredictionsError(
            f"{path}: no such file; expected a predictions file of validation images, as 'trainer predict RUN "
            "DATA/val' writes it"
        )
    validation = load_one(path, data, part=VALIDATION_FOLDER).predictions
    if set(validation.classes) != set(test.classes):
        raise EvaluationError(
            f"{path} has the classes {', '.join(validation.classes)}, the test predictions "
            f"{', '.join(test.classes)}; choose the cut on predictions of the same model"
        )
    if _rows(validation) == _rows(test):
        raise EvaluationError(
            f"{path} holds the very predictions that are to be judged; a cut chosen on test images promises nothing, "
            "so give predictions of validation images"
        )
    point = choose_threshold(
        validation, max_miss_rate=max_miss_rate, normal=normal, abnormal=abnormal, predictions_sha256=sha256_of(path)
    )
    return ThresholdChoice(point, validation, ())


def save_choice(run: Path, choice: ThresholdChoice) -> Path:
    """Write the validation predictions and `operating_point.json` into a run; return the path of the latter.

    Raises:
        OSError: a file cannot be written.
    """
    _write(run / VALIDATION_PREDICTIONS_NAME, choice.validation)
    return write_operating_point(run, choice.point)


def _write(path: Path, predictions: Predictions) -> None:
    write_predictions(
        path, predictions.images, predictions.labels, predictions.classes, predictions.probabilities.tolist()
    )


def _as_file(predictions: Predictions) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VALIDATION_PREDICTIONS_NAME
        _write(path, predictions)
        return path.read_bytes()


def _rows(predictions: Predictions) -> set[tuple[str, str, tuple[float, ...]]]:
    columns = [predictions.classes.index(name) for name in sorted(predictions.classes)]
    values = predictions.probabilities[:, columns].tolist()
    return {
        (image, label, tuple(row))
        for image, label, row in zip(predictions.images, predictions.labels, values, strict=True)
    }


def _note_other_images(run: Path, images: str, validation: Predictions) -> list[Message]:
    """A note where `DATA/val` has changed since the training, by the counts in the run's data.json."""
    there = (read_json_or_none(run / DATA_NAME) or {}).get("val")
    here = Counter(validation.labels)
    if not isinstance(there, dict) or there == dict(here):
        return []
    name = next(one for one in sorted({*there, *here}) if there.get(one, 0) != here[one])
    return [message("validation_changed", images=images, name=name, then=there.get(name, 0), now=here[name])]
