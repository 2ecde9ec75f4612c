"""A saved model: a folder in diffusers' own layout, with `generator.json` that says what diffusers does not.

::

    MODEL/
      generator.json                              classes, pixels, data, training (format below, version 1)
      model_index.json                            which part is of which class of diffusers
      unet/config.json
      unet/diffusion_pytorch_model.safetensors    the averaged weights
      scheduler/scheduler_config.json
      history.csv, sheet.png, resume.pt           of the training; not needed to use the model

`sdclient serve --engine diffusion` reads the first five.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdcore.files import TEMPORARY_PATTERN, read_json, write_bytes_atomically, write_json

from . import __version__
from .config import NetworkConfig
from .dataset import TrainingSet
from .errors import ModelError
from .pixels import PixelCode

GENERATOR_NAME = "generator.json"
INDEX_NAME = "model_index.json"
UNET_CONFIG = Path("unet", "config.json")
UNET_WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")
SCHEDULE_CONFIG = Path("scheduler", "scheduler_config.json")

_FORMAT = "sd-defects diffusion model"
_VERSION = 1
_PACKAGES = ("torch", "diffusers", "safetensors", "numpy", "pillow")


@dataclass(frozen=True)
class ModelFacts:
    """What `generator.json` says, but for the record of the training."""

    classes: tuple[str, ...]
    network: NetworkConfig
    code: PixelCode
    data: Mapping[str, Any]

    @classmethod
    def of(cls, pictures: TrainingSet, network: NetworkConfig, code: PixelCode) -> ModelFacts:
        """The facts of a model of these pictures."""
        lineage = [
            {"file": picture.file, "class": pictures.classes[picture.label], "sha256": picture.sha256}
            for picture in pictures.train
        ]
        data = {
            "fingerprint": pictures.fingerprint,
            "images": len(pictures.train),
            "counts": pictures.counts,
            "held_out": len(pictures.val),
            "held_out_from": pictures.val_from,
            "learned_from": lineage,
        }
        return cls(pictures.classes, network, code, data)


def save_model(
    folder: Path, network: nn.Module, schedule: Any, facts: ModelFacts, *, training: Mapping[str, Any], half: bool
) -> None:
    """Write the model, each file in one step; a failure leaves every file either as it was or new.

    Args:
        folder: where to.
        network: the averaged one.
        schedule: that it was trained with.
        facts: what it is a model of.
        training: the record of its training.
        half: write its weights in 16 bits.

    Raises:
        OSError: a file cannot be written, above all because the disk is full.
    """
    from safetensors.torch import save

    dtype = torch.float16 if half else torch.float32
    weights = {name: one.to("cpu", dtype).contiguous() for name, one in network.state_dict().items()}
    write_bytes_atomically(folder / UNET_WEIGHTS, save(weights, metadata={"format": "pt"}))
    write_bytes_atomically(folder / UNET_CONFIG, network.to_json_string().encode())  # type: ignore[operator]
    write_bytes_atomically(folder / SCHEDULE_CONFIG, schedule.to_json_string().encode())
    index = {
        "_class_name": "ClassConditionalPixelDiffusion",
        "_diffusers_version": version("diffusers"),
        "scheduler": ["diffusers", type(schedule).__name__],
        "unet": ["diffusers", type(network).__name__],
    }
    write_json(folder / INDEX_NAME, index, indent=1)
    write_json(folder / GENERATOR_NAME, _described(facts, training, half), indent=1)


def _described(facts: ModelFacts, training: Mapping[str, Any], half: bool) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "classes": list(facts.classes),
        "no_class": len(facts.classes),
        "size_px": facts.network.size_px,
        "channels": len(facts.code.mean),
        "packing": facts.code.packing,
        "mean": list(facts.code.mean),
        "std": list(facts.code.std),
        "weights": "float16" if half else "float32",
        "training": dict(training),
        "data": dict(facts.data),
        "versions": {"sd-defects": __version__, **{name: _version_or_none(name) for name in _PACKAGES}},
    }


def read_described(folder: Path) -> dict[str, Any]:
    """The content of `generator.json`.

    Raises:
        ModelError: not there, not readable, or of another version.
    """
    path = folder / GENERATOR_NAME
    try:
        content = read_json(path)
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise ValueError(f"format {content['format']!r}, version {content['version']}")
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: no {GENERATOR_NAME} in it; expected a folder that 'generator train' wrote"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); restore it, or train the model again") from error
    return content


def prepare_folder(folder: Path) -> None:
    """Make the folder, and remove what a kill left half-written.

    Raises:
        ModelError: there is a file of that name.
    """
    if folder.exists() and not folder.is_dir():
        raise ModelError(f"{folder}: a file; expected a folder to write the model into, choose another -o")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.rglob(TEMPORARY_PATTERN):
        path.unlink(missing_ok=True)


def clear_model(folder: Path) -> None:
    """Remove a model; first the file without which the rest is none."""
    for name in (GENERATOR_NAME, INDEX_NAME, UNET_CONFIG, UNET_WEIGHTS, SCHEDULE_CONFIG):
        (folder / name).unlink(missing_ok=True)


def _version_or_none(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
