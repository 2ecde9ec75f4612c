"""Makes `import torchvision` work beside a torch it was not compiled for.

A CPU-only torch with a CUDA-built torchvision cannot load torchvision's compiled operators, and the import
then stops at "operator torchvision::nms does not exist". Neither classification (yolov5) nor diffusion (diffusers,
which reaches torchvision through transformers) needs these operators, only that their names are known. Where the
compiled operators load, nothing is done.

A package of its own, because every other one here may need it and they do not import one another.
"""

from __future__ import annotations

import importlib
import sys
import warnings

import torch

__all__ = ["import_torchvision"]

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept_alive: list[torch.library.Library] = []
"""An operator's definition goes when its library object does."""


def import_torchvision() -> None:
    """Import torchvision, naming its missing operators when their compiled library cannot be loaded.

    `torchvision.ops.nms` and torchvision's JPEG decoder stay unusable in that case.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    with warnings.catch_warnings():
        # Said when torchvision's own image decoder cannot be loaded; images are decoded by Pillow here.
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
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _OPERATORS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _kept_alive.append(library)
