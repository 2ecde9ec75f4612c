"""Image files to tensors: decoded, resized to a square, normalised, varied.

The sides are scaled separately. Nothing is cut off, since a defect may be anywhere, and no bars are added, which the
network would see.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from sdcore.images.decode import to_rgb

from ..config import AugmentConfig
from ..errors import DataError

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
"""Images in [0, 1] are normalised as (image - MEAN) / STD; constants, the same for every data set."""


def decode(path: Path, imgsz: int) -> npt.NDArray[np.uint8]:
    """Read one image as (3, imgsz, imgsz) uint8, R, G, B.

    Decoded by `sdcore.images.decode.to_rgb`: upright, deep grey by the camera's depth, transparency on white.

    Raises:
        DataError: the file is missing or not a readable image.
    """
    return np.ascontiguousarray(decode_rows(path, imgsz).transpose(2, 0, 1))


def decode_rows(path: Path, imgsz: int) -> npt.NDArray[np.uint8]:
    """As `decode`, but (imgsz, imgsz, 3) and read-only: Pillow's order, which channels_last needs too.

    Raises:
        DataError: as `decode`.
    """
    return np.asarray(read_rgb(path).resize((imgsz, imgsz), Image.Resampling.BILINEAR), dtype=np.uint8)


def read_rgb(path: Path) -> Image.Image:
    """The decoded image in RGB at its own size.

    Raises:
        DataError: the file is missing or not a readable image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata; a broken image raises
            with Image.open(path) as image:
                return to_rgb(image)
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise DataError(
            f"{path}: cannot be read as an image ({type(error).__name__}: {error}); "
            f"run 'trainer check {path.parent}' for all such files"
        ) from error


def normalise(
    images: torch.Tensor, mean: tuple[float, float, float] = MEAN, std: tuple[float, float, float] = STD
) -> torch.Tensor:
    """(N, 3, H, W) uint8 or float in [0, 255] -> float32 for the network."""
    scale = torch.tensor(std, device=images.device).view(1, 3, 1, 1) * 255
    offset = torch.tensor(mean, device=images.device).view(1, 3, 1, 1) * 255
    return (images.to(torch.float32) - offset).div_(scale)


@dataclass(frozen=True, eq=False)
class Variation:
    """Parameters of the variation of N images, on the CPU."""

    maps: torch.Tensor
    """(N, 2, 3) affine maps from output to input positions; the side of the image has length 2."""
    gain: torch.Tensor
    """(N,) factor of the contrast around the image's own mean."""
    lift: torch.Tensor
    """(N,) added to every value of 0 to 255."""
    colour: torch.Tensor | None
    """(N, 3, 3) maps of R, G, B; None leaves colours alone."""

    def part(self, images: slice) -> Variation:
        """The parameters of some images of the batch."""
        colour = None if self.colour is None else self.colour[images]
        return Variation(self.maps[images], self.gain[images], self.lift[images], colour)


def draw_variation(count: int, config: AugmentConfig, generator: torch.Generator) -> Variation:
    """Draw the parameters for a batch of images.

    They are drawn on the CPU, so that a seed means the same on every device, and for the whole batch at once, so that
    the number of parts a batch is computed in does not matter.
    """

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
    gain = 1 + within(config.contrast)
    lift = 255 * within(config.brightness)
    colour = None
    if config.hue or config.saturation:
        # Drawn last and only on request, so that runs without it keep their random numbers.
        colour = colour_matrix(within(2 * math.pi * config.hue), 1 + within(config.saturation))
    return Variation(torch.stack(rows, dim=1), gain, lift, colour)


def apply_variation(images: torch.Tensor, variation: Variation) -> torch.Tensor:
    """Vary training images on their device: (N, 3, S, S) uint8 to float32 in [0, 255]."""
    device = images.device
    grid = functional.affine_grid(variation.maps, list(images.shape), align_corners=False)
    moved = functional.grid_sample(
        images.to(torch.float32), grid.to(device), mode="bilinear", padding_mode="reflection", align_corners=False
    )
    gain, lift = (one.view(-1, 1, 1, 1).to(device) for one in (variation.gain, variation.lift))
    middle = moved.mean(dim=(1, 2, 3), keepdim=True)
    varied = (moved - middle) * gain + middle + lift
    if variation.colour is not None:
        varied = torch.einsum("nij,njhw->nihw", variation.colour.to(device), varied)
    return varied.clamp_(0, 255)


def augment(images: torch.Tensor, config: AugmentConfig, generator: torch.Generator) -> torch.Tensor:
    """`draw_variation`, then `apply_variation`."""
    return apply_variation(images, draw_variation(len(images), config, generator))


def colour_matrix(turn: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Linear maps of R, G, B, (N, 3, 3) float32, that turn the hue and scale the saturation; grey does not change.

    A rotation by `turn` (N,) radians about the grey axis (1, 1, 1) / sqrt 3 by Rodrigues' formula, then the distance
    from that axis times `keep` (N,): 1 keeps the saturation, 0 makes the image grey.
    """
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    across = torch.eye(3) - grey
    cos, sin, factor = (one.float().view(-1, 1, 1) for one in (turn.cos(), turn.sin(), keep))
    return grey + factor * (cos * across + sin * cross)
