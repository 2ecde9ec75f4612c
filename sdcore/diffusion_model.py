"""A saved diffusion model: a folder in diffusers' own layout, with `generator.json` for what diffusers does not record.

::

    MODEL/
      generator.json                              classes, pixels, data, training (format below, version 1)
      model_index.json                            which part is of which class of diffusers
      unet/config.json
      unet/diffusion_pytorch_model.safetensors    the averaged weights
      scheduler/scheduler_config.json
      history.csv, sheet.png, resume.pt           of the training; not needed to use the model

`generator train` writes it; `sdclient serve --engine diffusion` reads the first five. Weights are only in safetensors,
never in a pickle; no code in any file is run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from . import __version__
from .errors import MissingExtra, ModelFileError
from .files import TEMPORARY_PATTERN, read_json, sha256_of, write_bytes_atomically, write_json
from .optional_imports import import_diffusers

GENERATOR_NAME = "generator.json"
INDEX_NAME = "model_index.json"
UNET_CONFIG = Path("unet", "config.json")
UNET_WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")
SCHEDULE_CONFIG = Path("scheduler", "scheduler_config.json")

_FORMAT, _VERSION = "sd-defects diffusion model", 1
_PACKAGES = ("torch", "diffusers", "safetensors", "numpy", "pillow")
_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_WHAT = "a saved diffusion model"
_LEAST_STD = 1 / 64
"""Of the 0-1 range, so that a set of one flat colour is not scaled up to noise."""


@dataclass(frozen=True)
class PixelCodec:
    """How levels of 0 to 255 become the network's input.

    A channel's levels are divided by 255, less `mean`, divided by `std`: unit variance, which the noise schedule of
    Stable Diffusion is made for, so that a denoising strength means what it means there. Then `packing` x `packing`
    pixels become the channels of one place (`torch.nn.functional.pixel_unshuffle`).
    """

    mean: tuple[float, ...]
    """One a colour channel."""
    std: tuple[float, ...]
    packing: int

    def encode(self, levels: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) levels from 0 to 255 -> (N, C packing^2, H / packing, W / packing) float32 for the network."""
        mean, std = self._columns(levels.device)
        return functional.pixel_unshuffle((levels.to(torch.float32) / 255 - mean) / std, self.packing)

    def decode(self, packed: torch.Tensor) -> torch.Tensor:
        """The levels again, (N, C, H, W) uint8, rounded and cut off at 0 and 255."""
        mean, std = self._columns(packed.device)
        levels = (functional.pixel_shuffle(packed.to(torch.float32), self.packing) * std + mean) * 255
        return levels.round().clamp(0, 255).to(torch.uint8)

    def encode_image(self, image: Image.Image) -> torch.Tensor:
        """The network's input, (C packing^2, H / packing, W / packing) float32; `packing` divides both sides."""
        levels = np.array(image.convert("L") if len(self.mean) == 1 else image.convert("RGB"))
        return self.encode(torch.from_numpy(levels).reshape(image.height, image.width, -1).permute(2, 0, 1)[None])[0]

    def decode_image(self, packed: torch.Tensor) -> Image.Image:
        """RGB, from one image as the network sees it."""
        (levels,) = self.decode(packed.detach().to("cpu", torch.float32)[None])
        return Image.fromarray(levels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())

    def encode_mask(self, mask: Image.Image) -> torch.Tensor:
        """Shares from 0 to 1 in the network's own shape, from an image of mode L."""
        share = torch.from_numpy(np.array(mask)).to(torch.float32)[None] / 255
        return functional.pixel_unshuffle(share.expand(len(self.mean), -1, -1), self.packing)

    def _columns(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = torch.tensor(self.mean, device=device), torch.tensor(self.std, device=device)
        return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)


def fit_pixel_codec(images: Iterable[torch.Tensor], packing: int) -> PixelCodec:
    """The codec of one or more (C, H, W) uint8 images: mean and standard deviation of each channel over all pixels."""
    count, total, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for image in images:
        values = image.to(torch.float64).flatten(1) / 255
        count += values.shape[1]
        total = total + values.sum(dim=1)
        squares = squares + values.square().sum(dim=1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=_LEAST_STD)
    return PixelCodec(tuple(mean.tolist()), tuple(std.tolist()), packing)


@dataclass(frozen=True)
class ModelDescription:
    """The content of `generator.json` without the record of the training."""

    classes: tuple[str, ...]
    size_px: int
    """Side of the square that it learned on."""
    codec: PixelCodec
    data: Mapping[str, Any]
    """The training images: fingerprint, images, counts, held_out, held_out_from, learned_from."""


@dataclass(frozen=True, eq=False)
class DiffusionModel:
    """A model ready to run on the CPU."""

    folder: Path
    classes: tuple[str, ...]
    size_px: int
    codec: PixelCodec
    network: nn.Module
    schedule: Mapping[str, Any]
    """The saved noise schedule, as diffusers' schedulers take it."""
    sha256: str
    """Of the weights' file."""
    fingerprint: str = ""
    """Of the images it learned from; "" when not recorded."""
    images: int = 0
    """Number of those images."""
    learned_from: frozenset[str] = frozenset()
    """SHA-256 of the files it learned from."""
    flips: bool = False
    """Whether it was trained on mirrored images."""
    quarter_turns: bool = False
    """Whether it was trained on turned images."""

    @property
    def channels(self) -> int:
        """1 for a grey model, else 3."""
        return len(self.codec.mean)

    @property
    def no_class(self) -> int:
        """The label that stands for no class."""
        return len(self.classes)


