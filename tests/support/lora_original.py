"""A diffusers folder written as one file in the layout of the original code, by rules written here for it.

CompVis/latent-diffusion and Stability-AI/generative-models count the UNet's blocks through, three to a level, and
OpenCLIP keeps query, key and value in one matrix.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def write_single_file(folder: Path, file: Path) -> Path:
    """The same weights in one file."""
    unet = _weights(folder / "unet")
    attends_at_once = any(name.startswith("up_blocks.0.attentions.") for name in unet)
    tensors = {
        f"model.diffusion_model.{unet_name(name, attends_at_once=attends_at_once)}": value
        for name, value in unet.items()
    }
    tensors |= {f"first_stage_model.{name}": value for name, value in _vae(_weights(folder / "vae")).items()}
    texts = _weights(folder / "text_encoder")
    if (folder / "text_encoder_2").is_dir():
        tensors |= {f"conditioner.embedders.0.transformer.{name}": value for name, value in texts.items()}
        second = _open_clip(_weights(folder / "text_encoder_2"))
        tensors |= {f"conditioner.embedders.1.model.{name}": value for name, value in second.items()}
    else:
        tensors |= {f"cond_stage_model.transformer.{name}": value for name, value in texts.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    return file


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(next(folder.glob("*.safetensors")))
    return tensors


def unet_name(name: str, *, attends_at_once: bool) -> str:
    """A tensor's name in the original code, by its name in diffusers.

    Args:
        name: in diffusers.
        attends_at_once: the first level on the way up has attention, as SDXL's and not as SD 1.x'.
    """
    if match := re.match(r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
        number = 1 + 3 * int(match[1]) + int(match[3])
        return _block(f"input_blocks.{number}", match[2], match[4])
    if match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.+)", name):
        return f"input_blocks.{3 * (int(match[1]) + 1)}.0.op.{match[2]}"
    if match := re.match(r"up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
        return _block(f"output_blocks.{3 * int(match[1]) + int(match[3])}", match[2], match[4])
    if match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.(.+)", name):
        place = 1 if match[1] == "0" and not attends_at_once else 2  # behind residual block and attention
        return f"output_blocks.{3 * int(match[1]) + 2}.{place}.{match[2]}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name):
        if match[1] == "attentions":
            return f"middle_block.1.{match[3]}"
        return f"middle_block.{2 * int(match[2])}.{_resnet(match[3])}"
    for ours, theirs in (
        ("conv_in.", "input_blocks.0.0."),
        ("conv_norm_out.", "out.0."),
        ("conv_out.", "out.2."),
        ("time_embedding.linear_1.", "time_embed.0."),
        ("time_embedding.linear_2.", "time_embed.2."),
        ("add_embedding.linear_1.", "label_emb.0.0."),
        ("add_embedding.linear_2.", "label_emb.0.2."),
    ):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


def _block(start: str, kind: str, rest: str) -> str:
    return f"{start}.1.{rest}" if kind == "attentions" else f"{start}.0.{_resnet(rest)}"


def _resnet(rest: str) -> str:
    part, _, end = rest.rpartition(".")
    return f"{_RESNET[part]}.{end}"


def _vae(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    written = {}
    for name, value in weights.items():
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        if "mid_block.attentions.0" in name:
            for ours, theirs in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
                name = name.replace(f"attentions.0.{ours}.", f"attentions.0.{theirs}.")
            name = name.replace("group_norm", "norm").replace("mid_block.attentions.0", "mid.attn_1")
            value = value[:, :, None, None] if value.ndim == 2 else value
        name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        written[name] = value
    return written


def _open_clip(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    written = {}
    for name, value in weights.items():
        if match := re.match(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            start, part, end = f"transformer.resblocks.{match[1]}", match[2], match[3]
            if part == "self_attn.q_proj":
                parts = [weights[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
                written[f"{start}.attn.in_proj_{end}"] = torch.cat(parts)
            elif part == "self_attn.out_proj":
                written[f"{start}.attn.out_proj.{end}"] = value
            elif part in _OPEN_CLIP:
                written[f"{start}.{_OPEN_CLIP[part]}.{end}"] = value
        elif name == "text_projection.weight":
            written["text_projection"] = value.T
        else:
            name = name.replace("text_model.embeddings.position_embedding.weight", "positional_embedding")
            name = name.replace("text_model.embeddings.token_embedding", "token_embedding")
            written[name.replace("text_model.final_layer_norm", "ln_final")] = value
    return written
