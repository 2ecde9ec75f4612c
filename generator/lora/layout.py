"""The file's layout: the one that kohya-ss/sd-scripts writes and every WebUI loads as `<lora:name:0.8>`.

For each adapted layer `<key>.lora_down.weight` (rank, in), `<key>.lora_up.weight` (out, rank) and `<key>.alpha`, a
number; a WebUI adds weight x alpha / rank x up @ down to the layer's own weights (AUTOMATIC1111/stable-diffusion-webui,
extensions-builtin/Lora/networks.py, network_lora.py, network.py). The key is a prefix and the layer's name, dots turned
into underscores: of SD 1.x and 2.x by the names that diffusers gives, of SDXL's UNet by those of the original code
(kohya-ss/sd-scripts, networks/lora.py, library/sdxl_model_util.py), which counts blocks through:
`down_blocks.i.attentions.j` is `input_blocks.(1 + 3 i + j).1`, `up_blocks.i.attentions.j` is
`output_blocks.(3 i + j).1`, and the middle one is `middle_block.1`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

_DOWN = re.compile(r"down_blocks\.(\d+)\.attentions\.(\d+)\.")
_UP = re.compile(r"up_blocks\.(\d+)\.attentions\.(\d+)\.")
_MIDDLE = re.compile(r"mid_block\.attentions\.0\.")
_PARTS = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
_LAYERS_A_BLOCK = 2


def file_tensors(
    prefix: str, tensors: Mapping[str, torch.Tensor], alpha: float, *, is_sdxl: bool, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The tensors of one model as the file holds them.

    Args:
        prefix: "lora_unet", "lora_te", "lora_te1" or "lora_te2".
        tensors: as `adapter_tensors` gives them.
        alpha: the same for every layer.
        is_sdxl: the model is SDXL's; matters for its UNet alone.
        dtype: of the weights.
    """
    written: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        layer, part = next((name.removesuffix(f".{end}"), end) for end in _PARTS if name.endswith(f".{end}"))
        key = layer_key(prefix, layer, is_sdxl=is_sdxl)
        written[f"{key}.{_PARTS[part]}"] = tensor.to(dtype).contiguous()
        written[f"{key}.alpha"] = torch.tensor(alpha, dtype=dtype)
    return written


def layer_key(prefix: str, layer: str, *, is_sdxl: bool) -> str:
    """The key of a layer, by its name in diffusers or transformers."""
    if is_sdxl and prefix == "lora_unet":
        layer = _DOWN.sub(lambda m: f"input_blocks.{1 + (_LAYERS_A_BLOCK + 1) * int(m[1]) + int(m[2])}.1.", layer)
        layer = _UP.sub(lambda m: f"output_blocks.{(_LAYERS_A_BLOCK + 1) * int(m[1]) + int(m[2])}.1.", layer)
        layer = _MIDDLE.sub("middle_block.1.", layer)
    return f"{prefix}_{layer.replace('.', '_')}"
