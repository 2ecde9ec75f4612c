"""Whether an exported file answers as torch does: real images, what torch says of them, and the differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sdcore.files import read_json
from sdcore.onnx_classifier import ClassifierAnswer, OnnxClassifier, require_finite
from sdcore.torch_runtime import torch_threads

from .errors import DataError
from .exported import Format, TorchScriptClassifier
from .image_list import list_named_images
from .loader import decode, normalise
from .weights import Checkpoint

PARITY_TOLERANCE = 1e-4
"""How far a probability of the exported file may be from torch's, and a feature, in parts of the largest one."""

PARITY_IMAGES = 64
"""Images compared at most, taken evenly over those there are."""


def validation_images(checkpoint: Path) -> Path:
    """The folder `val` of the data that a run was trained on.

    Raises:
        DataError: the run does not tell, or it is gone.
    """
    words = "name a folder of real images with --images, since every export is checked on some"
    record = checkpoint.parent / "data.json"
    try:
        named = read_json(record)["data"]
        folder = Path(named) / "val"
    except FileNotFoundError as error:
        raise DataError(f"{checkpoint.parent}: no data.json that tells where its images lie; {words}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{record}: does not tell where the images lie ({error!r}); {words}") from error
    if not folder.is_dir():
        raise DataError(f"{folder}: the run was trained on this data, and it is not there any more; {words}")
    return folder


def pictures_to_compare(folder: Path, imgsz: int) -> npt.NDArray[np.uint8]:
    """Up to `PARITY_IMAGES` of a folder, (N, 3, imgsz, imgsz).

    Raises:
        DataError: there is none, or one cannot be read.
    """
    files = [image.file for image in list_named_images([folder]).images]
    places = np.unique(np.linspace(0, len(files) - 1, min(PARITY_IMAGES, len(files))).round().astype(int))
    return np.stack([decode(Path(files[place]), imgsz) for place in places.tolist()])


def torch_answer(
    network: nn.Module,
    linear: nn.Linear | None,
    checkpoint: Checkpoint,
    pictures: npt.NDArray[np.uint8],
    source: Path,
    threads: int,
) -> ClassifierAnswer:
    """What torch says of pictures, with features where the last linear layer is given.

    Raises:
        ModelFileError: the weights give no numbers.
    """
    seen: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) if linear is not None else None
    with torch_threads(threads), torch.inference_mode():
        pixels = normalise(torch.from_numpy(pictures), checkpoint.mean, checkpoint.std)
        probabilities = require_finite(torch.softmax(network(pixels).double(), dim=1).numpy(), source)
    if hook is not None:
        hook.remove()
    return ClassifierAnswer(probabilities, seen[0].numpy() if seen else None)


def differences(
    format: Format,  # noqa: A002
    path: Path,
    pictures: npt.NDArray[np.uint8],
    expected: ClassifierAnswer,
    threads: int,
) -> tuple[float, float | None]:
    """Largest difference of a probability, and of a feature in parts of the largest one.

    Args:
        format: of the file.
        path: the exported file.
        pictures: (N, 3, S, S).
        expected: what torch says of them.
        threads: CPU threads.
    """
    kind = OnnxClassifier if format == "onnx" else TorchScriptClassifier
    exported = kind(path, device="cpu", threads=threads, with_features=expected.features is not None)
    # All at once and one alone: a batch size that got stuck in the graph shows here.
    together, alone = exported.predict(pictures), exported.predict(pictures[:1])
    probabilities = _largest_difference(together.probabilities, alone.probabilities, expected.probabilities)
    if expected.features is None or together.features is None or alone.features is None:
        return probabilities, None
    scale = max(float(np.abs(expected.features).max()), 1e-12)
    return probabilities, _largest_difference(together.features, alone.features, expected.features) / scale


def _largest_difference(together: npt.NDArray[Any], alone: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    return float(max(np.abs(together - expected).max(), np.abs(alone - expected[:1]).max()))
