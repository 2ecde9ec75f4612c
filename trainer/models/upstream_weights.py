"""Upstream YOLOv5's `.pt` files to named tensors, without running or importing anything that they name.

Such a file is a zip archive: `data.pkl` pickles a whole model, `data/0`, `data/1`, ... hold the numbers. The pickle is
read as data (`safe_pickle`); only the classes of upstream's models are allowed, and tensors get the names that
`state_dict` would give them. Both module names are known: `models.yolo` of the released files, and
`yolov5.models.yolo` of the package.
"""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ..errors import CheckpointError
from .safe_pickle import Persistent, PickledCall, PickledName, PickleRefused, read_pickle

_MAX_PICKLE_BYTES = 64 * 2**20
_MAX_DEPTH = 32
_LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

_MODELS = {"ClassificationModel", "DetectionModel", "Model", "SegmentationModel"}
_COMMON = """
Conv DWConv DWConvTranspose2d TransformerLayer TransformerBlock Bottleneck BottleneckCSP CrossConv C3 C3x C3TR C3SPP
C3Ghost SPP SPPF Focus GhostConv GhostBottleneck Contract Expand Concat Proto Classify
"""
_UPSTREAM_CLASSES = {
    "models.yolo": {*_MODELS, "Detect", "Segment"},
    "models.common": set(_COMMON.split()),
    "models.experimental": {"Sum", "MixConv2d", "Ensemble"},
    "utils.augmentations": {"LetterBox", "CenterCrop", "ToTensor"},
}
_TORCH_CLASSES = {
    "activation": "SiLU ReLU ReLU6 LeakyReLU Hardswish Hardsigmoid Sigmoid GELU Mish ELU PReLU Softmax",
    "batchnorm": "BatchNorm2d SyncBatchNorm",
    "container": "Sequential ModuleList ModuleDict",
    "conv": "Conv2d ConvTranspose2d",
    "dropout": "Dropout Dropout2d",
    "linear": "Linear Identity",
    "padding": "ZeroPad2d",
    "pooling": "MaxPool2d AvgPool2d AdaptiveAvgPool2d",
    "upsampling": "Upsample UpsamplingNearest2d",
}
_DTYPES = {
    "HalfStorage": torch.float16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_PLAIN_CLASSES = {
    ("collections", "OrderedDict"),
    ("argparse", "Namespace"),
    ("_codecs", "encode"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "slice", "bytearray")),
    *(
        (module, name)
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    ),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("torch", "Size"),
    ("torch", "device"),
    *(("torch", str(dtype).removeprefix("torch.")) for dtype in _DTYPES.values()),
    *(("torch", name) for name in _DTYPES),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.nn.parameter", "Parameter"),
    *(("torchvision.transforms.transforms", name) for name in ("Compose", "Normalize", "Resize", "CenterCrop")),
    *(("torchvision.transforms.transforms", name) for name in ("ToTensor", "ConvertImageDtype")),
    ("torchvision.transforms.functional", "InterpolationMode"),
    *((f"torch.nn.modules.{module}", name) for module, names in _TORCH_CLASSES.items() for name in names.split()),
}


@dataclass(frozen=True, eq=False)
class UpstreamWeights:
    """The content of an upstream checkpoint."""

    kind: Literal["classifier", "detector"]
    state: dict[str, torch.Tensor]
    """By upstream's names; floating-point tensors as float32, on the CPU."""
    classes: tuple[str, ...]
    """In the order of the outputs; empty when the file has no names."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Its images were normalised as (image - mean) / std, from [0, 1]."""


