"""The keys of a LoRA file, against the module names of the real networks, built from configuration without memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from generator.config import LoraSettings
from generator.lora.families import SD1, SDXL, Family
from generator.lora.files import file_tensors, layer_key
from generator.lora.session import add_adapters
from sdcore.optional_imports import import_diffusers
from tests.support.lora_original import unet_name


def real_unet(family: Family) -> Any:
    with torch.device("meta"):
        return import_diffusers().UNet2DConditionModel.from_config(dict(family.components["unet"]))


def adapted_layers(unet: Any, settings: LoraSettings) -> set[str]:
    """Names of the layers that get an update, as our code chooses them."""
    add_adapters(SimpleNamespace(unet=unet), settings, seed=0)  # type: ignore[arg-type]
    names = [name for name, parameter in unet.named_parameters() if parameter.requires_grad and "lora_A" in name]
    return {name.partition(".lora_A")[0] for name in names}


def attention_layers(unet: Any) -> set[str]:
    """Names of all projections in attentions, by the types of the modules."""
    kinds = {name for name, module in unet.named_modules() if type(module).__name__ == "Attention"}
    return {
        name
        for name, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear) and any(name.startswith(f"{kind}.") for kind in kinds)
    }


def transformer_layers(unet: Any) -> set[str]:
    """Names of all linear layers and convolutions in transformers: what kohya-ss/sd-scripts adapts."""
    kinds = {name for name, module in unet.named_modules() if type(module).__name__ == "Transformer2DModel"}
    return {
        name
        for name, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and any(name.startswith(f"{k}.") for k in kinds)
    }


@pytest.mark.parametrize(("family", "layers"), [(SD1, 128), (SDXL, 560)], ids=["sd1", "sdxl"])
def test_every_attention_of_the_real_unet_is_adapted_and_no_other_layer(family: Family, layers: int) -> None:
    expected = attention_layers(real_unet(family))
    assert len(expected) == layers  # 16 and 70 transformer blocks of two attentions with four projections
    assert adapted_layers(real_unet(family), LoraSettings(rank=4)) == expected


@pytest.mark.parametrize(("family", "layers"), [(SD1, 192), (SDXL, 722)], ids=["sd1", "sdxl"])
def test_the_wider_choice_is_the_one_of_the_layouts_inventor(family: Family, layers: int) -> None:
    expected = transformer_layers(real_unet(family))
    assert len(expected) == layers
    assert adapted_layers(real_unet(family), LoraSettings(rank=4, targets="transformer")) == expected


def test_keys_of_sd1_are_the_real_module_names_with_underscores() -> None:
    layers = attention_layers(real_unet(SD1))
    keys = {layer_key("lora_unet", layer, is_sdxl=False) for layer in layers}
    assert keys == {"lora_unet_" + layer.replace(".", "_") for layer in layers}
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" in keys
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0" in keys


def test_keys_of_sdxl_count_blocks_through_as_the_original_code_does() -> None:
    layers = attention_layers(real_unet(SDXL))
    keys = {layer_key("lora_unet", layer, is_sdxl=True) for layer in layers}
    names = {unet_name(f"{layer}.weight", attends_at_once=True) for layer in layers}
    assert keys == {"lora_unet_" + name.removesuffix(".weight").replace(".", "_") for name in names}
    # Of the published SDXL LoRAs.
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k" in keys
    assert "lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_v" in keys
    assert "lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q" in keys
    assert "lora_unet_output_blocks_5_1_transformer_blocks_1_attn2_to_out_0" in keys
    assert not any("down_blocks" in key or "up_blocks" in key for key in keys)


@pytest.mark.parametrize(("prefix", "family"), [("lora_te", SD1), ("lora_te1", SDXL), ("lora_te2", SDXL)])
def test_keys_of_the_text_encoders(prefix: str, family: Family) -> None:
    assert prefix in family.text_prefixes
    key = layer_key(prefix, "text_model.encoder.layers.11.self_attn.q_proj", is_sdxl=family.is_sdxl)
    assert key == f"{prefix}_text_model_encoder_layers_11_self_attn_q_proj"


def test_each_layer_has_its_two_factors_and_alpha() -> None:
    tensors = {"mid.to_q.lora_A.weight": torch.ones(2, 8), "mid.to_q.lora_B.weight": torch.ones(4, 2)}
    written = file_tensors("lora_unet", tensors, 3.0, is_sdxl=False, dtype=torch.float16)
    assert {name: tuple(tensor.shape) for name, tensor in written.items()} == {
        "lora_unet_mid_to_q.lora_down.weight": (2, 8),
        "lora_unet_mid_to_q.lora_up.weight": (4, 2),
        "lora_unet_mid_to_q.alpha": (),
    }
    assert float(written["lora_unet_mid_to_q.alpha"]) == 3.0
    assert {tensor.dtype for tensor in written.values()} == {torch.float16}
