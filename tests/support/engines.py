"""A saved model so small that a step takes milliseconds, and networks whose answers are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn

from generator.config import make_config
from generator.diffusion.session import SCHEDULE
from generator.diffusion.train import train
from sdclient.serve.engine import GenerationRecipe, ImageSeed, ImageTask
from sdcore.diffusion_model import DiffusionModel, PixelCodec

SIZE_PX = 32


CLASSES = ("Normal", "open", "裂纹")


CPU = torch.device("cpu")


def drawn(label: str, number: int, *, colour: bool = True) -> Image.Image:
    """An image of nearly one tone with a faint grain; a defect is a dark bar across or down."""
    rng = np.random.default_rng([CLASSES.index(label), number])
    levels = rng.normal(150, 2, (SIZE_PX, SIZE_PX, 1)) + rng.uniform(-30, 30) + np.array([10, 0, -10])
    place = 8 + number % 12
    if label == "open":
        levels[place : place + 5] = 40
    elif label == "裂纹":
        levels[:, place : place + 5] = 40
    pixels = np.clip(levels, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels if colour else pixels[..., 0])


def make_model(folder: Path, *, colour: bool, steps: int) -> Path:
    """Draw images and train on them for a moment."""
    for label in CLASSES:
        (folder / "data" / label).mkdir(parents=True)
        for number in range(4):
            drawn(label, number, colour=colour).save(folder / "data" / label / f"{number}.png")
    network = {"size_px": SIZE_PX, "packing": 2, "widths": (16, 32), "layers": 1, "head_channels": 16}
    quick = {"lr": 4e-3, "warmup_steps": 5, "ema_decay": 0.9, "save_every": steps, "sheet_every": 0}
    config = make_config(network=network, steps=steps, batch_size=8, threads=1, val_share=0, **quick)
    train(folder / "data", folder / "boards", config, progress=False)
    return folder / "boards"


class KnownNetwork(nn.Module):
    """The exact answer for data of which every value is normal, independent, with a mean of its class.

    The clean value expected of x = alpha c + sigma n is m + (alpha s^2 / (alpha^2 s^2 + sigma^2)) (x - alpha m) for
    c ~ N(m, s^2) (the mean of a normal given a noisy sight of it); the velocity is (alpha x - clean) / sigma.

    Args:
        means: of each label.
        deviation: s, of all.
    """

    def __init__(self, means: Sequence[float], deviation: float) -> None:
        super().__init__()
        self.means, self.deviation = torch.tensor(means), deviation
        self.calls: list[tuple[float, int, int]] = []
        """Timestep, label and number of images of every call."""
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        kept = torch.cumprod(1 - betas, 0)
        self._log_ratio = torch.log(torch.sqrt((1 - kept) / kept)).numpy()

    def levels(self, time: float) -> tuple[float, float]:
        ratio = float(np.exp(np.interp(time, np.arange(1000), self._log_ratio)))
        alpha = (1 + ratio**2) ** -0.5
        return alpha, ratio * alpha

    def forward(self, noisy: torch.Tensor, time: torch.Tensor, class_labels: torch.Tensor) -> SimpleNamespace:
        self.calls.append((float(time), int(class_labels[0]), len(noisy)))
        alpha, sigma = self.levels(float(time))
        mean = self.means[class_labels].view(-1, 1, 1, 1)
        gain = alpha * self.deviation**2 / (alpha**2 * self.deviation**2 + sigma**2)
        clean = mean + gain * (noisy - alpha * mean)
        return SimpleNamespace(sample=(alpha * noisy - clean) / sigma)


def known_model(means: Sequence[float] = (-1.0, 1.0, 0.0), deviation: float = 0.5, channels: int = 1) -> DiffusionModel:
    """A model of two classes (low, high) and none."""
    return DiffusionModel(
        folder=Path("known"),
        classes=("low", "high"),
        size_px=16,
        codec=PixelCodec((0.5,) * channels, (0.125,) * channels, 4),
        network=KnownNetwork(means, deviation),
        schedule=SCHEDULE,
        sha256="00" * 32,
        fingerprint="ab" * 32,
        images=9,
    )


class RecordedSteps:
    """A walk that notes what it is told, and can be stopped after a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: list[int] = []
        self._stop_after = stop_after

    @property
    def is_stopped(self) -> bool:
        return self._stop_after is not None and bool(self.steps) and self.steps[-1] >= self._stop_after

    def step(self, done: int) -> None:
        self.steps.append(done)

    def spend(self, steps: int) -> None:
        raise AssertionError("it takes time of its own")


def recipe(**changes: object) -> GenerationRecipe:
    """The usual request: strength 0.5 of 10 steps, so 6 run."""
    usual: dict[str, object] = {
        "size": (SIZE_PX, SIZE_PX),
        "strength": 0.5,
        "steps": 6,
        "schedule_steps": 10,
        "sampler": "Euler",
        "schedule": None,
        "cfg_scale": 1.0,
        "prompt": "open",
        "negative_prompt": "",
    }
    return GenerationRecipe(**{**usual, **changes})  # type: ignore[arg-type]


def image_task(seed: int = 1, start: Image.Image | None = None, change_mask: Image.Image | None = None) -> ImageTask:
    return ImageTask(start, ImageSeed(seed), change_mask)
