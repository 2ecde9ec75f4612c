"""A classifier's opinion, from its prediction files.

`predictions.csv` has the columns `image` and one `p_<class>` a class; a features file (`numpy.savez`, no pickles) holds
`features` (N, D), `images` and `labels` (N,). Any other program may write them.

Images are named as `trainer predict OUTPUT` names them, relative to the output folder; a path into the output folder is
accepted too.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError
from ..manifest.curation import ImageRow
from .thresholds import CurationSettings, Threshold, upper_limits

_PREFIX = "p_"
_SUM_TOLERANCE = 1e-3
_LEAST_PROBABILITY = 1e-9

OPINION_RATE = 0.02
"""Share of real images that each limit of probabilities may reject."""

Opinion = dict[str, float | None]
"""Probabilities `p_class`, `p_normal` and `p_other` (the highest of the rest); None for a class it does not know."""


@dataclass(frozen=True)
class OpinionLimits:
    """Thresholds by class; empty where no real images were given."""

    min_p_class: Mapping[str, Threshold]
    max_p_normal: Mapping[str, Threshold]
    max_feature_distance: Mapping[str, Threshold]


class ClassifierOpinions:
    """A classifier's opinion of an output, from the files that `settings` names; they are read on first use."""

    def __init__(self, output: Path, settings: CurationSettings) -> None:
        self._output = output
        self._settings = settings
        self._space: FeatureSpace | None = None
        self._limits: OpinionLimits | None = None

    def scores(self, done: Sequence[ImageRow]) -> dict[str, Opinion]:
        """Scores by file of the images that the files name; empty where no file was given.

        `done` is every image of the output. The files know images by name alone, so an image that was made after a file
        was written does not count as named.

        Raises:
            SettingsError: a file that cannot be used.
        """
        settings = self._settings
        found: dict[str, Opinion] = {}
        if settings.predictions is not None:
            class_of = _made_before(settings.predictions, done)
            found = read_opinions(settings.predictions, self._output, class_of, normal=settings.normal)
        space = self._read_space()
        if space is not None and settings.features is not None:
            names, _, features = read_features(settings.features)
            class_of = _made_before(settings.features, done)
            for name, row in zip(names, features, strict=True):
                file = resolve(name, self._output, class_of)
                if file is not None:
                    found.setdefault(file, {})["feature_distance"] = space.distance(class_of[file], row)
        return found

    def limits(self) -> OpinionLimits:
        """Limits learned from real images; empty where none were given.

        Raises:
            SettingsError: a file that cannot be used.
        """
        if self._limits is None:
            space = self._read_space()
            real = self._settings.real_predictions
            self._limits = OpinionLimits(
                *(({}, {}) if real is None else learn_from_predictions(real, normal=self._settings.normal)),
                {} if space is None else space.limits(),
            )
        return self._limits

    def _read_space(self) -> FeatureSpace | None:
        if self._space is None and self._settings.real_features is not None:
            self._space = read_real_features(self._settings.real_features)
        return self._space


def read_opinions(path: Path, output: Path, class_of: Mapping[str, str], *, normal: str) -> dict[str, Opinion]:
    """Opinions by file, of those images of the output that the CSV names; `class_of` has every image of the output.

    Raises:
        SettingsError: no such file, or a line that cannot be used; the message names it.
    """
    return {
        name: _opinion(probabilities, class_of[name], normal)
        for image, _, probabilities in _rows(path)
        if (name := resolve(image, output, class_of)) is not None
    }


def learn_from_predictions(path: Path, *, normal: str) -> tuple[dict[str, Threshold], dict[str, Threshold]]:
    """Limits by class: the lowest probability of its own class, and the highest probability of Normal.

    Each limit rejects a share `OPINION_RATE` of the real images, so a classifier that errs on these rejects little. The
    tail is extrapolated on the logarithm of the probability. No limit rejects an image of a probability over one half.
    The class of a real image is its label, or without one its folder. Errors as in `read_opinions`.
    """
    own: dict[str, list[float]] = {}
    not_normal: dict[str, list[float]] = {}
    for image, label, probabilities in _rows(path):
        name = label or PurePosixPath(image).parent.name
        if name in probabilities:
            own.setdefault(name, []).append(_surprisal(probabilities[name]))
            if name != normal and normal in probabilities:
                not_normal.setdefault(name, []).append(_surprisal(1 - probabilities[normal]))
    least = _surprisal(0.5)
    lowest, highest = (upper_limits(values, least=least, rate=OPINION_RATE) for values in (own, not_normal))
    return (
        {name: replace(limit, value=float(np.exp(-limit.value))) for name, limit in lowest.items()},
        {name: replace(limit, value=1 - float(np.exp(-limit.value))) for name, limit in highest.items()},
    )


