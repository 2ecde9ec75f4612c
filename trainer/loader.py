"""Pictures into tensors: decoding once, drawing an epoch's images, varying them.

Every picture is resized to a square, its sides scaled apart when it is not one: a letterbox would show the
network bars, and no part of a picture, where a defect may be, is ever cut off.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch.nn import functional
from tqdm import tqdm

from .config import AugmentConfig
from .errors import DataError

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
"""Images in [0, 1] are normalised as (image - MEAN) / STD; constants, so that no data set changes them."""


def decode(path: Path, imgsz: int) -> npt.NDArray[np.uint8]:
    """Read one picture as (3, imgsz, imgsz) uint8, R, G, B.

    Grey is repeated over the channels, 16 bits are brought to 8, transparency lies on white, and a turn
    noted by the camera is carried out.

    Raises:
        DataError: the file is missing or no readable picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; what cannot be decoded raises
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
                square = _to_rgb(upright).resize((imgsz, imgsz), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise DataError(
            f"{path}: cannot be read as a picture ({type(error).__name__}: {error}); "
            f"run 'trainer check {path.parent}' for all such files"
        ) from error
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))


def decode_all(paths: Sequence[Path], imgsz: int, *, progress: bool, words: str = "decode") -> torch.Tensor:
    """All pictures as one (N, 3, imgsz, imgsz) uint8 tensor: 12 kB a picture at 64 px, 150 kB at 224.

    Raises:
        DataError: one of them cannot be read.
    """
    images = torch.empty((len(paths), 3, imgsz, imgsz), dtype=torch.uint8)
    for place, path in enumerate(tqdm(paths, desc=words, unit="image", disable=not progress)):
        images[place] = torch.from_numpy(decode(path, imgsz))
    return images


def normalise(
    images: torch.Tensor,
    mean: tuple[float, float, float] = MEAN,
    std: tuple[float, float, float] = STD,
) -> torch.Tensor:
    """(N, 3, H, W) uint8 or float in [0, 255] -> float32 as the network takes it."""
    scale = torch.tensor(std, device=images.device).view(1, 3, 1, 1) * 255
    offset = torch.tensor(mean, device=images.device).view(1, 3, 1, 1) * 255
    return (images.to(torch.float32) - offset) / scale


class EpochOrder:
    """Which training images each epoch shows, as batches of indices.

    Images come in shuffled rounds that run on over the epochs, so that after any number of epochs no two
    images (of one class, when balanced) have been shown more than one time apart.

    Args:
        labels: (N,) class indices.
        batch_size: images a step; the steps of an epoch differ by one image at most.
        images_per_epoch: None shows N.
        balance: draw every class equally often.
        generator: where chance comes from.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        batch_size: int,
        images_per_epoch: int | None,
        balance: bool,
        generator: torch.Generator,
    ) -> None:
        places = np.arange(len(labels))
        pools = [places[np.asarray(labels) == k] for k in sorted(set(labels))] if balance else [places]
        self._rounds = [_shuffled_rounds(pool, generator) for pool in pools]
        self._pool_order = _shuffled_rounds(np.arange(len(pools)), generator)
        self._count = images_per_epoch or len(labels)
        # Batch normalisation needs two images a step.
        self.steps = max(1, min(math.ceil(self._count / batch_size), self._count // 2))

    def next_epoch(self) -> list[torch.Tensor]:
        """The batches of the next epoch, each (B,) int64 indices."""
        drawn = np.array([next(self._rounds[next(self._pool_order)]) for _ in range(self._count)], dtype=np.int64)
        return [torch.from_numpy(part) for part in np.array_split(drawn, self.steps)]


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
    return ((moved - middle) * gain + middle + lift).clamp_(0, 255)


def _shuffled_rounds(pool: npt.NDArray[np.int64], generator: torch.Generator) -> Iterator[int]:
    while True:
        yield from pool[torch.randperm(len(pool), generator=generator).numpy()].tolist()


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # Pillow clips 16 bits at 255 where it should scale them.
        deep = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray((deep >> 8 if deep.max(initial=0) > 255 else deep).clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return picture.convert("RGB")
