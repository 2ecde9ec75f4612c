"""Something that gives class probabilities for decoded images: a run, or a file that `trainer export` made."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sdcore.onnx_classifier import ClassifierAnswer, require_finite
from sdcore.torch_runtime import choose_device, torch_threads

from . import _yolov5
from .errors import CheckpointError, SettingsError
from .loader import normalise
from .operating_point_file import ChosenPoint, read_operating_point, require_class
from .run_names import BEST_NAME
from .weights import find_checkpoint, load_classifier


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
    def point(self) -> ChosenPoint | None:
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
    from .exported import is_exported, open_exported

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
        _yolov5.fuse(network)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean, self._std = checkpoint.mean, checkpoint.std
        self.classes, self.imgsz = checkpoint.classes, checkpoint.imgsz
        self.point = operating_point_of(self.source, self.classes)
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


def operating_point_of(checkpoint: Path, classes: tuple[str, ...]) -> ChosenPoint | None:
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
