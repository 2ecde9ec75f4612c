"""Files that `trainer export` made: what they say of themselves, and prediction with them.

What describes the classifier is read first, without running anything of the file; a file without it is refused.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from sdcore.torch_runtime import choose_device, torch_threads

from .classifier import Answer, finite
from .errors import CheckpointError, MissingExtra, SettingsError
from .operating_point_file import ChosenPoint, require_class, to_chosen_point

Format = Literal["onnx", "torchscript"]
FORMATS: tuple[Format, ...] = ("onnx", "torchscript")

FORMAT_KEY = "format"
FORMAT_NAME = "sd-defects exported classifier"
VERSION = "1"
METADATA_FILE = "sd-defects.json"
"""Inside a TorchScript archive, in its folder `extra`; an ONNX file holds the same keys in `metadata_props`."""

INPUT_NAME = "images"
OUTPUT_NAME = "probabilities"
FEATURES_NAME = "features"
"""The second output, of a file that was exported with it."""

_untyped_jit: Any = torch.jit


@dataclass(frozen=True)
class ExportedMetadata:
    """What an exported file says of its classifier."""

    classes: tuple[str, ...]
    """In the order of the outputs."""
    imgsz: int
    """Side in pixels of the square that images must be resized to."""
    point: ChosenPoint | None
    model: str
    checkpoint_sha256: str
    """Of the checkpoint it was exported from."""
    has_features: bool
    """Whether it also gives what its last linear layer sees."""


def is_exported(source: Path) -> bool:
    """Whether a path is an ONNX or TorchScript file, by its name or its content; a checkpoint is neither."""
    if not source.is_file():
        return source.suffix.lower() in (".onnx", ".torchscript") and not source.exists()
    return source.suffix.lower() in (".onnx", ".torchscript") or _torchscript_folder(source) is not None


def open_exported(
    source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False
) -> OnnxClassifier | TorchScriptClassifier:
    """The classifier in an exported file; arguments and errors as for `classifier.open_classifier`."""
    if not source.is_file():
        raise CheckpointError(f"{source}: no such file; expected one that 'trainer export RUN' makes")
    if _torchscript_folder(source) is not None:
        return TorchScriptClassifier(source, device=device, threads=threads, with_features=with_features)
    if source.suffix.lower() == ".onnx":
        return OnnxClassifier(source, device=device, threads=threads, with_features=with_features)
    raise CheckpointError(
        f"{source}: damaged or no TorchScript file; expected one of 'trainer export RUN --format torchscript'"
    )


class OnnxClassifier:
    """Prediction with an ONNX file, by onnxruntime on the CPU."""

    def __init__(self, source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingExtra(f"prediction with an ONNX file ({error.name})", "export") from error
        if device == "cuda":
            raise SettingsError(f"{source}: an ONNX file is run on the CPU here; use --device cpu, or name the run")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what cannot be used raises
        try:
            self._session = onnxruntime.InferenceSession(
                source.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError:
            raise
        except Exception as error:  # onnxruntime has many kinds, none of them public
            raise CheckpointError(f"{source}: damaged or no ONNX file ({_first_words(error)})") from error
        metadata = read_metadata(self._session.get_modelmeta().custom_metadata_map, source)
        inputs = [(one.name, one.type) for one in self._session.get_inputs()]
        if inputs != [(INPUT_NAME, "tensor(uint8)")] or self._session.get_outputs()[0].name != OUTPUT_NAME:
            raise CheckpointError(
                f"{source}: its inputs are {inputs}; expected one, {INPUT_NAME!r} of uint8, and the output "
                f"{OUTPUT_NAME!r}, as 'trainer export' makes them"
            )
        _require_features(metadata, source, wanted=with_features)
        self._outputs = [OUTPUT_NAME, FEATURES_NAME] if with_features else [OUTPUT_NAME]
        self.source, self.metadata = source, metadata
        self.classes, self.imgsz, self.point = metadata.classes, metadata.imgsz, metadata.point

    def __call__(self, images: npt.NDArray[np.uint8]) -> Answer:
        """Look at (N, 3, imgsz, imgsz) uint8 images, R, G, B."""
        try:
            found = self._session.run(self._outputs, {INPUT_NAME: np.ascontiguousarray(images)})
        except Exception as error:
            raise CheckpointError(f"{self.source}: fails on images ({_first_words(error)}); export again") from error
        return _answer(found, len(images), self.classes, self.source)


class TorchScriptClassifier:
    """Prediction with a TorchScript file, by torch. The file is a program: open none that you do not trust."""

    def __init__(self, source: Path, *, device: str = "auto", threads: int = 1, with_features: bool = False) -> None:
        metadata = read_metadata(_torchscript_metadata(source), source)
        _require_features(metadata, source, wanted=with_features)
        self._device = choose_device(device)
        try:
            with source.open("rb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch recommends other formats
                self._network = _untyped_jit.load(file, map_location=self._device).eval()
        except OSError:
            raise
        except Exception as error:  # on foreign bytes the reader fails in many ways
            raise CheckpointError(f"{source}: damaged TorchScript file ({_first_words(error)})") from error
        self._threads, self._with_features = threads, with_features
        self.source, self.metadata = source, metadata
        self.classes, self.imgsz, self.point = metadata.classes, metadata.imgsz, metadata.point

    def __call__(self, images: npt.NDArray[np.uint8]) -> Answer:
        """Look at (N, 3, imgsz, imgsz) uint8 images, R, G, B."""
        try:
            # Fusing recompiles at every new batch size; these networks gain nothing by it.
            with torch_threads(self._threads), torch.inference_mode(), _untyped_jit.optimized_execution(False):
                answer = self._network(torch.from_numpy(images).to(self._device))
                tensors = answer if self.metadata.has_features else (answer,)
                found = [one.cpu().numpy() for one in tensors]
        except Exception as error:
            raise CheckpointError(f"{self.source}: fails on images ({_first_words(error)}); export again") from error
        return _answer(found[: 1 + self._with_features], len(images), self.classes, self.source)


def read_metadata(texts: dict[str, str], source: Path) -> ExportedMetadata:
    """What an exported file says of itself.

    Args:
        texts: its keys, each with a text (JSON for all but plain words).
        source: the file, for messages.

    Raises:
        CheckpointError: it is not ours, of another version, or a key is missing or malformed.
        SettingsError: its operating point cannot be used.
    """
    if texts.get(FORMAT_KEY) != FORMAT_NAME:
        raise CheckpointError(
            f"{source}: does not name its classes, its size and its normalisation, so it is not of 'trainer export'; "
            "export the run again with this program"
        )
    if texts.get("format_version") != VERSION:
        raise CheckpointError(
            f"{source}: exported in version {texts.get('format_version')}, this program reads {VERSION}; export again"
        )
    for key in ("classes", "imgsz", "model", "checkpoint_sha256"):
        if key not in texts:
            raise CheckpointError(f"{source}: its metadata has no {key!r}; export the run again")
    try:
        classes = json.loads(texts["classes"])
        imgsz = json.loads(texts["imgsz"])
        point = json.loads(texts["operating_point"]) if "operating_point" in texts else None
    except ValueError as error:
        raise CheckpointError(f"{source}: its metadata is malformed ({error}); export the run again") from error
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes) or len(set(classes)) < 2:
        raise CheckpointError(f"{source}: its classes are {classes!r}; expected two or more names")
    if isinstance(imgsz, bool) or not isinstance(imgsz, int) or not 1 <= imgsz <= 8192:
        raise CheckpointError(f"{source}: its imgsz is {imgsz!r}; expected the side of a square in pixels")
    chosen = None
    if point is not None:
        chosen = to_chosen_point(point, f"{source}: operating_point")
        require_class(chosen, tuple(classes), str(source))
    return ExportedMetadata(
        tuple(classes), imgsz, chosen, texts["model"], texts["checkpoint_sha256"], FEATURES_NAME in texts
    )


def _require_features(metadata: ExportedMetadata, source: Path, *, wanted: bool) -> None:
    if wanted and not metadata.has_features:
        raise SettingsError(
            f"{source}: gives probabilities alone; for features export the run again with --features, or name the run"
        )


def _answer(found: Any, count: int, classes: tuple[str, ...], source: Path) -> Answer:
    """What a file said, as an answer: probabilities, then features where they were asked for."""
    probabilities, *more = found
    if not isinstance(probabilities, np.ndarray) or probabilities.shape != (count, len(classes)):
        shape = getattr(probabilities, "shape", type(probabilities).__name__)
        raise CheckpointError(f"{source}: answers {shape} for {count} images and {len(classes)} classes; export again")
    for one in more:
        if one.ndim != 2 or len(one) != count:
            raise CheckpointError(f"{source}: gives features {one.shape} for {count} images; export again")
    return Answer(finite(probabilities.astype(np.float64), source), more[0].astype(np.float32) if more else None)


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


def _first_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
