"""What a base model's file or folder is, told from names and shapes before any weight is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.files import read_json

from ..errors import ModelError
from .families import PIPELINES, SD1, SD2, SDXL, Family, family_of

PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_UNET = "model.diffusion_model."
_FIRST = f"{_UNET}input_blocks.0.0.weight"
_VAE = "first_stage_model."
_TEXT = {
    "cond_stage_model.transformer.text_model.": SD1,
    "cond_stage_model.model.": SD2,
    "conditioner.embedders.1.model.": SDXL,
}
_CONVERT = "convert it to .safetensors first (a WebUI's tab Checkpoint Merger does), and only if you trust its source"
_WANTED = "expected a Stable Diffusion 1.x or SDXL checkpoint (.safetensors) or a diffusers folder"


@dataclass(frozen=True)
class Described:
    """What a base turned out to be.

    Attributes:
        family: its kind.
        is_folder: a diffusers folder, not one file.
        predicts_v: it says that it predicts velocities, not noise.
        zero_snr: it says that its last step is noise alone.
    """

    family: Family
    is_folder: bool
    predicts_v: bool = False
    zero_snr: bool = False


def describe_base(path: Path) -> Described:
    """Look at a base without loading it.

    Raises:
        ModelError: it is missing, a pickle, another kind of model, or damaged.
    """
    if path.is_dir():
        return _describe_folder(path)
    if not path.exists():
        raise ModelError(f"--base {path}: no such file or folder; {_WANTED}")
    if path.suffix.lower() in PICKLES or _is_pickle(path):
        raise ModelError(f"--base {path}: a pickle, which can run any program when it is opened; {_CONVERT}")
    return _describe_file(path, read_header(path))


def read_header(path: Path) -> Mapping[str, Any]:
    """Names, types and shapes of the tensors in a safetensors file.

    Raises:
        ModelError: it is not one.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError("no header")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if not ends or size < 8 + length + max(ends):
            raise ValueError("its end is missing")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: no whole safetensors file ({error}); copy or download it again") from error
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _describe_file(path: Path, header: Mapping[str, Any]) -> Described:
    if _FIRST not in header:
        raise ModelError(f"--base {path}: {_foreign(header)}; {_WANTED}")
    channels = header[_FIRST]["shape"][1]
    if channels != SD1.components["unet"]["in_channels"]:
        raise ModelError(
            f"--base {path}: its network takes {channels} channels, as inpainting models do; train on the plain model, "
            "whose LoRA works with the inpainting one too"
        )
    family = next((family for start, family in _TEXT.items() if any(name.startswith(start) for name in header)), None)
    if family is None:
        what = "an SDXL refiner" if any(name.startswith("conditioner.") for name in header) else "no text encoder in it"
        raise ModelError(f"--base {path}: {what}; {_WANTED}")
    if not any(name.startswith(_VAE) for name in header):
        raise ModelError(f"--base {path}: no VAE in it; use a checkpoint that holds one")
    return Described(family, is_folder=False, predicts_v="v_pred" in header, zero_snr="ztsnr" in header)


def _foreign(header: Mapping[str, Any]) -> str:
    if any("lora_" in name for name in header):
        return "a LoRA, not a base model"
    if any(name.startswith(("down_blocks.", "unet.")) for name in header):
        return "one part of a diffusers folder; give the folder itself"
    return "not a Stable Diffusion checkpoint"


def _describe_folder(path: Path) -> Described:
    index = _read_json(path / "model_index.json", path)
    kind = index.get("_class_name")
    if kind not in PIPELINES:
        raise ModelError(f"--base {path}: a {kind!r}; expected a folder of {' or '.join(PIPELINES)}")
    unet = _read_json(path / "unet" / "config.json", path)
    family = family_of(unet["cross_attention_dim"]) if isinstance(unet.get("cross_attention_dim"), int) else None
    if kind == "StableDiffusionXLPipeline":
        family = SDXL
    elif family is None or family.is_sdxl:
        family = SD1
    if unet.get("in_channels") != SD1.components["unet"]["in_channels"]:
        raise ModelError(f"--base {path}: its network takes {unet.get('in_channels')} channels; give the plain model")
    for part in ("unet", "vae", "text_encoder", *(["text_encoder_2"] if family.is_sdxl else [])):
        if not any((path / part).glob("*.safetensors")):
            pickled = any((path / part).glob("*.bin"))
            found = "pickles, which can run any program when they are opened" if pickled else "no weights"
            raise ModelError(f"--base {path}: {part}/ holds {found}; expected {part}/*.safetensors")
    schedule = _read_json(path / "scheduler" / "scheduler_config.json", path)
    return Described(
        family,
        is_folder=True,
        predicts_v=schedule.get("prediction_type") == "v_prediction",
        zero_snr=bool(schedule.get("rescale_betas_zero_snr")),
    )


def _read_json(file: Path, named: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except FileNotFoundError as error:
        raise ModelError(f"--base {named}: {file.relative_to(named).as_posix()} is missing; {_WANTED}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: cannot be read ({error}); copy the folder again") from error


def _is_pickle(path: Path) -> bool:
    """A pickle, bare or in torch's zip archive, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}
