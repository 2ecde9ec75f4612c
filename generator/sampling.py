"""Pictures out of a network in training, for its sheet: siblings of real pictures, and pictures out of noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sdcore.diffusion_model import PixelCodec
from sdcore.optional_imports import import_diffusers
from sdcore.torch_runtime import MixedPrecision

from .network import SCHEDULE

STEPS = 20
GUIDANCE = 2.0
"""How much more of the class than without guidance (1)."""
_BATCH = 32


@torch.no_grad()
def sample(
    network: nn.Module,
    code: PixelCodec,
    levels: torch.Tensor,
    labels: Sequence[int],
    *,
    no_class: int,
    strength: float,
    seeds: Sequence[int],
    precision: MixedPrecision,
    device: torch.device,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> torch.Tensor:
    """Siblings of pictures: noised as far as `strength` says, then cleaned (SDEdit, Meng et al. 2021).

    By DPM++ 2M on Karras' spacing. At strength 1 nothing of the picture is left.

    Args:
        network: the averaged one.
        code: how pixels are put.
        levels: (N, C, H, W) uint8.
        labels: class of each.
        no_class: the label that stands for none.
        strength: above 0, to 1.
        seeds: of the noise of each.
        precision: in which format the network computes.
        device: where the network is.
        steps: of the whole schedule; a strength runs its share of them.
        guidance: 1 makes what the class asks for; above it, what the class asks for more than none does.

    Returns:
        (N, C, H, W) uint8 on the CPU.
    """
    made = []
    for start in range(0, len(labels), _BATCH):
        part = slice(start, start + _BATCH)
        scheduler = import_diffusers().DPMSolverMultistepScheduler(
            **{name: value for name, value in SCHEDULE.items() if name != "clip_sample"}, use_karras_sigmas=True
        )
        scheduler.set_timesteps(steps, device=device)
        begin = steps - int(min(strength, 0.999) * steps) - 1
        scheduler.set_begin_index(begin)
        times = scheduler.timesteps[begin:]
        clean = code.encode(levels[part].to(device))
        noise = torch.stack(
            [torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds[part]]
        ).to(device)
        # With sigma 14.6 a trace of the picture would be left.
        current = noise if strength >= 1 else scheduler.add_noise(clean, noise, times[:1])
        wanted = torch.tensor(labels[part], device=device)
        both = torch.cat([wanted, torch.full_like(wanted, no_class)])
        for time in times:
            with precision.autocast():
                found = network(torch.cat([current, current]), time, class_labels=both).sample.float()
            of_class, of_none = found.chunk(2)
            velocity = of_none + guidance * (of_class - of_none)
            current = scheduler.step(velocity, time, current).prev_sample
        made.append(code.decode(current).cpu())
    return torch.cat(made)
