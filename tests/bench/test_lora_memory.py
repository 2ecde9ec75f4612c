"""The count of memory against what torch keeps, and against sums done by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lora_memory import kept_bytes, memory_need
from torch import nn

from generator.config import LoraSettings
from generator.lora.base_model import load_base
from generator.lora.families import SD1
from generator.lora.session import add_adapters, trainable_parameters
from tests.support.lora_models import write_sd1


def test_what_a_layer_keeps_is_what_backward_needs() -> None:
    layer = nn.Linear(8, 4)
    given = torch.ones((3, 8), requires_grad=True)
    assert kept_bytes(layer, lambda: layer(given)) == 3 * 8 * 4  # the input, for the gradient of the weight
    layer.requires_grad_(False)
    assert kept_bytes(layer, lambda: layer(given)) == 0  # a frozen one needs its weight alone
    assert kept_bytes(layer, lambda: (layer(given).exp(), layer(given).exp())) == 2 * 3 * 4 * 4  # results of exp


def test_one_storage_counts_once() -> None:
    given = torch.ones((3, 8), requires_grad=True)
    assert kept_bytes(nn.Identity(), lambda: given[:1] * given[1:2] * given[2:]) < 3 * 3 * 8 * 4


def test_weights_and_updates_are_those_of_the_published_network() -> None:
    need = memory_need(SD1, LoraSettings(size_px=64, batch=1, rank=4))
    assert need.weights == 2 * 859_520_964
    # Rank 4 in 16 blocks of two attentions: 797,184 numbers, as published LoRAs of this kind hold.
    assert need.updates == 16 * 797_184
    with_text = memory_need(SD1, LoraSettings(size_px=64, batch=1, rank=4, text_encoder=True))
    # And the positions of its 77 tokens, 8 bytes each.
    assert with_text.weights == need.weights + 2 * 123_060_480 + 8 * 77
    assert with_text.updates == need.updates + 16 * 12 * 4 * 4 * (768 + 768)


def test_activations_grow_with_pictures_and_shrink_by_checkpointing() -> None:
    one, two, twice = (
        memory_need(SD1, LoraSettings(size_px=128, batch=pictures, gradient_checkpointing=checkpointing))
        for pictures, checkpointing in ((1, False), (2, False), (1, True))
    )
    assert two.activations == pytest.approx(2 * one.activations, rel=0.05)
    assert twice.activations < 0.4 * one.activations
    assert twice.total < one.total < two.total


def test_the_count_without_content_is_that_of_a_real_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_base(write_sd1(tmp_path / "sd1"))
    unet = base.unet
    settings = LoraSettings(size_px=64, batch=2, rank=2)
    add_adapters(base, settings, seed=0)
    noised, context = torch.randn((2, 4, 8, 8)), torch.randn((2, 77, 16))
    real = kept_bytes(unet, lambda: unet(noised, torch.tensor([5, 7]), encoder_hidden_states=context).sample.sum())

    def tiny(*_: object) -> SimpleNamespace:
        with torch.device("meta"):
            hollow = type(unet).from_config(unet.config).requires_grad_(False)
        return SimpleNamespace(family=SD1, unet=hollow, text_encoders=())

    monkeypatch.setattr("lora_memory._build", tiny)
    need = memory_need(SD1, settings, half=False)
    assert need.activations == pytest.approx(real, rel=0.1)
    assert need.updates == 16 * sum(parameter.numel() for parameter in trainable_parameters(unet))
