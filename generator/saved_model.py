"""Read a saved model to make pictures with; weights in safetensors alone, never a pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sdcore.files import read_json, sha256_of
from sdcore.optional_imports import import_diffusers

from .errors import MissingExtra, ModelError
from .model_files import GENERATOR_NAME, UNET_CONFIG, UNET_WEIGHTS, read_described
from .pixels import PixelCode


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A model ready to run on the CPU."""

    folder: Path
    classes: tuple[str, ...]
    size_px: int
    code: PixelCode
    network: nn.Module
    learned_from: frozenset[str]
    """SHA-256 of the files it learned from."""
    flips: bool
    """Whether it was shown mirrored pictures."""
    quarter_turns: bool
    """Whether it was shown turned pictures."""
    sha256: str
    """Of the weights' file."""

    @property
    def channels(self) -> int:
        """1 for a grey model, else 3."""
        return len(self.code.mean)

    @property
    def no_class(self) -> int:
        """The label that stands for no class."""
        return len(self.classes)


def load_model(folder: Path) -> SavedModel:
    """Read the folder that `generator train` wrote.

    Raises:
        ModelError: it is missing, damaged, of another version, or its parts do not fit together.
        MissingExtra: diffusers is not installed.
    """
    told = read_described(folder)
    path = folder / GENERATOR_NAME
    try:
        classes = tuple(str(name) for name in told["classes"])
        mean, std = (tuple(float(one) for one in told[name]) for name in ("mean", "std"))
        code = PixelCode(mean, std, int(told["packing"]))
        config = told["training"]["config"]
        learned = frozenset(str(one["sha256"]) for one in told["data"]["learned_from"])
        size_px, flips, turns = int(told["size_px"]), bool(config["flips"]), bool(config["quarter_turns"])
        if not classes or len(mean) != len(std) or len(mean) not in (1, 3):
            raise ValueError("classes, mean and std do not fit together")
    except (KeyError, TypeError, ValueError) as error:
        words = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{path}: {words}; restore the file, or train the model again") from error
    return SavedModel(
        folder=folder,
        classes=classes,
        size_px=size_px,
        code=code,
        network=_read_network(folder, n_classes=len(classes), channels=len(mean) * code.packing**2),
        learned_from=learned,
        flips=flips,
        quarter_turns=turns,
        sha256=sha256_of(folder / UNET_WEIGHTS),
    )


def _read_network(folder: Path, *, n_classes: int, channels: int) -> nn.Module:
    diffusers = import_diffusers()
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtra("a saved model (safetensors)", "diffusion") from error
    try:
        config = read_json(folder / UNET_CONFIG)
        if config["num_class_embeds"] != n_classes + 1 or config["in_channels"] != channels:
            raise ValueError(f"{UNET_CONFIG.as_posix()} is of another class set or size than {GENERATOR_NAME}")
        weights = {name: one.to(torch.float32) for name, one in load_file(folder / UNET_WEIGHTS).items()}
        network: nn.Module = diffusers.UNet2DModel.from_config(config)
        network.load_state_dict(weights)
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: {Path(error.filename or '').name or 'a part'} is missing; restore it, or train again"
        ) from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        words = " ".join(str(error).split())[:160]
        raise ModelError(f"{folder / 'unet'}: cannot be used ({words}); restore the folder, or train again") from error
    return network.eval().requires_grad_(False)
