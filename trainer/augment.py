"""Varying training images, on the device that trains."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from .config import AugmentConfig


def augment(images: torch.Tensor, config: AugmentConfig, generator: torch.Generator) -> torch.Tensor:
    """Vary a batch of training images.

    Chance is drawn on the CPU, so a seed means the same on every device.

    Args:
        images: (N, 3, S, S) uint8.
        config: which changes, and how strong.
        generator: where chance comes from.

    Returns:
        (N, 3, S, S) float32 in [0, 255].
    """
    count = len(images)

    def within(limit: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    def sign(rate: float) -> torch.Tensor:
        return 1.0 - 2.0 * (torch.rand(count, generator=generator) < rate)

    turns = torch.randint(0, 4 if config.quarter_turns else 1, (count,), generator=generator)
    warped = (torch.rand(count, generator=generator) < config.warp_rate).float()
    angle = turns * (math.pi / 2) + warped * within(math.radians(config.rotation_degrees))
    zoom = 1 + warped * within(config.scale)
    flip_x, flip_y = sign(0.5 * config.flips), sign(0.5 * config.flips)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # affine_grid counts the side as 2, hence the doubled shift.
    rows = [
        torch.stack([cos * flip_x / zoom, -sin * flip_y / zoom, 2 * warped * within(config.shift)], dim=1),
        torch.stack([sin * flip_x / zoom, cos * flip_y / zoom, 2 * warped * within(config.shift)], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    floats = images.to(torch.float32)
    moved = functional.grid_sample(
        floats, grid.to(images.device), mode="bilinear", padding_mode="reflection", align_corners=False
    )
    gain = (1 + within(config.contrast)).view(-1, 1, 1, 1).to(images.device)
    lift = (255 * within(config.brightness)).view(-1, 1, 1, 1).to(images.device)
    middle = moved.mean(dim=(1, 2, 3), keepdim=True)
    varied = (moved - middle) * gain + middle + lift
    if config.hue or config.saturation:
        # Drawn last and only on request, so that other runs keep their chance.
        turn, keep = within(2 * math.pi * config.hue), 1 + within(config.saturation)
        varied = torch.einsum("nij,njhw->nihw", colour_matrix(turn, keep).to(images.device), varied)
    return varied.clamp_(0, 255)


def colour_matrix(turn: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Linear maps of R, G, B that turn the hue and scale the saturation; grey stays as it is.

    A turn about the grey axis (1, 1, 1) / sqrt 3 by Rodrigues' formula, then the distance from that axis times
    `keep`.

    Args:
        turn: (N,) radians.
        keep: (N,) 1 leaves the saturation, 0 makes the image grey.

    Returns:
        (N, 3, 3) float32.
    """
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    across = torch.eye(3) - grey
    cos, sin, factor = (one.float().view(-1, 1, 1) for one in (turn.cos(), turn.sin(), keep))
    return grey + factor * (cos * across + sin * cross)
