"""What kinds of Stable Diffusion a LoRA can be trained for, and how their parts are built (pure).

A checkpoint in one file holds weights alone; how the networks are put together stands here, so that nothing is
fetched. The numbers are those that the checkpoints' makers published: CompVis/stable-diffusion, configs/stable-
diffusion/v1-inference.yaml; Stability-AI/generative-models, configs/inference/sd_xl_base.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    """One kind of Stable Diffusion.

    Attributes:
        name: for people.
        version: as LoRA files name it (`ss_base_model_version`); a WebUI shows SDXL's by its "sdxl_" in front.
        architecture: as the ModelSpec standard names it (`modelspec.architecture`).
        native_px: side of the square it was trained on.
        text_prefixes: what the keys of a LoRA for its text encoders begin with, in their order.
        components: how each part is built, by its folder; empty where a checkpoint in one file is not read.
    """

    name: str
    version: str
    architecture: str
    native_px: int
    text_prefixes: tuple[str, ...]
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_sdxl(self) -> bool:
        """Whether it has two text encoders, and is told the size and the crop of each picture."""
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
"""The kinds of diffusers folders that can be a base, by the class their `model_index.json` names."""


def family_of(context_dim: int) -> Family | None:
    """The kind by the width of what the UNet attends to; None when it is none of those known."""
    return {768: SD1, 1024: SD2, 2048: SDXL}.get(context_dim)


def model_index(family: Family) -> dict[str, Any]:
    """A diffusers folder's table of contents, for a checkpoint in one file."""
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
