"""The only door to the package diffusers; nothing is ever fetched through it."""

from __future__ import annotations

import importlib
import os
import warnings
from types import ModuleType

from ....errors import MissingExtra

WHAT = "'sdclient serve --engine diffusion'"


def import_diffusers() -> ModuleType:
    """The package, with its parts reachable as attributes.

    Raises:
        MissingExtra: it, or something it needs, is not installed.
    """
    # Read when huggingface_hub is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other packages' versions
            from torchvision_repair import import_torchvision

            import_torchvision()
            diffusers = importlib.import_module("diffusers")
            _ = diffusers.UNet2DModel  # its parts are lazy; now is the time to find one missing
            importlib.import_module("torchsde")
    except ModuleNotFoundError as error:
        raise MissingExtra(WHAT, "diffusion") from error
    diffusers.utils.logging.set_verbosity_error()
    return diffusers
