"""The trained part: low-rank updates beside the frozen layers, put there by peft."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from .base import Base
from .settings import LoraSettings, Targets

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_UNET_TARGETS: Mapping[Targets, tuple[str, ...]] = {
    "attention": _ATTENTION,
    "transformer": (*_ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
}
_TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


def adapted_models(base: Base, settings: LoraSettings) -> list[tuple[str, nn.Module]]:
    """The models that are adapted, each with the beginning of its keys in a LoRA file."""
    models = [("lora_unet", base.unet)]
    if settings.text_encoder:
        models += list(zip(base.family.text_prefixes, base.text_encoders, strict=True))
    return models


def add_adapters(base: Base, settings: LoraSettings, *, seed: int) -> None:
    """Put updates beside the layers; they change nothing yet, for one factor of each is zero.

    The other factor is drawn from the seed, whatever torch's own generator is at.
    """
    peft = importlib.import_module("peft")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about other packages' versions
        torch.manual_seed(seed)
        for prefix, model in adapted_models(base, settings):
            targets = _UNET_TARGETS[settings.targets] if prefix == "lora_unet" else _TEXT_TARGETS
            config = peft.LoraConfig(
                r=settings.rank, lora_alpha=settings.scale, lora_dropout=0.0, bias="none", target_modules=list(targets)
            )
            peft.inject_adapter_in_model(config, model)
            for parameter in trained(model):
                parameter.data = parameter.data.float()  # peft takes the frozen layer's type


def trained(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of the updates in a model."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def adapter_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The updates by layer: `<layer>.lora_A.weight` goes down to the rank, `<layer>.lora_B.weight` up again."""
    utils = importlib.import_module("peft.utils")
    tensors: dict[str, torch.Tensor] = utils.get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def load_adapter_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `adapter_tensors` gave.

    Raises:
        ValueError: the names or shapes are others.
    """
    own = dict(model.named_parameters())
    names = {_full_name(name): tensor for name, tensor in tensors.items()}
    wanted = {name for name, parameter in own.items() if parameter.requires_grad}
    if set(names) != wanted or any(own[name].shape != tensor.shape for name, tensor in names.items()):
        raise ValueError("the layers of the state are not those of this base")
    with torch.no_grad():
        for name, tensor in names.items():
            own[name].copy_(tensor)


def _full_name(name: str) -> str:
    """In peft's own names, which hold the adapter's name, ours being "default", before the last part."""
    layer, _, kind = name.rpartition(".")
    return f"{layer}.default.{kind}"