def resolve(name: str, output: Path, class_of: Mapping[str, str]) -> str | None:
    """The file of the output that a name in a table means, or None."""
    if name in class_of:
        return name
    path = Path(name)
    if not path.is_absolute() and path.parts[: len(output.parts)] == output.parts:
        inside = PurePosixPath(*path.parts[len(output.parts) :]).as_posix()
    else:
        try:
            inside = path.resolve().relative_to(output.resolve()).as_posix()
        except ValueError:
            return None
    return inside if inside in class_of else None


def _made_before(path: Path, done: Sequence[ImageRow]) -> dict[str, str]:
    """Class by file of the images that were made before a file was written."""
    if not path.is_file():
        return {}
    written = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).isoformat(timespec="seconds")
    return {one.file: one.class_name for one in done if one.created_at <= written}


def _classes(path: Path, columns: object) -> list[str]:
    names = [str(name) for name in columns] if isinstance(columns, list) else []
    classes = [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX) and name != _PREFIX]
    if "image" not in names or len(classes) < 2:
        raise SettingsError(
            f"{path}, line 1: columns {', '.join(names) or 'none'}; expected image and two or more of p_<class>, "
            "as 'trainer predict' writes"
        )
    return classes


def _rows(path: Path) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(image, label, probability by class) of each line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            classes = _classes(path, reader.fieldnames)
            for row in reader:
                at = f"{path}, line {reader.line_num}"
                values = {name: _probability(at, name, row[f"{_PREFIX}{name}"]) for name in classes}
                total = sum(values.values())
                if abs(total - 1) > _SUM_TOLERANCE:
                    raise SettingsError(f"{at}: the probabilities add up to {total:.4f}; expected 1")
                yield row["image"] or "", row.get("label") or "", values
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file; make it with 'trainer predict RUN FOLDER -o {path}'") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path}: not a CSV in UTF-8 ({error}); expected what 'trainer predict' writes") from error


def _surprisal(probability: float) -> float:
    return -math.log(max(probability, _LEAST_PROBABILITY))


def _opinion(values: Mapping[str, float], class_name: str, normal: str) -> Opinion:
    others = [value for name, value in values.items() if name not in (class_name, normal)]
    return {"p_class": values.get(class_name), "p_normal": values.get(normal), "p_other": max(others, default=None)}


def _probability(at: str, name: str, cell: str | None) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise SettingsError(f"{at}: {_PREFIX}{name} is {cell!r}; expected a probability from 0 to 1")
    return value


Features: TypeAlias = npt.NDArray[np.float64]

_NEAREST = 3


class FeatureSpace:
    """Distances to the features (N, D) of real images of each class.

    A distance is the mean cosine distance, 0 to 2, to the three nearest real images of the class.
    """

    def __init__(self, real: Mapping[str, Features]) -> None:
        self._real = {name: _unit(rows) for name, rows in real.items() if len(rows)}

    def distance(self, class_name: str, features: Features) -> float | None:
        """How far an image's features (D,) are from its class; None for a class without real images."""
        rows = self._real.get(class_name)
        return None if rows is None else _mean_of_nearest(1 - rows @ _unit(features[None])[0])

    def limits(self) -> dict[str, Threshold]:
        """Upper limit of each class, from the distance of each real image to the others."""
        found = {}
        for name, rows in self._real.items():
            distances = 1 - rows @ rows.T
            np.fill_diagonal(distances, np.inf)
            found[name] = np.array([_mean_of_nearest(row[np.isfinite(row)]) for row in distances if len(row) > 1])
        return upper_limits(found, least=0.0)


def read_features(path: Path) -> tuple[list[str], list[str], Features]:
    """Names, labels and (N, D) features.

    Raises:
        SettingsError: no such file, or not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [str(name) for name in archive["images"]]
            labels = [str(label) for label in archive["labels"]]
            features = np.asarray(archive["features"], dtype=np.float64)
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file; make it with 'trainer predict RUN FOLDER --features'") from error
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise SettingsError(f"{path}: not a features file of 'trainer predict' ({error})") from error
    if features.ndim != 2 or not len(names) == len(labels) == len(features):
        raise SettingsError(
            f"{path}: features of shape {features.shape} for {len(names)} images; expected one row each"
        )
    if not np.isfinite(features).all():
        raise SettingsError(f"{path}: holds features that are no numbers; expected finite ones")
    return names, labels, features


def read_real_features(path: Path) -> FeatureSpace:
    """The features of real images; the class is the label, or without one the folder. Errors as in `read_features`."""
    names, labels, features = read_features(path)
    by_class: dict[str, list[Features]] = {}
    for name, label, row in zip(names, labels, features, strict=True):
        by_class.setdefault(label or PurePosixPath(name).parent.name, []).append(row)
    return FeatureSpace({name: np.stack(rows) for name, rows in by_class.items()})


def _unit(rows: Features) -> Features:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float64)


def _mean_of_nearest(distances: Features) -> float:
    return float(np.clip(np.sort(distances)[:_NEAREST].mean(), 0, 2))
