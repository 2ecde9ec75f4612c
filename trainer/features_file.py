"""`features.npz`: what a classifier's last layer sees of each image, written as it comes; no pickle inside.

It holds `features` (N, D) float32, `images` and `labels` (N,) text, and `classes` (K,) text, each as `numpy.load`
reads it with `allow_pickle=False`.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from sdcore.files import atomic_path

from .errors import PredictionsError

_COPY_BYTES = 1 << 20
_TEXTS_AT_ONCE = 4096


class FeaturesWriter:
    """Takes the features of one image after another; made by `open_features`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.images: list[str] = []
        self.labels: list[str] = []
        self.width = 0

    def write(self, image: str, label: str, features: npt.NDArray[np.float32]) -> None:
        """Add the (D,) features of one image.

        Raises:
            PredictionsError: another D than before.
        """
        if self.images and len(features) != self.width:
            raise PredictionsError(f"image {image!r}: {len(features)} features; expected {self.width} as before")
        self.width = len(features)
        self.images.append(image)
        self.labels.append(label)
        self._file.write(np.ascontiguousarray(features, dtype="<f4").tobytes())


@contextmanager
def open_features(path: Path, classes: Sequence[str]) -> Iterator[FeaturesWriter]:
    """A `features.npz` to be written image by image; it takes its name when the block ends without an error.

    How many images come need not be known: the rows wait in a nameless file beside it, as large as itself.

    Args:
        path: where it will lie; it gets exactly this name.
        classes: names of the classes of the classifier.

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