def save_model(
    folder: Path,
    network: nn.Module,
    schedule: Any,
    description: ModelDescription,
    *,
    training: Mapping[str, Any],
    half: bool,
) -> None:
    """Write the model, each file in one step; a failure leaves every file either as it was or new.

    `network` has the averaged weights, written in 16 bits with `half`; `training` is the record for `generator.json`.

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
    write_json(folder / GENERATOR_NAME, describe(description, training, half=half), indent=1)


def describe(description: ModelDescription, training: Mapping[str, Any], *, half: bool) -> dict[str, Any]:
    """The content of `generator.json`; arguments as for `save_model`."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "classes": list(description.classes),
        "no_class": len(description.classes),
        "size_px": description.size_px,
        "channels": len(description.codec.mean),
        "packing": description.codec.packing,
        "mean": list(description.codec.mean),
        "std": list(description.codec.std),
        "weights": "float16" if half else "float32",
        "training": dict(training),
        "data": dict(description.data),
        "versions": {"sd-defects": __version__, **{name: _version_or_none(name) for name in _PACKAGES}},
    }


def read_description(folder: Path) -> dict[str, Any]:
    """The content of `generator.json`.

    Raises:
        ModelFileError: not there, not readable, or of another version.
    """
    path = folder / GENERATOR_NAME
    content = _read_json(path)
    if content.get("format") != _FORMAT or content.get("version") != _VERSION:
        raise ModelFileError(
            f"{path}: cannot be read (format {content.get('format')!r}, version {content.get('version')!r}; expected "
            f"{_FORMAT!r}, version {_VERSION}, as 'generator train' of this release writes it)"
        )
    return content


def load_model(folder: Path) -> DiffusionModel:
    """Read a model; no code in any of its files is run.

    Raises:
        ModelFileError: it is missing, damaged, a pickle, of another version, or its parts do not fit together.
        MissingExtra: diffusers is not installed.
    """
    _refuse_pickles(folder)
    found = read_description(folder)
    try:
        classes = tuple(str(name) for name in found["classes"])
        no_class, size_px, channels = int(found["no_class"]), int(found["size_px"]), int(found["channels"])
        codec = PixelCodec(tuple(map(float, found["mean"])), tuple(map(float, found["std"])), int(found["packing"]))
        if not (classes and no_class == len(classes) and channels == len(codec.mean) == len(codec.std) in (1, 3)):
            raise ValueError("classes, no_class, channels, mean and std do not fit together")
        if codec.packing < 1 or size_px < 1 or size_px % codec.packing:
            raise ValueError(f"size_px {size_px} and packing {codec.packing} do not fit together")
        data = dict(found.get("data", {}))
        fingerprint, images = str(data.get("fingerprint", "")), int(data.get("images", 0))
        learned = frozenset(str(one["sha256"]) for one in data.get("learned_from", ()))
        config = dict(found.get("training", {}).get("config", {}))
    except (KeyError, TypeError, ValueError) as error:
        words = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(
            f"{folder / GENERATOR_NAME}: {words}; restore the file, or train the model again"
        ) from error
    network_config = _read_json(folder / UNET_CONFIG)
    sides = {"channels": channels * codec.packing**2, "side": size_px // codec.packing}
    _refuse_misfit(folder, network_config, classes=len(classes), **sides)
    weights = folder / UNET_WEIGHTS
    network = _build(folder, network_config, _read_weights(weights))
    return DiffusionModel(
        folder=folder,
        classes=classes,
        size_px=size_px,
        codec=codec,
        network=network,
        schedule=_read_json(folder / SCHEDULE_CONFIG),
        sha256=sha256_of(weights),
        fingerprint=fingerprint,
        images=images,
        learned_from=learned,
        flips=bool(config.get("flips")),
        quarter_turns=bool(config.get("quarter_turns")),
    )


def prepare_folder(folder: Path) -> None:
    """Make the folder, and remove what a kill left half-written.

    Raises:
        ModelFileError: there is a file of that name.
    """
    if folder.exists() and not folder.is_dir():
        raise ModelFileError(f"{folder}: a file; expected a folder to write the model into, choose another -o")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.rglob(TEMPORARY_PATTERN):
        path.unlink(missing_ok=True)


def clear_model(folder: Path) -> None:
    """Remove a model; first the file without which the rest is no model."""
    for name in (GENERATOR_NAME, INDEX_NAME, UNET_CONFIG, UNET_WEIGHTS, SCHEDULE_CONFIG):
        (folder / name).unlink(missing_ok=True)


def _version_or_none(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _refuse_pickles(folder: Path) -> None:
    """Unpickling runs any code in the file, so weights that are only there as a pickle are refused."""
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
    """The network must have the size and classes in `generator.json`."""
    expected = {"num_class_embeds": classes + 1, "in_channels": channels, "out_channels": channels, "sample_size": side}
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
    diffusers = import_diffusers(_WHAT)
    try:
        network: nn.Module = diffusers.UNet2DModel.from_config(dict(config))
        network.load_state_dict(dict(weights))
    except (RuntimeError, TypeError, ValueError) as error:
        words = " ".join(str(error).split())[:160]
        raise ModelFileError(
            f"{folder / 'unet'}: weights and config.json do not fit together ({words}); restore the folder as it was"
        ) from error
    return network.eval().requires_grad_(False)
