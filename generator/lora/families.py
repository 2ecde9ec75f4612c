"""The kinds of Stable Diffusion, and how to recognise the kind of a checkpoint.

A checkpoint in one file holds only weights. The architecture of its networks is defined here, so that nothing has to be
downloaded. The numbers were published by the makers of the checkpoints: CompVis/stable-diffusion, configs/stable-
diffusion/v1-inference.yaml; Stability-AI/generative-models, configs/inference/sd_xl_base.yaml.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdcore.files import read_json

from ..errors import ModelError

_UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
}
_VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "act_fn": "silu",
    "norm_num_groups": 32,
}
_TEXT = {
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
_CLIP_L = {
    **_TEXT,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
_OPEN_CLIP_BIG_G = {
    **_TEXT,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
}


@dataclass(frozen=True)
class Family:
    """One kind of Stable Diffusion."""

    name: str
    """For messages."""
    version: str
    """Its name in LoRA files (`ss_base_model_version`); a WebUI recognises SDXL by the prefix "sdxl_"."""
    architecture: str
    """Its name in the ModelSpec standard (`modelspec.architecture`)."""
    native_px: int
    """Side of the square images it was trained on."""
    text_prefixes: tuple[str, ...]
    """Prefix of the keys of a LoRA, for each of its text encoders."""
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Folder -> configuration of that part; empty if checkpoints in one file are not supported."""

    @property
    def is_sdxl(self) -> bool:
        """Whether it has two text encoders and takes the size and crop of each image as inputs."""
        return len(self.text_prefixes) > 1


SD1 = Family(
    name="Stable Diffusion 1.x",
    version="sd_v1",
    architecture="stable-diffusion-v1/lora",
    native_px=512,
    text_prefixes=("lora_te",),
    components={
        "unet": {
            **_UNET,
            "sample_size": 64,
            "block_out_channels": [320, 640, 1280, 1280],
            "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
            "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
            "cross_attention_dim": 768,
            "attention_head_dim": 8,
        },
        "vae": {**_VAE, "sample_size": 512, "scaling_factor": 0.18215},
        "text_encoder": {**_CLIP_L, "architectures": ["CLIPTextModel"], "model_type": "clip_text_model"},
        "scheduler": _SCHEDULE,
    },
)
SD2 = Family(
    name="Stable Diffusion 2.x",
    version="sd_v2",
    architecture="stable-diffusion-v2/lora",
    native_px=768,
    text_prefixes=("lora_te",),
)
SDXL = Family(
    name="SDXL",
    version="sdxl_base_v1-0",
    architecture="stable-diffusion-xl-v1-base/lora",
    native_px=1024,
    text_prefixes=("lora_te1", "lora_te2"),
    components={
        "unet": {
            **_UNET,
            "sample_size": 128,
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 10],
            "cross_attention_dim": 2048,
            "attention_head_dim": [5, 10, 20],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
        "text_encoder": {**_CLIP_L, "architectures": ["CLIPTextModel"], "model_type": "clip_text_model"},
        "text_encoder_2": {
            **_OPEN_CLIP_BIG_G,
            "architectures": ["CLIPTextModelWithProjection"],
            "model_type": "clip_text_model",
        },
        "scheduler": _SCHEDULE,
    },
)

PIPELINES = {"StableDiffusionPipeline": "one text encoder", "StableDiffusionXLPipeline": "two text encoders"}
"""The pipeline classes in the `model_index.json` of a diffusers folder that can be a base."""


def family_of(context_dim: int) -> Family | None:
    """The kind, from the width of the text embeddings that the UNet attends to; None for an unknown width."""
    return {768: SD1, 1024: SD2, 2048: SDXL}.get(context_dim)


def model_index(family: Family) -> dict[str, Any]:
    """The `model_index.json` of a diffusers folder, for a checkpoint in one file."""
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if family.is_sdxl else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    if family.is_sdxl:
        index |= {
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
        }
    return index


PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_UNET_KEY = "model.diffusion_model."
_FIRST = f"{_UNET_KEY}input_blocks.0.0.weight"
_VAE_KEY = "first_stage_model."
_TEXT_KEY = {
    "cond_stage_model.transformer.text_model.": SD1,
    "cond_stage_model.model.": SD2,
    "conditioner.embedders.1.model.": SDXL,
}
_CONVERT = "convert it to .safetensors first (a WebUI's tab Checkpoint Merger does), and only if you trust its source"
_WANTED = "expected a Stable Diffusion 1.x or SDXL checkpoint (.safetensors) or a diffusers folder"


@dataclass(frozen=True)
class BaseDescription:
    """Facts about a base model that are known without loading it."""

    family: Family
    is_folder: bool
    """Whether it is a diffusers folder, not one file."""
    predicts_v: bool = False
    """Whether it declares that it predicts velocities, not noise."""
    zero_snr: bool = False
    """Whether it declares that its last timestep is pure noise."""


def describe_base(path: Path) -> BaseDescription:
    """Recognise a base model without loading it.

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
        ModelError: it is not a safetensors file, or is not complete.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError("no header")
            header = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        ends = [entry["data_offsets"][1] for entry in tensors.values()]
        if not ends or size < 8 + length + max(ends):
            raise ValueError("its end is missing")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not a complete safetensors file ({error}); copy or download it again") from error
    return tensors


def _describe_file(path: Path, header: Mapping[str, Any]) -> BaseDescription:
    if _FIRST not in header:
        raise ModelError(f"--base {path}: {_foreign(header)}; {_WANTED}")
    channels = header[_FIRST]["shape"][1]
    if channels != SD1.components["unet"]["in_channels"]:
        raise ModelError(
            f"--base {path}: its network takes {channels} channels, as inpainting models do; train on the plain model, "
            "whose LoRA works with the inpainting one too"
        )
    family = next((one for start, one in _TEXT_KEY.items() if any(name.startswith(start) for name in header)), None)
    if family is None:
        what = "an SDXL refiner" if any(name.startswith("conditioner.") for name in header) else "no text encoder in it"
        raise ModelError(f"--base {path}: {what}; {_WANTED}")
    if not any(name.startswith(_VAE_KEY) for name in header):
        raise ModelError(f"--base {path}: no VAE in it; use a checkpoint that holds one")
    return BaseDescription(family, is_folder=False, predicts_v="v_pred" in header, zero_snr="ztsnr" in header)


def _foreign(header: Mapping[str, Any]) -> str:
    if any("lora_" in name for name in header):
        return "a LoRA, not a base model"
    if any(name.startswith(("down_blocks.", "unet.")) for name in header):
        return "one part of a diffusers folder; give the folder itself"
    return "not a Stable Diffusion checkpoint"


def _describe_folder(path: Path) -> BaseDescription:
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
    return BaseDescription(
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
    """Whether the content is a pickle, plain or in torch's zip archive, whatever the file's name."""
    with path.open("rb") as file:
        return file.read(2) in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}
