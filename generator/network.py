"""The network and its noise schedule, as diffusers builds them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sdcore.optional_imports import import_diffusers

from .config import NORM_GROUPS, NetworkConfig

TIMESTEPS = 1000
SCHEDULE = {
    "num_train_timesteps": TIMESTEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "timestep_spacing": "linspace",
}
"""Stable Diffusion's own noise levels (sigma 0.029 to 14.6, all finite, so that every sampler and spacing works), with
velocity as what is predicted (Salimans and Ho 2022, Progressive Distillation)."""


def build_network(config: NetworkConfig, *, channels: int, n_classes: int, seed: int = 0) -> nn.Module:
    """A class-conditional `UNet2DModel` with fresh weights; label `n_classes` stands for "no class".

    Args:
        config: its shape.
        channels: of the pictures, 1 or 3.
        n_classes: one or more.
        seed: its weights follow from it; torch's own generator is left alone.

    Raises:
        MissingExtra: diffusers is not installed.
    """
    diffusers = import_diffusers()
    levels = len(config.widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = diffusers.UNet2DModel(
            sample_size=config.size_px // config.packing,
            in_channels=channels * config.packing**2,
            out_channels=channels * config.packing**2,
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * (levels - 1)),
            up_block_types=(*["AttnUpBlock2D"] * (levels - 1), "UpBlock2D"),
            attention_head_dim=config.head_channels,
            norm_num_groups=min(NORM_GROUPS, *config.widths),
            num_class_embeds=n_classes + 1,
            flip_sin_to_cos=True,
            freq_shift=0,
        )
    return network


def build_schedule() -> Any:
    """The `DDPMScheduler` that noises training pictures.

    Raises:
        MissingExtra: diffusers is not installed.
    """
    return import_diffusers().DDPMScheduler(**SCHEDULE)
