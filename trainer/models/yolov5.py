"""The only module that imports the package yolov5, on first use and without lasting effects on the process.

Importing yolov5 changes environment variables, thread counts, print options, `torch.save`, `PIL.Image.open`,
OpenCV functions and `sys.path`, writes a settings file in the user's home and tries to reach the network. All of that
is prevented or undone here.
"""

import contextlib
import importlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from sdcore.optional_imports import import_torchvision

from ..errors import TrainerError

_BACKBONE_LAYERS = 10
"""Layers before the detector's neck; yolov5's own classification training cuts there too."""


def build_classifier(model: str, n_classes: int) -> nn.Module:
    """A YOLOv5 classifier ("yolov5n-cls", or s, m, l, x in place of n) with fresh weights, built without any download.

    It is in training mode and maps (N, 3, H, W) float images to (N, n_classes) logits. Weights are drawn from torch's
    global generator: seed it first for the same weights again.

    Raises:
        ModuleNotFoundError: yolov5 or torchvision is not installed.
        TrainerError: a system library is missing.
    """
    yolo = _import_yolo()
    description = Path(str(yolo.__file__)).with_name(f"{model.removesuffix('-cls')}.yaml")
    detector = yolo.DetectionModel(str(description), ch=3, nc=80)
    classifier = yolo.ClassificationModel(model=detector, nc=n_classes, cutoff=_BACKBONE_LAYERS)
    assert isinstance(classifier, nn.Module)  # noqa: S101 - for the type checker: yolov5 is untyped
    return classifier.train()


def fold_batch_norms(network: nn.Module) -> None:
    """Fold batch norms into the convolutions before them, for inference; the answers change only by rounding.

    The network must be in evaluation mode. It is changed in place and can no longer load a state.
    """
    assert isinstance(network, _import_yolo().ClassificationModel)  # noqa: S101 - as above
    with torch.no_grad():
        network.fuse()


def _import_yolo() -> Any:
    name = "yolov5.models.yolo"
    if name not in sys.modules:
        try:
            with _contained():
                import_torchvision()
                importlib.import_module(name)
        except ModuleNotFoundError:
            raise
        except ImportError as error:
            raise TrainerError(
                f"yolov5 is installed but cannot be loaded: {error}; where OpenCV misses libGL (no display), "
                "install opencv-python-headless in place of opencv-python"
            ) from error
        # Otherwise it logs a line per layer of every model.
        logging.getLogger("yolov5").setLevel(logging.WARNING)
    return sys.modules[name]


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Undo what importing yolov5 (and ultralytics with it) does to the rest of the process."""
    environment, path = dict(os.environ), list(sys.path)
    import cv2  # after the line above, since it sets variables too

    numpy_options = np.get_printoptions()
    torch_options = vars(torch._tensor_str.PRINT_OPTS).copy()
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    patched = [(torch, "save"), (Image, "open"), (Image, "MAX_IMAGE_PIXELS")]
    patched += [(cv2, "imread"), (cv2, "imwrite"), (cv2, "imshow")]
    originals = [(owner, name, getattr(owner, name)) for owner, name in patched]
    with tempfile.TemporaryDirectory(prefix="trainer-yolov5-") as settings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.environ |= {"YOLO_CONFIG_DIR": settings, "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}
        try:
            # It prints to stdout, where `--json` promises one document and nothing else.
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment)
            sys.path[:] = path
            np.set_printoptions(**numpy_options)
            vars(torch._tensor_str.PRINT_OPTS).update(torch_options)
            torch.set_num_threads(torch_threads)
            cv2.setNumThreads(cv2_threads)
            for owner, name, original in originals:
                setattr(owner, name, original)
