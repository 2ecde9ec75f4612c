"""The pictures that a report judges: siblings of real ones at growing strength, and pictures out of noise."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sdcore.diffusion_model import DiffusionModel
from sdcore.torch_runtime import MixedPrecision, choose_device

from ..sampling import sample
from .material import Material, Pixels, RealPicture
from .settings import ReportSettings

_BATCH = 32


@dataclass(frozen=True, eq=False)
class MadePictures:
    """Everything that was made, in the order of `sources`, and of `pure_labels`."""

    sources: tuple[RealPicture, ...]
    """By class, then by chance."""
    by_strength: tuple[tuple[Pixels, ...], ...]
    """For each strength one picture of each source."""
    pure: tuple[Pixels, ...]
    """Out of noise alone."""
    pure_labels: tuple[int, ...]


def make_pictures(
    model: DiffusionModel, material: Material, settings: ReportSettings, *, progress: bool = True
) -> MadePictures:
    """Make one picture of each chosen source at each strength, and as many of each class out of noise.

    Args:
        model: what makes them.
        material: sources are pictures it learned from, as in use; drawn by the seed, up to `per_class`.
        settings: how many and how.
        progress: show a bar on stderr.

    Raises:
        SettingsError: there is no such device.
        OutOfMemory: the device's memory does not hold a batch.
    """
    sources = [one for label in range(len(model.classes)) for one in _choose(material, label, settings)]
    labels = [one.label for one in sources]
    pure_labels = [label for label in range(len(model.classes)) for _ in range(settings.per_class)]
    device = choose_device(settings.device)
    network = model.network.to(device)
    total = len(settings.strengths) * len(sources) + len(pure_labels)
    bar: tqdm[Any] = tqdm(total=total, desc="making", unit="image", disable=not progress, file=sys.stderr)

    def make(starts: Sequence[Pixels], wanted: Sequence[int], strength: float, first_seed: int) -> tuple[Pixels, ...]:
        made: list[Pixels] = []
        for start in range(0, len(wanted), _BATCH):
            part = slice(start, start + _BATCH)
            found = sample(
                network,
                model.codec,
                torch.from_numpy(np.stack(starts[part])),
                wanted[part],
                no_class=model.no_class,
                strength=strength,
                seeds=range(first_seed + start, first_seed + start + len(wanted[part])),
                precision=MixedPrecision(device, amp=True),
                device=device,
                steps=settings.steps,
                guidance=settings.cfg_scale,
            )
            made += list(found.numpy())
            bar.update(len(found))
        return tuple(made)

    with bar:
        seeds_apart = max(len(sources), len(pure_labels))
        first = settings.seed * (len(settings.strengths) + 1) * seeds_apart
        by_strength = tuple(
            make([one.pixels for one in sources], labels, strength, first + number * seeds_apart)
            for number, strength in enumerate(settings.strengths)
        )
        nothing = np.zeros((model.channels, model.size_px, model.size_px), dtype=np.uint8)
        last = first + len(settings.strengths) * seeds_apart
        pure = make([nothing] * len(pure_labels), pure_labels, 1.0, last)
    return MadePictures(tuple(sources), by_strength, pure, tuple(pure_labels))


def _choose(material: Material, label: int, settings: ReportSettings) -> list[RealPicture]:
    learned, _ = material.of_class(label)
    chance = random.Random(f"{settings.seed} {label}")  # noqa: S311 - which sources are shown is no secret
    return chance.sample(learned, min(settings.per_class, len(learned)))
