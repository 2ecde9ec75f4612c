"""The user's own classifier: an ONNX file with features, as `trainer export RUN --features` writes it.

Only ONNX is read: it is data, while a TorchScript file is a program.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdcore.onnx_classifier import OnnxClassifier

from ..errors import ModelFileError, SettingsError

_BATCH = 64


@dataclass(frozen=True, eq=False)
class ClassPredictions:
    """The classifier's answers on N images."""

    predicted: npt.NDArray[np.intp]
    """(N,) index into the classes of the diffusion model; -1 for a class that the model does not have."""
    features: npt.NDArray[np.float32]
    """(N, D), the inputs of its last linear layer."""


class Classifier:
    """Predicts classes and features of images; must know each of the diffusion model's `classes`.

    Raises:
        ModelFileError: the file is missing, damaged, of another program, without features, or of other classes.
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, path: Path, classes: Sequence[str], *, threads: int = 1) -> None:
        _refuse_wrong_file(path)
        try:
            self._network = OnnxClassifier(path, threads=threads, with_features=True)
        except SettingsError as error:
            raise ModelFileError(f"{path}: gives no features; export the run again with --features") from error
        metadata = self._network.metadata
        own, self.size_px = metadata.classes, metadata.imgsz
        if unknown := sorted(set(classes) - set(own)):
            raise ModelFileError(
                f"{path}: does not know the class {unknown[0]!r} of the model; it knows {', '.join(own)}; name a "
                "classifier that was trained on the same classes"
            )
        self.path, self.checkpoint_sha256 = path, metadata.checkpoint_sha256
        self._place = np.array([classes.index(name) if name in classes else -1 for name in own], dtype=np.intp)

    def predict(self, images: Sequence[npt.NDArray[np.uint8]]) -> ClassPredictions:
        """Classes and features of (C, H, W) images, C 1 or 3, which are resized as in the classifier's training.

        Raises:
            ModelFileError: its answers are not finite numbers.
        """
        predicted, features = [], []
        for start in range(0, len(images), _BATCH):
            answer = self._network.predict(np.stack([self._resized(one) for one in images[start : start + _BATCH]]))
            if answer.features is None or not np.isfinite(answer.features).all():
                raise ModelFileError(f"{self.path}: its weights give no numbers (nan); train it again")
            predicted.append(self._place[answer.probabilities.argmax(axis=1)])
            features.append(answer.features)
        if not predicted:
            return ClassPredictions(np.zeros(0, dtype=np.intp), np.zeros((0, 1), dtype=np.float32))
        return ClassPredictions(np.concatenate(predicted), np.concatenate(features))

    def _resized(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        colour = np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0))
        image, size = Image.fromarray(colour), (self.size_px, self.size_px)
        return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)).transpose(
            2, 0, 1
        )


def _refuse_wrong_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            first_bytes = file.read(2)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file; make it with 'trainer export RUN --features'") from error
    except (IsADirectoryError, PermissionError) as error:  # Windows raises PermissionError for a folder
        if not path.is_dir():
            raise
        words = f"{path}: a folder; expected the file that 'trainer export {path} --features' writes"
        raise ModelFileError(words) from error
    if first_bytes == b"PK":
        raise ModelFileError(
            f"{path}: a zip archive, as a checkpoint or a TorchScript program is, which could run code; expected "
            "ONNX, as 'trainer export RUN --features' writes it"
        )
