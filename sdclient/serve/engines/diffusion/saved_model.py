"""Read the folder that `generator train` writes: weights in safetensors alone, never a pickle.

The format is described in docs/generator.md; `generator.json` is its version 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdcore.files import read_json, sha256_of
from sdcore.optional_imports import import_diffusers

from ....errors import MissingExtra, ModelFileError
from .pixel_code import PixelCode

GENERATOR_NAME = "generator.json"
UNET_CONFIG = Path("unet", "config.json")
UNET_WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")
SCHEDULE_CONFIG = Path("scheduler", "scheduler_config.json")

_FORMAT, _VERSION = "sd-defects diffusion model", 1
_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_WHAT = "'sdclient serve --engine diffusion'"


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A model ready to run on the CPU."""

    folder: Path
    classes: tuple[str, ...]
    no_class: int
    """The label that stands for no class."""
    size_px: int
    code: PixelCode
    network: nn.Module
    schedule: Mapping[str, Any]
    """The saved noise schedule, as diffusers' schedulers take it."""
    sha256: str
    """Of the weights' file."""
    fingerprint: str
    """Of the pictures it learned from; "" when it does not say."""
    images: int
    """How many those were."""

    @property
    def channels(self) -> int:
        """1 for a grey model, else 3."""
        return len(self.code.mean)


def load_model(folder: Path) -> SavedModel:
    """Read a model; no code in any of its files is run.

    Raises:
        ModelFileError: it is missing, damaged, a pickle, of another version, or its parts do not fit together.
        MissingExtra: diffusers is not installed.
    """
    _refuse_pickles(folder)
    told = _read_json(folder / GENERATOR_NAME)
    if told.get("format") != _FORMAT or told.get("version") != _VERSION:
        raise ModelFileError(
            f"{folder / GENERATOR_NAME}: format {told.get('format')!r}, version {told.get('version')!r}; expected "
            f"{_FORMAT!r}, version {_VERSION}, as 'generator train' of this release writes it"
        )
    try:
        classes = tuple(str(name) for name in told["classes"])
        no_class, size_px, channels = int(told["no_class"]), int(told["size_px"]), int(told["channels"])
        code = PixelCode(_numbers(told["mean"]), _numbers(told["std"]), int(told["packing"]))
        if not (classes and no_class == len(classes) and channels == len(code.mean) == len(code.std) in (1, 3)):
            raise ValueError("classes, no_class, channels, mean and std do not fit together")
        if code.packing < 1 or size_px < 1 or size_px % code.packing:
            raise ValueError(f"size_px {size_px} and packing {code.packing} do not fit together")
        data = dict(told.get("data", {}))
        fingerprint, images = str(data.get("fingerprint", "")), int(data.get("images", 0))
    except (KeyError, TypeError, ValueError) as error:
        words = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(
            f"{folder / GENERATOR_NAME}: {words}; restore the file, or train the model again"
        ) from error
    config = _read_json(folder / UNET_CONFIG)
    sides = {"channels": channels * code.packing**2, "side": size_px // code.packing}
    _refuse_misfit(folder, config, classes=len(classes), **sides)
    weights = folder / UNET_WEIGHTS
    network = _build(folder, config, _read_weights(weights))
    return SavedModel(
        folder=folder,
        classes=classes,
        no_class=no_class,
        size_px=size_px,
        code=code,
        network=network,
        schedule=_read_json(folder / SCHEDULE_CONFIG),
        sha256=sha256_of(weights),
        fingerprint=fingerprint,
        images=images,
    )


def _refuse_pickles(folder: Path) -> None:
    """A file that would have to be unpickled runs whatever its author liked; so does one beside missing safetensors."""
    if folder.is_file():
        kind = "a pickle, which can run code when it is read" if folder.suffix.lower() in _PICKLES else "a file"
        raise ModelFileError(
            f"{folder}: {kind}; expected a folder that 'generator train' wrote, with its weights in safetensors"
        )
    if not folder.is_dir():
        raise ModelFileError(f"{folder}: no such folder; expected one that 'generator train' wrote")
    if (folder / UNET_WEIGHTS).is_file():
        return
    pickles = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICKLES and path.name != "resume.pt")
    if pickles:
        raise ModelFileError(
            f"{pickles[0]}: a pickle, which can run code when it is read; only weights in safetensors are loaded, so "
            "have its maker save it as such"
        )
    raise ModelFileError(
        f"{folder}: no {UNET_WEIGHTS.as_posix()} in it; expected a folder that 'generator train' wrote (its first "
        "weights come with its first validation)"
    )


def _refuse_misfit(folder: Path, config: Mapping[str, Any], *, classes: int, channels: int, side: int) -> None:
    """The network must be of the size and class set that `generator.json` tells."""
    expected = {
        "num_class_embeds": classes + 1,
        "in_channels": channels,
        "out_channels": channels,
        "sample_size": side,
    }
    for name, value in expected.items():
        if config.get(name) != value:
            raise ModelFileError(
                f"{folder / UNET_CONFIG}: {name} is {config.get(name)!r}, but by {GENERATOR_NAME} it is {value}; the "
                "two are of different models, restore the folder as it was"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: not there; expected a folder that 'generator train' wrote") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error}); restore it, or train the model again") from error
    except ValueError as error:
        raise ModelFileError(
            f"{path}: cannot be read, not a JSON object ({error}); restore it, or train the model again"
        ) from error


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtra(_WHAT, "diffusion") from error
    try:
        return {name: one.to(torch.float32) for name, one in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cannot be read ({error}); restore it, or train the model again") from error


def _build(folder: Path, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> nn.Module:
    # A sampler needs torchsde; asked for here, its absence is told before the server answers.
    diffusers = import_diffusers(_WHAT, also=("torchsde",))
    try:
        network: nn.Module = diffusers.UNet2DModel.from_config(dict(config))
        network.load_state_dict(dict(weights))
    except (RuntimeError, TypeError, ValueError) as error:
        words = " ".join(str(error).split())[:160]
        raise ModelFileError(
            f"{folder / 'unet'}: weights and config.json do not fit together ({words}); restore the folder as it was"
        ) from error
    return network.eval().requires_grad_(False)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