def read_upstream(path: Path) -> UpstreamWeights | None:
    """The weights in an upstream `.pt` file; None for a dictionary with a `format`, as our checkpoints are.

    As in upstream, the averaged model (`ema`) is preferred to `model`.

    Raises:
        CheckpointError: it is damaged, implausibly large, of an unknown kind, or names a class that YOLOv5 models
            do not use.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_LEGACY_START))
    if start == _LEGACY_START:
        raise CheckpointError(
            f"{path}: written in the format of torch before 1.6, which is not read here; open it where you trust it "
            "and save it again with a newer torch, or take a file of YOLOv5 v7.0"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(_Archive(archive, path.stat().st_size))
    except PickleRefused as error:
        raise CheckpointError(
            f"{path}: refused, nothing in it was run: {error}; expected the weights of a YOLOv5 v6 or v7 model or of "
            "'trainer train'"
        ) from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: damaged or no checkpoint ({str(error)[:120]}); expected a .pt file; take another copy"
        ) from error


def is_allowed(module: str, name: str) -> bool:
    """Whether a checkpoint may name this class; the class itself is never looked up."""
    own = module.removeprefix("yolov5.")
    return (module, name) in _PLAIN_CLASSES or name in _UPSTREAM_CLASSES.get(own, ())


class _Archive:
    """The zip archive of a checkpoint, and its tensors."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._size = size
        self._storages: dict[str, torch.Tensor] = {}
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise PickleRefused(f"no torch checkpoint: {len(pickles)} files named data.pkl in it, expected 1")
        self._folder = pickles[0].removesuffix("data.pkl")
        if f"{self._folder}constants.pkl" in archive.namelist():
            raise PickleRefused("it is a TorchScript program, which has no plain weights; take the .pt before export")
        has_order = f"{self._folder}byteorder" in archive.namelist()
        if has_order and self._member("byteorder", 16, "byte order") != b"little":
            raise PickleRefused("it was written on a machine of another byte order")

    def tree(self) -> Any:
        return read_pickle(self._member("data.pkl", _MAX_PICKLE_BYTES, "pickle"), is_allowed)

    def tensor(self, node: Any) -> torch.Tensor | None:
        """The tensor that a node describes; None for other nodes."""
        if isinstance(node, PickledCall) and node.what.name == "_rebuild_parameter" and node.arguments:
            node = node.arguments[0]
        if not (isinstance(node, PickledCall) and node.what.name == "_rebuild_tensor_v2" and len(node.arguments) >= 4):
            return None
        storage, offset, shape, stride = node.arguments[:4]
        numbers = self._storage(storage)
        for values in ((offset,), shape, stride):
            if not isinstance(values, tuple) or any(type(one) is not int or one < 0 for one in values):
                raise PickleRefused("a tensor has an invalid shape")
        last = offset + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
        if math.prod(shape) > len(numbers) or (math.prod(shape) and last >= len(numbers)):
            raise PickleRefused(f"a tensor of shape {list(shape)[:8]} is outside its {len(numbers)} numbers")
        tensor = numbers.as_strided(shape, stride, offset if math.prod(shape) else 0)
        return tensor.float() if tensor.is_floating_point() else tensor.clone()

    def _storage(self, node: Any) -> torch.Tensor:
        if not isinstance(node, Persistent) or not isinstance(node.key, tuple) or len(node.key) != 5:
            raise PickleRefused("a tensor without numbers")
        word, kind, key, _, count = node.key
        if word != "storage" or not isinstance(kind, PickledName) or kind.name not in _DTYPES:
            raise PickleRefused(f"numbers of the unknown kind {str(kind)[:80]}")
        if not isinstance(key, str) or not key.isascii() or not key.isdigit() or type(count) is not int:
            raise PickleRefused("numbers under an invalid name")
        dtype = _DTYPES[kind.name]
        if key not in self._storages:
            content = self._member(f"data/{key}", self._size, "tensor")
            empty = torch.empty(0, dtype=dtype)
            self._storages[key] = torch.frombuffer(bytearray(content), dtype=dtype) if content else empty
        numbers = self._storages[key]
        if numbers.dtype != dtype or len(numbers) != count:
            raise PickleRefused(f"data/{key} holds {len(numbers)} numbers, {str(count)[:20]} are declared")
        return numbers

    def _member(self, name: str, at_most: int, what: str) -> bytes:
        try:
            info = self._archive.getinfo(self._folder + name)
        except KeyError:
            raise PickleRefused(f"{name} is missing in it") from None
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise PickleRefused(f"{name} is compressed, as torch never does")
        if info.file_size > min(at_most, self._size):
            raise PickleRefused(f"the {what} {name} declares {info.file_size} bytes")
        return self._archive.read(info)


def _read_archive(archive: _Archive) -> UpstreamWeights | None:
    content = archive.tree()
    if isinstance(content, dict) and "format" in content:
        return None
    if isinstance(content, dict):
        content = content.get("ema") or content.get("model")
    if not isinstance(content, PickledCall) or content.what.name not in _MODELS or not isinstance(content.state, dict):
        raise PickleRefused("it holds no YOLOv5 model under 'ema' or 'model'")
    state: dict[str, torch.Tensor] = {}
    _gather(archive, content, "", state, set())
    names = _names(content.state.get("names"))
    if content.what.name != "ClassificationModel":
        return UpstreamWeights("detector", state, names, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return UpstreamWeights("classifier", state, names, *_normalisation(content.state.get("transforms")))


def _gather(
    archive: _Archive, module: PickledCall, prefix: str, into: dict[str, torch.Tensor], above: set[int]
) -> None:
    """Collect the tensors of a module, then of its children, under the names of `torch.nn.Module.state_dict`."""
    if id(module) in above or len(above) > _MAX_DEPTH or not isinstance(module.state, dict):
        raise PickleRefused(f"its module {prefix[:80] or 'model'} is malformed")
    parameters, buffers, modules = (module.state.get(name, {}) for name in ("_parameters", "_buffers", "_modules"))
    if not all(isinstance(part, dict) for part in (parameters, buffers, modules)):
        raise PickleRefused(f"its module {prefix[:80] or 'model'} is malformed")
    if len(into) > 10_000:
        raise PickleRefused("it has more than 10000 tensors")
    for name, node in [*parameters.items(), *buffers.items()]:
        tensor = archive.tensor(node)
        if tensor is not None:
            into[f"{prefix}{name}"] = tensor
    for name, node in modules.items():
        if isinstance(node, PickledCall):
            _gather(archive, node, f"{prefix}{name}.", into, above | {id(module)})


def _names(node: Any) -> tuple[str, ...]:
    values = list(node.values()) if isinstance(node, dict) else node
    if isinstance(values, list) and all(isinstance(one, str) for one in values):
        return tuple(values)
    return ()


_Triple = tuple[float, float, float]


def _normalisation(node: Any) -> tuple[_Triple, _Triple]:
    """Mean and std of the model's own transforms; those of ImageNet if it has none."""
    steps = node.state.get("transforms") if isinstance(node, PickledCall) and isinstance(node.state, dict) else None
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, PickledCall) and step.what.name == "Normalize" and isinstance(step.state, dict):
            return _triple(step.state.get("mean")), _triple(step.state.get("std"))
    return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _triple(node: Any) -> _Triple:
    is_triple = isinstance(node, list | tuple) and len(node) == 3
    if not is_triple or not all(isinstance(one, int | float) and math.isfinite(one) for one in node):
        raise PickleRefused("its normalisation is no mean and standard deviation of three channels")
    return float(node[0]), float(node[1]), float(node[2])
