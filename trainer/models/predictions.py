"""predictions.csv and features.npz, read and written.

`predictions.csv` has the columns `image` (relative path, forward slashes), `label` (empty when unknown), `predicted`,
one `p_<class>` per class in class order, and optionally `group` (the board or photograph it was cut from). Other
programs write it too, so reading is strict: a file with one wrong cell is refused with its line.

`features.npz` holds `features` (N, D) float32, `images` and `labels` (N,) text, and `classes` (K,) text, all readable
by `numpy.load` with `allow_pickle=False`.
"""

import csv
import io
import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from sdcore.files import atomic_path

from ..errors import PredictionsError

FloatArray = npt.NDArray[np.float64]

_TIE_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Predictions:
    """The probabilities that one model gave N images over K classes."""

    images: tuple[str, ...]
    """N different paths relative to the image folder, forward slashes."""
    labels: tuple[str, ...]
    """N true labels: a class or a coarser word such as "Abnormal"; "" where unknown."""
    classes: tuple[str, ...]
    """K class names in the model's order."""
    predicted: tuple[str, ...]
    """N class names, each the most probable one."""
    probabilities: FloatArray
    """(N, K), each row in [0, 1] and adding up to 1."""
    groups: tuple[str, ...] | None = None
    """N names of what each image was cut from; None if unknown."""
    origin: Path | None = None
    """The file these were read from."""
    lines: tuple[int, ...] = ()
    """N line numbers in that file."""

    def where(self, index: int) -> str:
        """Image number `index` with its file and line, for messages."""
        if self.origin is not None and self.lines:
            return f"{self.origin}, line {self.lines[index]}: image {self.images[index]!r}"
        return f"image {self.images[index]!r}"


