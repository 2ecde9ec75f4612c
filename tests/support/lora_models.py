"""Tiny random Stable Diffusions, built from configuration and saved as diffusers folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sdcore.optional_imports import import_diffusers

_VAE = {
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
    "sample_size": 64,
}
_TEXT = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 77}


def write_tokenizer(folder: Path, *, pad: str = "<|endoftext|>") -> Any:
    """A tokenizer that knows single letters alone, in CLIP's form."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocab = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=pad)
    tokenizer.model_max_length = 77
    tokenizer.save_pretrained(folder)
    return tokenizer


def text_encoder(tokenizer: Any, *, width: int, projected: bool = False, act: str = "quick_gelu") -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        projection_dim=width,
        hidden_act=act,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **_TEXT,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def write_sd1(folder: Path, *, prediction: str = "epsilon") -> Path:
    """A folder in the form of Stable Diffusion 1.x: four levels, attention in the first three."""
    diffusers = import_diffusers()
    torch.manual_seed(1)
    tokenizer = write_tokenizer(folder / "tokenizer")
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    return _save(folder, "StableDiffusionPipeline", unet, [(tokenizer, text_encoder(tokenizer, width=16))], prediction)


def write_sdxl(folder: Path, *, prediction: str = "epsilon") -> Path:
    """A folder in the form of SDXL: three levels, attention in the lower two, two text encoders."""
    diffusers = import_diffusers()
    torch.manual_seed(2)
    tokenizers = [write_tokenizer(folder / "tokenizer"), write_tokenizer(folder / "tokenizer_2", pad="!")]
    encoders = [text_encoder(tokenizers[0], width=16), text_encoder(tokenizers[1], width=8, projected=True, act="gelu")]
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        transformer_layers_per_block=(1, 2, 2),
        norm_num_groups=4,
        cross_attention_dim=24,
        attention_head_dim=2,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=8 + 6 * 4,
    )
    parts = list(zip(tokenizers, encoders, strict=True))
    return _save(folder, "StableDiffusionXLPipeline", unet, parts, prediction)


def _save(folder: Path, kind: str, unet: Any, texts: list[tuple[Any, Any]], prediction: str) -> Path:
    diffusers = import_diffusers()
    scheduler = diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
    )
    parts = {"unet": unet, "vae": diffusers.AutoencoderKL(**_VAE), "scheduler": scheduler}
    index: dict[str, Any] = {"_class_name": kind, "unet": ["diffusers", "UNet2DConditionModel"]}
    index |= {"vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "DDPMScheduler"]}
    for number, (_, encoder) in enumerate(texts):
        end = f"_{number + 1}" if number else ""
        parts[f"text_encoder{end}"] = encoder
        index[f"text_encoder{end}"] = ["transformers", type(encoder).__name__]
        index[f"tokenizer{end}"] = ["transformers", "CLIPTokenizer"]
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
