"""What a classifier's last layer sees of an image, from the files that `trainer predict --features` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError
from .limits import Threshold, upper_limits

Features: TypeAlias = npt.NDArray[np.float64]

_NEAREST = 3


class FeatureSpace:
    """Features of real images by class; distances to them.

    A distance is the mean cosine distance, 0 to 2, to the three nearest real images of the class.

    Args:
        real: (N, D) of each class.
    """

    def __init__(self, real: Mapping[str, Features]) -> None:
        self._real = {name: _unit(rows) for name, rows in real.items() if len(rows)}

    def distance(self, class_name: str, features: Features) -> float | None:
        """How far an image's features (D,) are from its class; None for a class without real images."""
        rows = self._real.get(class_name)
        return None if rows is None else _mean_of_nearest(1 - rows @ _unit(features[None])[0])

    def limits(self) -> dict[str, Threshold]:
        """Upper limit of each class, each real image measured with itself left out."""
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
    """The features of real images; the class is the label, or where it is empty the folder that holds the image.

    Raises:
        SettingsError: as `read_features`.
    """
    names, labels, features = read_features(path)
    by_class: dict[str, list[Features]] = {}
    for name, label, row in zip(names, labels, features, strict=True):
        by_class.setdefault(label or PurePosixPath(name).parent.name, []).append(row)
    return FeatureSpace({name: np.stack(rows) for name, rows in by_class.items()})


def _unit(rows: Features) -> Features:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float64)


def _mean_of_nearest(distances: Features) -> float:
    nearest = np.sort(distances)[:_NEAREST]
    return float(np.clip(nearest.mean(), 0, 2))
