"""`trainer export`: write a run's classifier as one ONNX or TorchScript file.

The graph goes from uint8 pixels to probabilities, so that users need not repeat the normalisation; the metadata in the
file holds what else they need. Every export is run on real images and compared with torch before it gets its name.
"""

import importlib.util
import inspect
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sdcore import __version__
from sdcore.files import atomic_path, read_json, sha256_of
from sdcore.onnx_classifier import (
    FEATURES_NAME,
    FORMAT_KEY,
    FORMAT_NAME,
    INPUT_NAME,
    OUTPUT_NAME,
    VERSION,
    ClassifierAnswer,
    OnnxClassifier,
    require_finite,
)
from sdcore.torch_runtime import torch_threads

from ..config import IMGSZ_MULTIPLE_PX
from ..data.transforms import decode, normalise
from ..errors import DataError, ExportError, MissingExtra, SettingsError
from .checkpoints import Checkpoint, find_checkpoint, load_classifier
from .classifier import FORMATS, METADATA_FILE, Format, TorchScriptClassifier, last_linear, threshold_of
from .decision_threshold import DecisionThreshold
from .image_list import list_named_images

_OPSET = 17
_SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".torchscript"}


@dataclass(frozen=True)
class ExportedFile:
    """An exported file and how close its output is to that of the run."""

    path: Path
    format: Format
    size_bytes: int
    classes: tuple[str, ...]
    imgsz: int
    checkpoint: Path
    checkpoint_sha256: str
    parity_images: int
    """Number of images compared."""
    parity_source: Path
    """Their folder."""
    max_abs_difference: float
    """Largest difference of a probability between the file and torch, over all images and classes."""
    features_difference: float | None
    """Largest difference of a feature, relative to the largest feature; None without features."""
    point: DecisionThreshold | None
    """The embedded operating point."""


class _Deployed(nn.Module):
    """From pixels to probabilities, and to features where the last linear layer is given.

    A hook takes the features from that layer's input while the network runs; both exporters follow it.
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], linear: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.with_features = linear is not None
        self._seen: list[torch.Tensor] = []
        if linear is not None:
            linear.register_forward_pre_hook(self._keep)
        self.register_buffer("offset", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("scale", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, S, S) uint8, R, G, B -> (N, K) float32, and with features also (N, D) float32."""
        logits = self.network((images.to(torch.float32) - self.offset) / self.scale)
        probabilities = torch.softmax(logits, dim=1)
        return (probabilities, self._seen.pop()) if self.with_features else probabilities

    def _keep(self, _: nn.Module, inputs: Any) -> None:
        self._seen[:] = [inputs[0]]


