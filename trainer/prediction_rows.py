"""One row of `predictions.csv`: its columns, what can be wrong with it, and writing it as it comes."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sdcore.files import atomic_path

from .errors import PredictionsError

FIXED_COLUMNS = ("image", "label", "predicted")
PROBABILITY_PREFIX = "p_"
DECISION_COLUMN = "decision"

SUM_TOLERANCE = 1e-3
"""How far the probabilities of one image may be from adding up to 1 (files round them)."""


class PredictionsWriter:
    """Writes rows to an open `predictions.csv`; made by `open_predictions`."""

    def __init__(self, write_row: Callable[[list[str]], object], classes: Sequence[str], *, decisions: bool) -> None:
        self._write_row = write_row
        self._classes = tuple(classes)
        self._decisions = decisions
        self._images: set[str] = set()
        header = [*FIXED_COLUMNS, *(f"{PROBABILITY_PREFIX}{name}" for name in self._classes)]
        write_row([*header, DECISION_COLUMN] if decisions else header)

    def write(self, image: str, label: str, probabilities: Sequence[float], decision: str = "") -> None:
        """Write the row of one image; the first most probable class is the predicted one.

        Args:
            image: relative path with forward slashes.
            label: true name, "" where unknown.
            probabilities: (K,) in [0, 1], adding up to 1.
            decision: for the column of that name, where the file has one.

        Raises:
            PredictionsError: the image is listed already, its name is no text, or the row is no distribution.
        """
        fault = fault_of_row(probabilities)
        if len(probabilities) != len(self._classes):
            fault = f"{len(probabilities)} probabilities; expected {len(self._classes)}, one a class"
        if image in self._images:
            fault = "listed twice; expected every image once"
        if fault:
            raise PredictionsError(f"image {image!r}: {fault}")
        self._images.add(image)
        predicted = self._classes[probabilities.index(max(probabilities))]
        # Nine significant digits bring a 32-bit probability back exactly.
        row = [image, label, predicted, *(f"{value:.9g}" for value in probabilities)]
        try:
            self._write_row([*row, decision] if self._decisions else row)
        except UnicodeEncodeError as error:
            raise PredictionsError(
                f"image {image!r}: its name is not UTF-8, as the file is; give it another name"
            ) from error


@contextmanager
def open_predictions(path: Path, classes: Sequence[str], *, decisions: bool = False) -> Iterator[PredictionsWriter]:
    """A `predictions.csv` to be written row by row; it takes its name when the block ends without an error.

    Args:
        path: where it will lie.
        classes: K names in the order of the probabilities.
        decisions: add the column `decision` at the end.

    Raises:
        PredictionsError: a class is named twice.
        OSError: the file cannot be written.
    """
    repeated = first_repeat(classes)
    if repeated is not None:
        raise PredictionsError(f"class {repeated!r} is named twice; expected every class once")
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        yield PredictionsWriter(csv.writer(file, lineterminator="\r\n").writerow, classes, decisions=decisions)


def fault_of_row(values: Sequence[float]) -> str:
    """What is wrong with the probabilities of one image, in words; "" when nothing is."""
    for value in values:
        if not 0.0 <= value <= 1.0:
            return f"a probability is {value}; expected 0 to 1"
    total = math.fsum(values)
    if abs(total - 1.0) > SUM_TOLERANCE:
        return f"the probabilities add up to {total:.4f}; expected 1 (within {SUM_TOLERANCE})"
    return ""


def first_repeat(names: Sequence[str]) -> str | None:
    """The first name that stands there a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
