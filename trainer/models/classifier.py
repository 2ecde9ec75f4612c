"""A run or an exported file that classifies decoded images (ends the circle with exported).

What describes the classifier is read first, without running anything of the file; a file without it is refused.
"""

from __future__ import annotations

import json
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sdcore.onnx_classifier import (
    ClassifierAnswer,
    ExportedMetadata,
    OnnxClassifier,
    first_words,
    read_metadata,
    require_features,
    require_finite,
    to_answer,
)
from sdcore.torch_runtime import choose_device, torch_threads

from ..data.transforms import normalise
from ..errors import CheckpointError, SettingsError
from ..run_files import BEST_NAME
from .checkpoints import find_checkpoint, load_classifier
from .decision_threshold import DecisionThreshold, parse_threshold, read_operating_point, require_class
from .yolov5 import fold_batch_norms


class Classifier(Protocol):
    """Decoded images in, class probabilities out; several threads may ask at once."""

    @property
    def source(self) -> Path:
        """The file it was read from."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K names in the order of the probabilities."""

    @property
    def imgsz(self) -> int:
        """Side in pixels of the square that images are resized to."""

    @property
    def point(self) -> DecisionThreshold | None:
        """From which score on an image is defective, where that was chosen."""

    def predict(self, images: npt.NDArray[np.uint8]) -> ClassifierAnswer:
        """Look at (N, 3, imgsz, imgsz) uint8 images, R, G, B.

        Raises:
            ModelFileError: the weights give no numbers.
        """


def open_classifier(source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> Classifier:
    """The classifier of a run, of one of its checkpoints, or of an exported file.

    Args:
        source: a run folder, a `.pt` file of one, or a file of `trainer export`. Which it is, the content tells;
            a TorchScript file is a program: open none that you do not trust.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads while it computes.
        with_features: give the features of every image too; an exported file can when it was exported with them.

    Raises:
        ModelFileError: it is missing, damaged or not ours (of a run or checkpoint, its branch CheckpointError).
        SettingsError: "cuda" where there is none, features of a file exported without, or an unusable operating point.
        MissingExtra: an ONNX file, and onnxruntime is not installed.
    """
    if threads < 1:
        raise SettingsError(f"threads: found {threads}; expected 1 or more")
    if not is_exported(source):
        return RunClassifier(source, device=device, threads=threads, with_features=with_features)
    return open_exported(source, device=device, threads=threads, with_features=with_features)


class RunClassifier:
    """The network of a run or checkpoint; arguments and errors as for `open_classifier`."""

    def __init__(self, run: Path, *, device: str, threads: int, with_features: bool) -> None:
        self.source = find_checkpoint(run)
        self._device = choose_device(device)
        network, checkpoint = load_classifier(self.source)
        # Measured (docs/trainer.md): each of the two takes a quarter or more off the network's time on a CPU.
        fold_batch_norms(network)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean, self._std = checkpoint.mean, checkpoint.std
        self.classes, self.imgsz = checkpoint.classes, checkpoint.imgsz
        self.point = threshold_of(self.source, self.classes)
        self._threads = threads
        self._seen = threading.local() if with_features else None
        if with_features:
            last_linear(network, self.source).register_forward_pre_hook(self._keep)

    def predict(self, images: npt.NDArray[np.uint8]) -> ClassifierAnswer:
        """Look at (N, 3, imgsz, imgsz) uint8 images, R, G, B."""
        with torch_threads(self._threads), torch.inference_mode():
            pixels = torch.from_numpy(images).to(self._device, memory_format=torch.channels_last)
            pixels = normalise(pixels, self._mean, self._std)
            # In double precision, so that rows add up to 1 far closer than any reader checks.
            probabilities = torch.softmax(self._network(pixels).double(), dim=1).cpu().numpy()
        features = None
        if self._seen is not None:
            features = self._seen.features.float().cpu().numpy()
            del self._seen.features
        return ClassifierAnswer(require_finite(probabilities, self.source), features)

    def _keep(self, _: nn.Module, inputs: Any) -> None:
        assert self._seen is not None  # noqa: S101 - the hook is there only with it
        self._seen.features = inputs[0].detach()


def threshold_of(checkpoint: Path, classes: tuple[str, ...]) -> DecisionThreshold | None:
    """The operating point chosen for a checkpoint; it belongs to the best epoch of a run and to no other.

    Raises:
        SettingsError: the file is unusable or of other classes.
    """
    point = read_operating_point(checkpoint.parent) if checkpoint.name == BEST_NAME else None
    if point is not None:
        require_class(point, classes, str(checkpoint.parent))
    return point


def last_linear(network: nn.Module, source: Path) -> nn.Linear:
    """The last linear layer of a classifier: its input are the features, its output the logits.

    Raises:
        CheckpointError: there is none.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise CheckpointError(f"{source}: its network has no linear layer, so it has no features to give")
    return layers[-1]


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
        self.point = embedded_threshold(self.metadata, source)


class TorchScriptClassifier:
    """Prediction with a TorchScript file, by torch. The file is a program: open none that you do not trust."""

    def __init__(self, source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> None:
        metadata = read_metadata(_torchscript_metadata(source), source)
        require_features(metadata, source, wanted=with_features)
        self.point = embedded_threshold(metadata, source)
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


def embedded_threshold(metadata: ExportedMetadata, source: Path) -> DecisionThreshold | None:
    """The operating point that an exported file holds.

    Raises:
        SettingsError: it cannot be used.
    """
    if metadata.operating_point is None:
        return None
    point = parse_threshold(metadata.operating_point, f"{source}: operating_point")
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