def export(
    run: Path,
    output: Path | None = None,
    *,
    format: Format = "onnx",  # noqa: A002 - as on the command line
    images: Path | None = None,
    threads: int = 1,
    with_features: bool = False,
) -> ExportedFile:
    """Write a run's classifier as one file with everything needed to use it, and check it on real images.

    The input `images` is (N, 3, S, S) uint8: R, G, B from 0 to 255, any N; the normalisation is part of the
    graph. The output `probabilities` is (N, K) float32. The file holds the class names, size, way of
    resizing, mean and std, the operating point if the run has one, model, version and the checkpoint's sha256.

    Args:
        run: a run folder or a checkpoint file.
        output: None: beside the checkpoint, with the suffix .onnx or .torchscript.
        format: "onnx" or "torchscript".
        images: a folder of real images for the check; None: `val/` of the data the run was trained on.
        threads: CPU threads of the check.
        with_features: a second output `features`, (N, D) float32: the inputs of the last linear layer.

    Raises:
        ExportError: the file and torch differ by more than 1e-4, or the model cannot be exported; no file is kept.
        CheckpointError: the checkpoint is missing, damaged or not ours.
        DataError: there are no images for the check, or one cannot be read.
        SettingsError: an unknown format, or an unusable operating point.
        MissingExtra: "onnx", and onnx or onnxruntime is not installed.
        OSError: the file cannot be written.
    """
    if format not in FORMATS:
        raise SettingsError(f"format: found {format!r}; expected {' or '.join(FORMATS)}")
    if format == "onnx":
        for name in ("onnx", "onnxruntime"):
            if importlib.util.find_spec(name) is None:
                raise MissingExtra(f"export to ONNX ({name})", "export")
    source = find_checkpoint(Path(run))
    network, checkpoint = load_classifier(source)
    point = threshold_of(source, checkpoint.classes)
    sha256 = sha256_of(source)
    folder = images if images is not None else _validation_images(source)
    samples = _comparison_images(folder, checkpoint.imgsz)
    path = output if output is not None else source.with_suffix(_SUFFIX[format])
    if path.resolve() == source.resolve():
        raise SettingsError(f"{path}: is the checkpoint itself; name another file with -o")

    linear = last_linear(network, source) if with_features else None
    expected = _torch_answer(network, linear, checkpoint, samples, source, threads)
    metadata = _metadata(checkpoint, point, sha256, None if linear is None else linear.in_features)
    deployed = _Deployed(network, checkpoint.mean, checkpoint.std, linear).eval()
    with atomic_path(path) as temporary:
        with torch_threads(threads):
            temporary.write_bytes(_to_bytes(format, deployed, checkpoint.imgsz, metadata))
        difference, features_difference = differences(format, temporary, samples, expected, threads)
        if not difference <= PARITY_TOLERANCE:
            raise ExportError(
                f"{path}: the exported file differs from torch by {difference:.3g} in a probability, over "
                f"{len(samples)} images of {folder}; at most {PARITY_TOLERANCE:g} is allowed, so no file was kept; "
                "try the other --format or another version of torch"
            )
        if features_difference is not None and not features_difference <= PARITY_TOLERANCE:
            raise ExportError(
                f"{path}: a feature of the exported file differs from torch by {features_difference:.3g} of the "
                f"largest one, over {len(samples)} images of {folder}; at most {PARITY_TOLERANCE:g} is allowed, so no "
                "file was kept; export without --features, or with another version of torch"
            )
        size = temporary.stat().st_size
    return ExportedFile(
        path=path,
        format=format,
        size_bytes=size,
        classes=checkpoint.classes,
        imgsz=checkpoint.imgsz,
        checkpoint=source,
        checkpoint_sha256=sha256,
        parity_images=len(samples),
        parity_source=folder,
        max_abs_difference=difference,
        features_difference=features_difference,
        point=point,
    )


def export_as_json(done: ExportedFile) -> dict[str, Any]:
    """An export as plain values, paths with forward slashes."""
    found = asdict(done) | {"parity_tolerance": PARITY_TOLERANCE, "operating_point": None}
    if found.pop("point") is not None and done.point is not None:
        found["operating_point"] = asdict(done.point)
    return {name: value.as_posix() if isinstance(value, Path) else value for name, value in found.items()}


def _metadata(
    checkpoint: Checkpoint, point: DecisionThreshold | None, sha256: str, n_features: int | None
) -> dict[str, str]:
    texts = {
        FORMAT_KEY: FORMAT_NAME,
        "format_version": VERSION,
        "classes": json.dumps(list(checkpoint.classes), ensure_ascii=False),
        "imgsz": json.dumps(checkpoint.imgsz),
        "input": f"{INPUT_NAME}: uint8 (N, 3, {checkpoint.imgsz}, {checkpoint.imgsz}), R, G, B from 0 to 255",
        "output": f"{OUTPUT_NAME}: float32 (N, {len(checkpoint.classes)}), softmax, in the order of classes",
        "resize": "to the square, sides apart, no crop, no bars; Pillow BILINEAR (antialiased when it shrinks)",
        "normalisation": "inside the graph: (image / 255 - mean) / std",
        "mean": json.dumps(list(checkpoint.mean)),
        "std": json.dumps(list(checkpoint.std)),
        "model": checkpoint.model,
        "epoch": json.dumps(checkpoint.epoch),
        "checkpoint_sha256": sha256,
        "program": f"sd-defects {__version__}",
        "torch": str(torch.__version__),
    }
    if n_features is not None:
        texts[FEATURES_NAME] = f"{FEATURES_NAME}: float32 (N, {n_features}), what the last linear layer sees"
    if point is not None:
        texts["operating_point"] = json.dumps(asdict(point), ensure_ascii=False)
    return texts


def _to_bytes(format: Format, network: nn.Module, imgsz: int, metadata: dict[str, str]) -> bytes:  # noqa: A002
    assert imgsz % IMGSZ_MULTIPLE_PX == 0  # noqa: S101 - held by the config
    # Two images, so that the exporter does not take the first axis for a constant 1.
    example = torch.zeros((2, 3, imgsz, imgsz), dtype=torch.uint8)
    try:
        with _quiet(), torch.no_grad():
            return _ONE[format](network, example, metadata)
    except Exception as error:  # the exporters raise many kinds
        words = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ExportError(
            f"torch {torch.__version__} cannot export this model to {format} ({words}); try the other --format"
        ) from error


