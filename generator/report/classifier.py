"""The project's own classifier as a file: ONNX with features, as `trainer export RUN --features` writes it.

An ONNX file is data; a TorchScript file is a program that would run, so none is read here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ClassifierError, MissingExtra

_FORMAT, _VERSION = "sd-defects exported classifier", "1"
_INPUT, _PROBABILITIES, _FEATURES = "images", "probabilities", "features"
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Opinions:
    """What the classifier says of N pictures."""

    predicted: npt.NDArray[np.intp]
    """(N,) places in the model's classes, -1 for a class that the model does not have."""
    features: npt.NDArray[np.float32]
    """(N, D), what its last linear layer sees."""


class Classifier:
    """Names classes and gives features; opened from a file.

    Args:
        path: of `trainer export RUN --features`.
        classes: those of the model; the classifier must know each.
        threads: CPU threads.

    Raises:
        ClassifierError: missing, damaged, not ours, without features, or of another class set.
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, path: Path, classes: Sequence[str], *, threads: int = 1) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise ClassifierError(f"{path}: no such file; make it with 'trainer export RUN --features'") from error
        except IsADirectoryError as error:
            raise ClassifierError(
                f"{path}: a folder; expected the file that 'trainer export {path} --features' writes"
            ) from error
        if content[:2] == b"PK":
            raise ClassifierError(
                f"{path}: a zip archive, as a checkpoint or a TorchScript program is, which could run code; expected "
                "ONNX, as 'trainer export RUN --features' writes it"
            )
        self._session = _open(path, content, threads)
        texts: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        if texts.get("format") != _FORMAT or texts.get("format_version") != _VERSION:
            raise ClassifierError(f"{path}: not of 'trainer export' of this program; export the run again")
        if _FEATURES not in texts or _FEATURES not in {one.name for one in self._session.get_outputs()}:
            raise ClassifierError(f"{path}: gives no features; export the run again with --features")
        own, self.size_px = [str(name) for name in json.loads(texts["classes"])], int(json.loads(texts["imgsz"]))
        unknown = sorted(set(classes) - set(own))
        if unknown:
            raise ClassifierError(
                f"{path}: does not know the class {unknown[0]!r} of the model; it knows {', '.join(own)}; name a "
                "classifier that was trained on the same classes"
            )
        self.path, self.checkpoint_sha256 = path, texts.get("checkpoint_sha256", "")
        self._place = np.array([classes.index(name) if name in classes else -1 for name in own], dtype=np.intp)

    def look_at(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Opinions:
        """Name and describe pictures.

        Args:
            pictures: (C, H, W) each, C 1 or 3; resized as its training did.

        Raises:
            ClassifierError: it fails on them.
        """
        predicted, features = [], []
        for start in range(0, len(pictures), _BATCH):
            batch = np.stack([self._resized(one) for one in pictures[start : start + _BATCH]])
            try:
                probabilities, seen = self._session.run([_PROBABILITIES, _FEATURES], {_INPUT: batch})
            except Exception as error:  # onnxruntime has many kinds, none of them public
                raise ClassifierError(f"{self.path}: fails on pictures ({_first_line(error)}); export again") from error
            if not (np.isfinite(probabilities).all() and np.isfinite(seen).all()):
                raise ClassifierError(f"{self.path}: its weights give no numbers (nan); train it again")
            predicted.append(self._place[probabilities.argmax(axis=1)])
            features.append(seen)
        if not predicted:
            return Opinions(np.zeros(0, dtype=np.intp), np.zeros((0, 1), dtype=np.float32))
        return Opinions(np.concatenate(predicted), np.concatenate(features))

    def _resized(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        coloured = np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0))
        side = self.size_px
        picture = Image.fromarray(coloured)
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(picture).transpose(2, 0, 1)


def _open(path: Path, content: bytes, threads: int) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtra("a classifier in an ONNX file (onnxruntime)", "export") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what cannot be used raises
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ClassifierError(
            f"{path}: damaged or no ONNX file ({_first_line(error)}); make it with 'trainer export RUN --features'"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
