"""The only door to the package diffusers; it is imported on first use, and asks no network.

Importing its networks takes seconds and pulls in transformers, peft and torchvision.
"""

from __future__ import annotations

import importlib
import os
import warnings
from types import ModuleType

from torchvision_repair import import_torchvision

from .errors import MissingExtra


def import_diffusers() -> ModuleType:
    """The package, with its parts reachable as attributes.

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
    except ModuleNotFoundError as error:
        raise MissingExtra(f"diffusion ({error.name})", "diffusion") from error
    except RuntimeError as error:
        raise MissingExtra(f"diffusion ({str(error).splitlines()[-1]})", "diffusion") from error
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return diffusers