def make_predictions(
    images: Sequence[str], labels: Sequence[str], classes: Sequence[str], probabilities: npt.ArrayLike
) -> Predictions:
    """Predictions from a model's output, as in `Predictions`; on a tie an image gets the first most probable class.

    Raises:
        PredictionsError: the lengths differ, an image or class is repeated, or a row is not a distribution.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    if table.size == 0:
        table = table.reshape(len(images), len(classes))
    if table.shape != (len(images), len(classes)) or len(labels) != len(images):
        raise PredictionsError(
            f"{len(images)} images, {len(labels)} labels and {len(classes)} classes do not fit probabilities "
            f"of shape {table.shape}; expected one label and one row an image, one column a class"
        )
    _refuse_repeated_class(classes)
    if (repeated := find_repeat(images)) is not None:
        raise PredictionsError(f"image {repeated!r} is listed twice; expected every image once")
    for image, row in zip(images, table.tolist(), strict=True):
        if fault := fault_of_row(row):
            raise PredictionsError(f"image {image!r}: {fault}")
    chosen = table.argmax(axis=1) if len(images) else np.zeros(0, dtype=np.int64)
    return Predictions(
        images=tuple(images),
        labels=tuple(labels),
        classes=tuple(classes),
        predicted=tuple(classes[k] for k in chosen.tolist()),
        probabilities=table,
    )


def write_predictions(
    path: Path, images: Sequence[str], labels: Sequence[str], classes: Sequence[str], probabilities: npt.ArrayLike
) -> Predictions:
    """Write `predictions.csv` atomically and return its content. Arguments as for `make_predictions`.

    Raises:
        PredictionsError: the arguments do not fit together; nothing is written.
        OSError: the file cannot be written.
    """
    predictions = make_predictions(images, labels, classes, probabilities)
    rows = zip(predictions.images, predictions.labels, predictions.probabilities.tolist(), strict=True)
    with open_predictions(path, predictions.classes) as writer:
        for image, label, row in rows:
            writer.write(image, label, row)
    return predictions


def read_predictions(path: Path) -> Predictions:
    """Read a `predictions.csv` of ours or of another program.

    The columns may be in any order, further ones are ignored; the `p_` columns give the order of the classes.

    Raises:
        PredictionsError: the file, a column or all rows are missing, a cell is not a probability, a row does not add
            up to 1, an image is listed twice, or `predicted` is not the most probable class; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise PredictionsError(
            f"{path}: no such file; expected a CSV made by 'trainer predict' or with the same columns"
        ) from error
    except UnicodeDecodeError as error:
        raise PredictionsError(f"{path}: not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise PredictionsError(f"{path}: empty; expected a header line with {_expected_columns()}")
        columns, classes = _read_header(path, header)
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise PredictionsError(f"{path}, line {reader.line_num}: not readable as CSV: {error}") from error
    if not rows:
        raise PredictionsError(f"{path}: a header and no rows; expected one line an image")
    return _read_rows(path, rows, len(header), columns, classes)


def _expected_columns() -> str:
    return "the columns image, label, predicted and one p_<class> per class"


def _read_header(path: Path, header: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    if (repeated := find_repeat(header)) is not None:
        raise PredictionsError(f"{path}, line 1: column {repeated!r} is there twice; expected it once")
    missing = [name for name in FIXED_COLUMNS if name not in header]
    if missing:
        raise PredictionsError(
            f"{path}, line 1: no column {missing[0]!r} among {', '.join(header)}; expected {_expected_columns()}"
        )
    columns = {name: place for place, name in enumerate(header)}
    prefix = PROBABILITY_PREFIX
    classes = tuple(name.removeprefix(prefix) for name in header if name.startswith(prefix) and name != prefix)
    if len(classes) < 2:
        raise PredictionsError(
            f"{path}, line 1: {len(classes)} probability column(s); expected one p_<class> for each of two or"
            " more classes"
        )
    return columns, classes


def _read_rows(
    path: Path, rows: list[tuple[int, list[str]]], width: int, columns: dict[str, int], classes: tuple[str, ...]
) -> Predictions:
    first_line: dict[str, int] = {}
    images, labels, predicted, table = [], [], [], []
    places = [columns[f"{PROBABILITY_PREFIX}{name}"] for name in classes]
    for line, row in rows:
        at = f"{path}, line {line}"
        if len(row) != width:
            raise PredictionsError(f"{at}: {len(row)} cells; expected {width}, as many as the header has")
        image, label, named = (row[columns[name]].strip() for name in FIXED_COLUMNS)
        if not image:
            raise PredictionsError(f"{at}: the column 'image' is empty; expected the image's relative path")
        if image in first_line:
            raise PredictionsError(
                f"{at}: image {image!r} is on line {first_line[image]} already; expected every image once"
            )
        first_line[image] = line
        values = [_read_probability(at, name, row[place]) for name, place in zip(classes, places, strict=True)]
        if fault := fault_of_row(values):
            raise PredictionsError(f"{at}: {fault}")
        if named not in classes:
            raise PredictionsError(f"{at}: predicted {named!r} is not a class; expected one of {', '.join(classes)}")
        own, most = values[classes.index(named)], max(values)
        if own < most - _TIE_TOLERANCE:
            raise PredictionsError(
                f"{at}: predicted {named!r} has {own:.4g}, but {classes[values.index(most)]!r} has {most:.4g}; "
                "expected the most probable class"
            )
        images.append(image)
        labels.append(label)
        predicted.append(named)
        table.append(values)
    return Predictions(
        images=tuple(images),
        labels=tuple(labels),
        classes=classes,
        predicted=tuple(predicted),
        probabilities=np.asarray(table, dtype=np.float64),
        groups=_read_groups(path, rows, columns),
        origin=path,
        lines=tuple(line for line, _ in rows),
    )


def _read_groups(path: Path, rows: list[tuple[int, list[str]]], columns: dict[str, int]) -> tuple[str, ...] | None:
    if "group" not in columns:
        return None
    groups = tuple(row[columns["group"]].strip() for _, row in rows)
    if not any(groups):
        return None
    for (line, _), group in zip(rows, groups, strict=True):
        if not group:
            raise PredictionsError(
                f"{path}, line {line}: the column 'group' is empty; expected one on every line, or on none"
            )
    return groups


def _read_probability(at: str, name: str, cell: str) -> float:
    expected = "expected a probability from 0 to 1"
    try:
        value = float(cell)
    except ValueError:
        raise PredictionsError(f"{at}: {PROBABILITY_PREFIX}{name} is {cell!r}; {expected}") from None
    if not 0.0 <= value <= 1.0:
        raise PredictionsError(f"{at}: {PROBABILITY_PREFIX}{name} is {cell}; {expected}")
    return value


FIXED_COLUMNS = ("image", "label", "predicted")
PROBABILITY_PREFIX = "p_"
DECISION_COLUMN = "decision"

SUM_TOLERANCE = 1e-3
"""How far the probabilities of one image may be from adding up to 1 (files round them)."""


class PredictionsWriter:
    """Writes rows to an open `predictions.csv`; from `open_predictions`."""

    def __init__(self, write_row: Callable[[list[str]], object], classes: Sequence[str], *, decisions: bool) -> None:
        self._write_row = write_row
        self._classes = tuple(classes)
        self._decisions = decisions
        self._images: set[str] = set()
        header = [*FIXED_COLUMNS, *(f"{PROBABILITY_PREFIX}{name}" for name in self._classes)]
        write_row([*header, DECISION_COLUMN] if decisions else header)

    def write(self, image: str, label: str, probabilities: Sequence[float], decision: str = "") -> None:
        """Write the row of one image, as in `Predictions`; a decision is ignored by a file without that column.

        Raises:
            PredictionsError: the image is listed already, its name is not UTF-8, or the row is not a distribution.
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
        # Nine significant digits restore a 32-bit probability exactly.
        row = [image, label, predicted, *(f"{value:.9g}" for value in probabilities)]
        try:
            self._write_row([*row, decision] if self._decisions else row)
        except UnicodeEncodeError as error:
            raise PredictionsError(
                f"image {image!r}: its name is not UTF-8, as the file is; give it another name"
            ) from error


@contextmanager
def open_predictions(path: Path, classes: Sequence[str], *, decisions: bool = False) -> Iterator[PredictionsWriter]:
    """A `predictions.csv` to write row by row; it gets its name when the block ends without an error.

    Raises:
        PredictionsError: a class is named twice.
        OSError: the file cannot be written.
    """
    _refuse_repeated_class(classes)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        yield PredictionsWriter(csv.writer(file, lineterminator="\r\n").writerow, classes, decisions=decisions)


def fault_of_row(values: Sequence[float]) -> str:
    """What is wrong with the probabilities of one image; "" when they are valid."""
    for value in values:
        if not 0.0 <= value <= 1.0:
            return f"a probability is {value}; expected 0 to 1"
    total = math.fsum(values)
    if abs(total - 1.0) > SUM_TOLERANCE:
        return f"the probabilities add up to {total:.4f}; expected 1 (within {SUM_TOLERANCE})"
    return ""


def _refuse_repeated_class(classes: Sequence[str]) -> None:
    if (repeated := find_repeat(classes)) is not None:
        raise PredictionsError(f"class {repeated!r} is named twice; expected every class once")


def find_repeat(names: Sequence[str]) -> str | None:
    """The first name that occurs a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


_COPY_BYTES = 1 << 20
_TEXTS_AT_ONCE = 4096


class FeaturesWriter:
    """Writes the features of one image after another; from `open_features`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.images: list[str] = []
        self.labels: list[str] = []
        self.width = 0

    def write(self, image: str, label: str, features: npt.NDArray[np.float32]) -> None:
        """Add the (D,) features of one image.

        Raises:
            PredictionsError: D differs from the images before.
        """
        if self.images and len(features) != self.width:
            raise PredictionsError(f"image {image!r}: {len(features)} features; expected {self.width} as before")
        self.width = len(features)
        self.images.append(image)
        self.labels.append(label)
        self._file.write(np.ascontiguousarray(features, dtype="<f4").tobytes())


@contextmanager
def open_features(path: Path, classes: Sequence[str]) -> Iterator[FeaturesWriter]:
    """A `features.npz` to write image by image; it gets its name when the block ends without an error.

    The number of images need not be known before: the rows are kept in a temporary file of the same size beside it.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_path(path) as temporary, tempfile.TemporaryFile(dir=path.parent) as rows:
        writer = FeaturesWriter(rows)
        yield writer
        rows.seek(0)
        with zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
            with archive.open("features.npy", "w", force_zip64=True) as member:
                _write_header(member, "<f4", (len(writer.images), writer.width))
                shutil.copyfileobj(rows, member, _COPY_BYTES)
            for name, texts in (("images", writer.images), ("labels", writer.labels), ("classes", classes)):
                _write_texts(archive, name, texts)


def _write_texts(archive: zipfile.ZipFile, name: str, texts: Sequence[str]) -> None:
    kind = f"<U{max((len(text) for text in texts), default=1) or 1}"
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        _write_header(member, kind, (len(texts),))
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            member.write(np.array(texts[start : start + _TEXTS_AT_ONCE], dtype=kind).tobytes())


def _write_header(member: IO[bytes], kind: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(member, {"descr": kind, "fortran_order": False, "shape": shape})
