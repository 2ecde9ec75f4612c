"""Files that `trainer export` made: what they say of themselves, and prediction with them.

What describes the classifier is read first, without running anything of the file; a file without it is refused.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from sdcore.onnx_classifier import (
    ClassifierAnswer,
    ExportedMetadata,
    OnnxClassifier,
    first_words,
    read_metadata,
    require_features,
    to_answer,
)
from sdcore.torch_runtime import choose_device, torch_threads

from .errors import CheckpointError
from .operating_point_file import ChosenPoint, require_class, to_chosen_point

Format = Literal["onnx", "torchscript"]
FORMATS: tuple[Format, ...] = ("onnx", "torchscript")

METADATA_FILE = "sd-defects.json"
"""Inside a TorchScript archive, in its folder `extra`; an ONNX file holds the same keys in `metadata_props`."""

_untyped_jit: Any = torch.jit


def is_exported(source: Path) -> bool:
    """Whether a path is an ONNX or TorchScript file, by its name or its content; a checkpoint is neither."""
    if not source.is_file():
        return source.suffix.lower() in (".onnx", ".torchscript") and not source.exists()
    return source.suffix.lower() in (".onnx", ".torchscript") or _torchscript_folder(source) is not None


def open_exported(
    source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False
) -> ExportedOnnxClassifier | TorchScriptClassifier:
    """The classifier in an exported file; arguments and errors as for `classifier.open_classifier`."""
    if not source.is_file():
        raise CheckpointError(f"{source}: no such file; expected one that 'trainer export RUN' makes")
    if _torchscript_folder(source) is not None:
        return TorchScriptClassifier(source, device=device, threads=threads, with_features=with_features)
    if source.suffix.lower() == ".onnx":
        return ExportedOnnxClassifier(source, device=device, threads=threads, with_features=with_features)
    raise CheckpointError(
        f"{source}: damaged or no TorchScript file; expected one of 'trainer export RUN --format torchscript'"
    )


class ExportedOnnxClassifier(OnnxClassifier):
    """An ONNX file with the operating point that was chosen for it; arguments and errors as for `open_exported`."""

    def __init__(self, source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> None:
        super().__init__(source, device=device, threads=threads, with_features=with_features)
        self.point = chosen_point(self.metadata, source)


class TorchScriptClassifier:
    """Prediction with a TorchScript file, by torch. The file is a program: open none that you do not trust."""

    def __init__(self, source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> None:
        metadata = read_metadata(_torchscript_metadata(source), source)
        require_features(metadata, source, wanted=with_features)
        self.point = chosen_point(metadata, source)
        self._device = choose_device(device)
        try:
            with source.open("rb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch recommends other formats
                self._network = _untyped_jit.load(file, map_location=self._device).eval()
        except OSError:
            raise
        except Exception as error:  # on foreign bytes the reader fails in many ways
            raise CheckpointError(f"{source}: damaged TorchScript file ({first_words(error)})") from error
        self._threads, self._with_features = threads, with_features
        self.source, self.metadata = source, metadata
        self.classes, self.imgsz = metadata.classes, metadata.imgsz

    def predict(self, images: npt.NDArray[np.uint8]) -> ClassifierAnswer:
        """Look at (N, 3, imgsz, imgsz) uint8 images, R, G, B."""
        try:
            # Fusing recompiles at every new batch size; these networks gain nothing by it.
            with torch_threads(self._threads), torch.inference_mode(), _untyped_jit.optimized_execution(False):
                answer = self._network(torch.from_numpy(images).to(self._device))
                tensors = answer if self.metadata.has_features else (answer,)
                found = [one.cpu().numpy() for one in tensors]
        except Exception as error:
            raise CheckpointError(f"{self.source}: fails on images ({first_words(error)}); export again") from error
        return to_answer(found[: 1 + self._with_features], len(images), self.classes, self.source)


def chosen_point(metadata: ExportedMetadata, source: Path) -> ChosenPoint | None:
    """The operating point that an exported file holds.

    Raises:
        SettingsError: it cannot be used.
    """
    if metadata.operating_point is None:
        return None
    point = to_chosen_point(metadata.operating_point, f"{source}: operating_point")
    require_class(point, metadata.classes, str(source))
    return point


def _torchscript_folder(source: Path) -> str | None:
    try:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                # A plain checkpoint is an archive too, without a program's constants.
                if name.count("/") == 1 and name.endswith("/constants.pkl"):
                    return name.partition("/")[0]
    except (OSError, zipfile.BadZipFile):
        return None
    return None


def _torchscript_metadata(source: Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(source) as archive:
            content = json.loads(archive.read(f"{_torchscript_folder(source)}/extra/{METADATA_FILE}"))
    except (KeyError, ValueError, zipfile.BadZipFile):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, str)}
