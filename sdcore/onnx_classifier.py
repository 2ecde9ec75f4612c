"""The ONNX file that `trainer export` writes: its metadata, and prediction with it by onnxruntime.

An ONNX file is data, not a program. Its metadata is read before any image is predicted; a file without it is refused.
Nothing here loads torch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import MissingExtra, ModelFileError, SettingsError

FORMAT_KEY = "format"
FORMAT_NAME = "sd-defects exported classifier"
VERSION = "1"
INPUT_NAME = "images"
OUTPUT_NAME = "probabilities"
FEATURES_NAME = "features"
"""The second output, of a file that was exported with it."""
_MOST_WORDS = 160


@dataclass(frozen=True, eq=False)
class ClassifierAnswer:
    """The output of a classifier for a batch of N images."""

    probabilities: npt.NDArray[np.float64]
    """(N, K), each row in [0, 1] and adding up to 1."""
    features: npt.NDArray[np.float32] | None
    """(N, D), the input of the last linear layer: the pooled feature map. None where it was not asked for."""


@dataclass(frozen=True)
class ExportedMetadata:
    """The metadata of an exported file."""

    classes: tuple[str, ...]
    """In the order of the outputs."""
    imgsz: int
    """Side in pixels of the square that images must be resized to."""
    operating_point: Any
    """As parsed from JSON, not checked; None where none was chosen."""
    model: str
    checkpoint_sha256: str
    """Of the checkpoint it was exported from."""
    has_features: bool
    """Whether it also gives the input of its last linear layer."""


class OnnxClassifier:
    """Prediction with an ONNX file, by onnxruntime on the CPU (`device` "auto" or "cpu"); threads may share it.

    Raises:
        ModelFileError: it is missing, damaged or not ours.
        SettingsError: "cuda" is asked for, or features of a file exported without.
        MissingExtra: onnxruntime is not installed.
    """

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
            content, providers = source.read_bytes(), ["CPUExecutionProvider"]
            self._session = onnxruntime.InferenceSession(content, options, providers=providers)
        except OSError:
            raise
        except Exception as error:  # onnxruntime has many kinds, none of them public
            raise ModelFileError(f"{source}: damaged or no ONNX file ({first_words(error)})") from error
        metadata = read_metadata(self._session.get_modelmeta().custom_metadata_map, source)
        inputs = [(one.name, one.type) for one in self._session.get_inputs()]
        if inputs != [(INPUT_NAME, "tensor(uint8)")] or self._session.get_outputs()[0].name != OUTPUT_NAME:
            raise ModelFileError(
                f"{source}: its inputs are {inputs}; expected one, {INPUT_NAME!r} of uint8, and the output "
                f"{OUTPUT_NAME!r}, as 'trainer export' makes them"
            )
        require_features(metadata, source, wanted=with_features)
        self._outputs = [OUTPUT_NAME, FEATURES_NAME] if with_features else [OUTPUT_NAME]
        self.source, self.metadata = source, metadata
        self.classes, self.imgsz = metadata.classes, metadata.imgsz

    def predict(self, images: npt.NDArray[np.uint8]) -> ClassifierAnswer:
        """Predict (N, 3, imgsz, imgsz) uint8 images, R, G, B."""
        try:
            found = self._session.run(self._outputs, {INPUT_NAME: np.ascontiguousarray(images)})
        except Exception as error:
            raise ModelFileError(f"{self.source}: fails on images ({first_words(error)}); export again") from error
        return to_answer(found, len(images), self.classes, self.source)


def read_metadata(texts: dict[str, str], source: Path) -> ExportedMetadata:
    """The metadata of an exported file from its texts by key, which are JSON for all but plain words.

    Raises:
        ModelFileError: it is not ours, of another version, or a key is missing or malformed.
    """
    if texts.get(FORMAT_KEY) != FORMAT_NAME:
        raise ModelFileError(
            f"{source}: does not name its classes, its size and its normalisation, so it is not of 'trainer export'; "
            "export the run again with this program"
        )
    if texts.get("format_version") != VERSION:
        raise ModelFileError(
            f"{source}: exported in version {texts.get('format_version')}, this program reads {VERSION}; export again"
        )
    for key in ("classes", "imgsz", "model", "checkpoint_sha256"):
        if key not in texts:
            raise ModelFileError(f"{source}: its metadata has no {key!r}; export the run again")
    try:
        classes = json.loads(texts["classes"])
        imgsz = json.loads(texts["imgsz"])
        point = json.loads(texts["operating_point"]) if "operating_point" in texts else None
    except ValueError as error:
        raise ModelFileError(f"{source}: its metadata is malformed ({error}); export the run again") from error
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes) or len(set(classes)) < 2:
        raise ModelFileError(f"{source}: its classes are {classes!r}; expected two or more names")
    if isinstance(imgsz, bool) or not isinstance(imgsz, int) or not 1 <= imgsz <= 8192:
        raise ModelFileError(f"{source}: its imgsz is {imgsz!r}; expected the side of a square in pixels")
    return ExportedMetadata(
        tuple(classes), imgsz, point, texts["model"], texts["checkpoint_sha256"], FEATURES_NAME in texts
    )


def require_features(metadata: ExportedMetadata, source: Path, *, wanted: bool) -> None:
    """Refuse features where the file was exported without.

    Raises:
        SettingsError: they are wanted and not there.
    """
    if wanted and not metadata.has_features:
        raise SettingsError(
            f"{source}: gives probabilities alone; for features export the run again with --features, or name the run"
        )


def to_answer(found: Any, count: int, classes: tuple[str, ...], source: Path) -> ClassifierAnswer:
    """What a file gave, probabilities and then features where they were asked for, as a checked answer.

    Raises:
        ModelFileError: the shapes do not fit, or a probability is no number.
    """
    probabilities, *more = found
    if not isinstance(probabilities, np.ndarray) or probabilities.shape != (count, len(classes)):
        shape = getattr(probabilities, "shape", type(probabilities).__name__)
        raise ModelFileError(f"{source}: answers {shape} for {count} images and {len(classes)} classes; export again")
    for one in more:
        if one.ndim != 2 or len(one) != count:
            raise ModelFileError(f"{source}: gives features {one.shape} for {count} images; export again")
    return ClassifierAnswer(
        require_finite(probabilities.astype(np.float64), source), more[0].astype(np.float32) if more else None
    )


def require_finite(probabilities: npt.NDArray[np.float64], source: Path) -> npt.NDArray[np.float64]:
    """The probabilities as they are.

    Raises:
        ModelFileError: one is no number.
    """
    if not np.isfinite(probabilities).all():
        raise ModelFileError(f"{source}: its weights give no numbers (nan); train again with a lower --lr")
    return probabilities


def first_words(error: Exception) -> str:
    """The first line of a foreign error, cut off at 160 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_MOST_WORDS]
