"""Imports that wait until they are needed, and the only imports of torchvision and diffusers. Nothing is ever fetched.

Both are imported on first use: importing diffusers' networks takes seconds and pulls in transformers, peft and
torchvision.
"""

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from .errors import MissingExtra

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept_alive: list[Any] = []
"""The `torch.library.Library` objects that were made; an operator's definition ends with its library object."""


def import_on_first_use(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A module's `__getattr__` that imports public names when they are first used, so that the package stays light.

    `names` are the public ones by relative module; `package` is the `__name__` of the package.
    """
    module_of = {name: module for module, shown in names.items() for name in shown}

    def get_attribute(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module_of[name], package), name)

    return get_attribute


def import_torchvision() -> None:
    """Import torchvision, naming its missing operators when their compiled library cannot be loaded.

    A CPU-only torch with a CUDA-built torchvision cannot load torchvision's compiled operators, and the import then
    stops at "operator torchvision::nms does not exist". Neither classification (yolov5) nor diffusion (diffusers,
    which reaches torchvision through transformers) needs these operators, only that their names are known. Where the
    compiled operators load, nothing is done; where not, `torchvision.ops.nms` and torchvision's JPEG decoder stay
    unusable.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    with warnings.catch_warnings():
        # Torchvision's own image decoder cannot be loaded; Pillow decodes images here.
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "operator torchvision::" not in str(error):
                raise
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            _define_operators()
            importlib.import_module("torchvision")


def _define_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _OPERATORS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _kept_alive.append(library)


def import_diffusers(what: str = "diffusion", *, also: Sequence[str] = ()) -> ModuleType:
    """The package diffusers, with its parts as attributes; `also` are further modules that must be installed.

    Raises:
        MissingExtra: it, or something it needs, is not installed.
    """
    # Read when huggingface_hub is imported: nothing here is ever fetched from a hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other packages' versions
            import_torchvision()
            diffusers = importlib.import_module("diffusers")
            _ = diffusers.UNet2DModel  # its parts are lazy; now is the time to find one missing
            for name in also:
                importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{what} ({error.name})", "diffusion") from error
    except RuntimeError as error:
        raise MissingExtra(f"{what} ({str(error).splitlines()[-1]})", "diffusion") from error
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return diffusers
