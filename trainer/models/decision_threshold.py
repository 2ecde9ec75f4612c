"""`operating_point.json` of a run: the defect score from which an image counts as defective. Loads no torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

from sdcore.files import read_json, write_json

from ..errors import SettingsError

OPERATING_POINT_NAME = "operating_point.json"
VALIDATION_PREDICTIONS_NAME = "val_predictions.csv"
"""In a run folder: the predictions that the operating point was chosen from."""

PASS = "OK"  # noqa: S105 - not a password
REJECT = "NG"
"""The two decisions on an image, in the words of the production line: it passes, or it is defective."""


@dataclass(frozen=True)
class DecisionThreshold:
    """A cut of the defect score that keeps a promised miss rate, and how it was chosen."""

    normal: str
    """Name of the class without a defect."""
    cut: float
    """An image is defective when 1 - p(normal) is this or more; in [0, 1]."""
    max_miss_rate: float | None = None
    """Promised miss rate for new defects, in (0, 1)."""
    k: int | None = None
    """The cut is the k-th smallest defect score."""
    n_defects: int | None = None
    """Number of defects in the validation predictions."""
    predictions_sha256: str | None = None
    """Of the validation predictions that the cut was chosen from."""

    def decide(self, p_normal: float) -> str:
        """The decision on an image: "NG" when 1 - p_normal reaches the cut, else "OK"."""
        return REJECT if 1.0 - p_normal >= self.cut else PASS


def write_operating_point(run: Path, point: DecisionThreshold) -> Path:
    """Write `RUN/operating_point.json` atomically and return its path.

    Raises:
        OSError: the file cannot be written.
    """
    path = run / OPERATING_POINT_NAME
    write_json(path, asdict(point))
    return path


def read_operating_point(run: Path) -> DecisionThreshold | None:
    """The operating point of a run folder, or None when none was chosen.

    Raises:
        SettingsError: the file cannot be used.
    """
    path = run / OPERATING_POINT_NAME
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except ValueError as error:
        raise SettingsError(f"{path}: not readable as JSON ({error}); choose the operating point again") from error
    return parse_threshold(content, str(path))


def parse_threshold(content: Any, where: str) -> DecisionThreshold:
    """An operating point from parsed JSON; further keys are ignored. Messages call its origin `where`.

    Raises:
        SettingsError: a key is missing or has an invalid value.
    """
    if not isinstance(content, dict):
        raise SettingsError(f"{where}: found {type(content).__name__}; expected an object with normal and cut")
    normal, cut = content.get("normal"), content.get("cut")
    if not isinstance(normal, str) or not normal:
        raise SettingsError(f"{where}: normal is {normal!r}; expected the name of the class without a defect")
    if not _is_number(cut) or not 0.0 <= cut <= 1.0:
        raise SettingsError(f"{where}: cut is {cut!r}; expected a number from 0 to 1")
    rate, k, count = content.get("max_miss_rate"), content.get("k"), content.get("n_defects")
    if rate is not None and (not _is_number(rate) or not 0.0 < rate < 1.0):
        raise SettingsError(f"{where}: max_miss_rate is {rate!r}; expected a number between 0 and 1")
    for name, value in (("k", k), ("n_defects", count)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SettingsError(f"{where}: {name} is {value!r}; expected a whole number of 1 or more")
    sha256 = content.get("predictions_sha256")
    if sha256 is not None and not isinstance(sha256, str):
        raise SettingsError(f"{where}: predictions_sha256 is {sha256!r}; expected a text")
    return DecisionThreshold(normal, float(cut), None if rate is None else float(rate), k, count, sha256)


def require_class(point: DecisionThreshold, classes: tuple[str, ...], where: str) -> None:
    """Refuse an operating point of other classes.

    Raises:
        SettingsError: its Normal class is not in `classes`.
    """
    if point.normal not in classes:
        raise SettingsError(
            f"{where}: its operating point calls {point.normal!r} normal, but the classes are {', '.join(classes)}; "
            "choose the operating point again"
        )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