def _to_onnx(network: nn.Module, example: torch.Tensor, metadata: dict[str, str]) -> bytes:
    import onnx

    # The tracing exporter: every supported torch has it, while the options of the newer one change between versions.
    # torch 2.4 does not have the argument yet.
    known = inspect.signature(torch.onnx.export).parameters
    choice: dict[str, Any] = {"dynamo": False} if "dynamo" in known else {}
    outputs = [OUTPUT_NAME, FEATURES_NAME] if FEATURES_NAME in metadata else [OUTPUT_NAME]
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        buffer,  # type: ignore[arg-type]
        input_names=[INPUT_NAME],
        output_names=outputs,
        dynamic_axes={name: {0: "N"} for name in (INPUT_NAME, *outputs)},
        opset_version=_OPSET,
        **choice,
    )
    model = onnx.load_model_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _to_torchscript(network: nn.Module, example: torch.Tensor, metadata: dict[str, str]) -> bytes:
    jit: Any = torch.jit  # untyped
    traced = jit.trace(network, (example,), check_trace=False)
    buffer = io.BytesIO()
    jit.save(traced, buffer, _extra_files={METADATA_FILE: json.dumps(metadata, ensure_ascii=False, indent=2).encode()})
    return buffer.getvalue()


_ONE = {"onnx": _to_onnx, "torchscript": _to_torchscript}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings and log of the exporters."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


PARITY_TOLERANCE = 1e-4
"""Largest allowed difference from torch of a probability, and of a feature relative to the largest feature."""

PARITY_IMAGES = 64
"""At most this many images are compared, evenly spaced over those of the folder."""


def _validation_images(checkpoint: Path) -> Path:
    """The folder `val` of the data that a run was trained on."""
    words = "name a folder of real images with --images, since every export is checked on some"
    record = checkpoint.parent / "data.json"
    try:
        folder = Path(read_json(record)["data"]) / "val"
    except FileNotFoundError as error:
        raise DataError(f"{checkpoint.parent}: no data.json with the folder of its images; {words}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{record}: does not name the folder of the images ({error!r}); {words}") from error
    if not folder.is_dir():
        raise DataError(f"{folder}: the run was trained on this data, which is gone; {words}")
    return folder


def _comparison_images(folder: Path, imgsz: int) -> npt.NDArray[np.uint8]:
    """Up to `PARITY_IMAGES` of a folder, (N, 3, imgsz, imgsz)."""
    files = [image.file for image in list_named_images([folder]).images]
    places = np.unique(np.linspace(0, len(files) - 1, min(PARITY_IMAGES, len(files))).round().astype(int))
    return np.stack([decode(Path(files[place]), imgsz) for place in places.tolist()])


def _torch_answer(
    network: nn.Module,
    linear: nn.Linear | None,
    checkpoint: Checkpoint,
    samples: npt.NDArray[np.uint8],
    source: Path,
    threads: int,
) -> ClassifierAnswer:
    """The answer of torch, with features where the last linear layer is given."""
    seen: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) if linear is not None else None
    with torch_threads(threads), torch.inference_mode():
        pixels = normalise(torch.from_numpy(samples), checkpoint.mean, checkpoint.std)
        probabilities = require_finite(torch.softmax(network(pixels).double(), dim=1).numpy(), source)
    if hook is not None:
        hook.remove()
    return ClassifierAnswer(probabilities, seen[0].numpy() if seen else None)


def differences(
    format: Format,  # noqa: A002
    path: Path,
    samples: npt.NDArray[np.uint8],
    expected: ClassifierAnswer,
    threads: int,
) -> tuple[float, float | None]:
    """Largest difference of a probability, and of a feature relative to the largest one, between file and torch."""
    kind = OnnxClassifier if format == "onnx" else TorchScriptClassifier
    exported = kind(path, device="cpu", threads=threads, with_features=expected.features is not None)
    # All images at once and one alone, to find a batch size that the exporter fixed in the graph.
    together, alone = exported.predict(samples), exported.predict(samples[:1])
    probabilities = _largest_difference(together.probabilities, alone.probabilities, expected.probabilities)
    if expected.features is None or together.features is None or alone.features is None:
        return probabilities, None
    scale = max(float(np.abs(expected.features).max()), 1e-12)
    return probabilities, _largest_difference(together.features, alone.features, expected.features) / scale


def _largest_difference(together: npt.NDArray[Any], alone: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    return float(max(np.abs(together - expected).max(), np.abs(alone - expected[:1]).max()))
