"""Classifiers of decoded images: the network of a run or checkpoint, and the files of `trainer export`.

The metadata of an exported file is read first, without running anything in the file; a file without it is refused.
"""

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

from sdcore import onnx_classifier
from sdcore.torch_runtime import choose_device, torch_threads

from ..data.transforms import normalise
from ..errors import CheckpointError, SettingsError
from ..run_files import BEST_NAME
from .checkpoints import find_checkpoint, load_classifier
from .decision_threshold import DecisionThreshold, parse_threshold, read_operating_point, require_class
from .yolov5 import fold_batch_norms


class Classifier(Protocol):
    """From decoded images to class probabilities; several threads may call `predict` at once."""

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
        """The score from which an image counts as defective, where one was chosen."""

    def predict(self, images: npt.NDArray[np.uint8]) -> onnx_classifier.ClassifierAnswer:
        """Classify (N, 3, imgsz, imgsz) uint8 images, R, G, B.

        Raises:
            ModelFileError: the weights give NaN or infinity.
        """


def open_classifier(source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> Classifier:
    """The classifier of a run folder, one of its `.pt` files, or a file of `trainer export`, recognised by content.

    A TorchScript file is a program: open only files that you trust. The device is "auto", "cpu" or "cuda"; `threads`
    are CPU threads while it computes. `with_features` adds every image's features, which an exported file must contain.

    Raises:
        ModelFileError: it is missing, damaged or not ours; a CheckpointError for a run or checkpoint.
        SettingsError: "cuda" is missing, the file was exported without features, or the operating point is unusable.
        MissingExtra: an ONNX file, and onnxruntime is not installed.
    """
    if threads < 1:
        raise SettingsError(f"threads: found {threads}; expected 1 or more")
    kind: type[RunClassifier | TorchScriptClassifier | ExportedOnnxClassifier]
    is_torchscript = _torchscript_folder(source) is not None
    has_exported_name = source.suffix.lower() in (".onnx", ".torchscript") and not source.is_dir()
    if not is_torchscript and not has_exported_name:
        kind = RunClassifier
    elif not source.is_file():
        raise CheckpointError(f"{source}: no such file; expected one that 'trainer export RUN' makes")
    elif is_torchscript:
        kind = TorchScriptClassifier
    elif source.suffix.lower() == ".onnx":
        kind = ExportedOnnxClassifier
    else:
        raise CheckpointError(
            f"{source}: damaged or no TorchScript file; expected one of 'trainer export RUN --format torchscript'"
        )
    return kind(source, device=device, threads=threads, with_features=with_features)


class RunClassifier:
    """The network of a run or checkpoint. Arguments and errors as for `open_classifier`."""

    def __init__(self, run: Path, *, device: str, threads: int, with_features: bool) -> None:
        self.source = find_checkpoint(run)
        self._device = choose_device(device)
        network, checkpoint = load_classifier(self.source)
        # Measured (docs/trainer.md): folding and channels_last each save a quarter or more of the CPU time.
        fold_batch_norms(network)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean, self._std = checkpoint.mean, checkpoint.std
        self.classes, self.imgsz = checkpoint.classes, checkpoint.imgsz
        self.point = threshold_of(self.source, self.classes)
        self._threads = threads
        # Per thread, since the hook writes it and several threads may be in `predict` at once.
        self._seen = threading.local() if with_features else None
        if with_features:
            last_linear(network, self.source).register_forward_pre_hook(self._keep)

    def predict(self, images: npt.NDArray[np.uint8]) -> onnx_classifier.ClassifierAnswer:
        """Classify (N, 3, imgsz, imgsz) uint8 images, R, G, B."""
        with torch_threads(self._threads), torch.inference_mode():
            pixels = torch.from_numpy(images).to(self._device, memory_format=torch.channels_last)
            pixels = normalise(pixels, self._mean, self._std)
            # In double precision, so that the sum of a row is much closer to 1 than any reader checks.
            probabilities = torch.softmax(self._network(pixels).double(), dim=1).cpu().numpy()
        features = None
        if self._seen is not None:
            features = self._seen.features.float().cpu().numpy()
            del self._seen.features
        return onnx_classifier.ClassifierAnswer(onnx_classifier.require_finite(probabilities, self.source), features)

    def _keep(self, _: nn.Module, inputs: Any) -> None:
        assert self._seen is not None  # noqa: S101 - the hook is registered only with it
        self._seen.features = inputs[0].detach()


def threshold_of(checkpoint: Path, classes: tuple[str, ...]) -> DecisionThreshold | None:
    """The operating point chosen for a checkpoint; only the best epoch of a run has one.

    Raises:
        SettingsError: the file is unusable or names other classes.
    """
    point = read_operating_point(checkpoint.parent) if checkpoint.name == BEST_NAME else None
    if point is not None:
        require_class(point, classes, str(checkpoint.parent))
    return point


def last_linear(network: nn.Module, source: Path) -> nn.Linear:
    """The last linear layer of a classifier; its inputs are the features, its outputs the logits.

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
"""In the folder `extra` of a TorchScript archive; an ONNX file has the same keys in `metadata_props`."""

_untyped_jit: Any = torch.jit


class ExportedOnnxClassifier(onnx_classifier.OnnxClassifier):
    """An ONNX file with its operating point. Arguments and errors as for `open_classifier`."""

    def __init__(self, source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> None:
        super().__init__(source, device=device, threads=threads, with_features=with_features)
        self.point = embedded_threshold(self.metadata, source)


class TorchScriptClassifier:
    """A TorchScript file, run by torch. Such a file is a program: open only files that you trust."""

    def __init__(self, source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> None:
        metadata = onnx_classifier.read_metadata(_torchscript_metadata(source), source)
        onnx_classifier.require_features(metadata, source, wanted=with_features)
        self.point = embedded_threshold(metadata, source)
        self._device = choose_device(device)
        try:
            with source.open("rb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch recommends other formats
                self._network = _untyped_jit.load(file, map_location=self._device).eval()
        except OSError:
            raise
        except Exception as error:  # on foreign bytes the reader fails in many ways
            raise CheckpointError(
                f"{source}: damaged TorchScript file ({onnx_classifier.first_words(error)})"
            ) from error
        self._threads, self._with_features = threads, with_features
        self.source, self.metadata = source, metadata
        self.classes, self.imgsz = metadata.classes, metadata.imgsz

    def predict(self, images: npt.NDArray[np.uint8]) -> onnx_classifier.ClassifierAnswer:
        """Classify (N, 3, imgsz, imgsz) uint8 images, R, G, B."""
        try:
            # Optimised execution recompiles for every new batch size, and these networks gain nothing from it.
            with torch_threads(self._threads), torch.inference_mode(), _untyped_jit.optimized_execution(False):
                answer = self._network(torch.from_numpy(images).to(self._device))
                tensors = answer if self.metadata.has_features else (answer,)
                found = [one.cpu().numpy() for one in tensors]
        except Exception as error:
            raise CheckpointError(
                f"{self.source}: fails on images ({onnx_classifier.first_words(error)}); export again"
            ) from error
        return onnx_classifier.to_answer(found[: 1 + self._with_features], len(images), self.classes, self.source)


def embedded_threshold(metadata: onnx_classifier.ExportedMetadata, source: Path) -> DecisionThreshold | None:
    """The operating point in the metadata of an exported file.

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
            # A checkpoint is a zip archive too, but without constants.pkl.
            paths = [name.split("/") for name in archive.namelist()]
            return next((folder for folder, *rest in paths if rest == ["constants.pkl"]), None)
    except (OSError, zipfile.BadZipFile):
        return None


def _torchscript_metadata(source: Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(source) as archive:
            content = json.loads(archive.read(f"{_torchscript_folder(source)}/extra/{METADATA_FILE}"))
    except (KeyError, ValueError, zipfile.BadZipFile):
        return {}
    pairs = content.items() if isinstance(content, dict) else ()
    return {str(key): value for key, value in pairs if isinstance(value, str)}
