"""Every training picture as the VAE sees it, computed once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from .pictures import TrainingImage, read_picture
from .settings import Flip
from .sizes import training_size

_TURNS = {"horizontal": Image.Transpose.FLIP_LEFT_RIGHT, "vertical": Image.Transpose.FLIP_TOP_BOTTOM}


@dataclass(frozen=True)
class Latent:
    """What the VAE says of one picture: a normal distribution for each number of its latent."""

    mean: torch.Tensor
    """(4, H/8, W/8) float16."""
    std: torch.Tensor
    """Likewise."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture in px."""
        height, width = self.mean.shape[-2:]
        return 8 * width, 8 * height

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """One latent out of the distribution, float32, not scaled yet."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean.float() + self.std.float() * noise


@dataclass(frozen=True)
class LatentCache:
    """Latents of all pictures, each as it is and mirrored as far as that is allowed."""

    versions: tuple[tuple[Latent, ...], ...]
    """By picture; the first is the picture as it is."""
    scaling: float
    """What the UNet wants latents multiplied by."""

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) in px of each picture as it is trained."""
        return [versions[0].size for versions in self.versions]

    def draw(self, index: int, generator: torch.Generator) -> torch.Tensor:
        """A scaled latent of one picture, in one of its versions."""
        versions = self.versions[index]
        chosen = int(torch.randint(len(versions), (), generator=generator)) if len(versions) > 1 else 0
        return versions[chosen].draw(generator) * self.scaling


def encode_all(
    vae: Any,
    images: Sequence[TrainingImage],
    *,
    native_px: int,
    flips: Sequence[Flip] = (),
    device: torch.device,
    progress: bool = False,
) -> LatentCache:
    """Run the VAE's encoder over every picture and its mirror images, in fp32: in half precision SDXL's gives NaN.

    Raises:
        DataError: a picture cannot be read.
    """
    versions = []
    vae.to(device=device, dtype=torch.float32)
    with torch.no_grad():
        for image in tqdm(images, desc="encode", unit="image", dynamic_ncols=True, disable=not progress):
            size = training_size(image.width_px, image.height_px, native_px)
            picture = read_picture(image.path, size)
            pictures = [picture, *(picture.transpose(_TURNS[flip]) for flip in flips)]
            if len(flips) > 1:
                pictures.append(picture.transpose(Image.Transpose.ROTATE_180))
            versions.append(tuple(_encode(vae, one, device) for one in pictures))
    vae.to("cpu")
    return LatentCache(tuple(versions), float(vae.config.scaling_factor))


def _encode(vae: Any, picture: Image.Image, device: torch.device) -> Latent:
    pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32).transpose(2, 0, 1).copy())
    distribution = vae.encode((pixels / 127.5 - 1)[None].to(device)).latent_dist
    half = [part[0].to(device="cpu", dtype=torch.float16) for part in (distribution.mean, distribution.std)]
    return Latent(half[0], half[1])
