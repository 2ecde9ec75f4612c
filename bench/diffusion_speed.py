"""How fast a diffusion model is trained, by its packing, and how fast it serves, by sampler; fresh weights, grey 64 px.

    python bench/diffusion_speed.py --threads 1 --repeats 3

Each figure is the best of the repeats, which take turns, so that a busy machine spoils all of them alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from generator.config import NetworkConfig
from generator.device import Precision
from generator.network import SCHEDULE, build_network, build_schedule
from generator.session import velocity_loss
from sdclient.serve.engines.diffusion.engine import DiffusionEngine
from sdclient.serve.engines.diffusion.pixel_code import PixelCode
from sdclient.serve.engines.diffusion.saved_model import SavedModel
from sdclient.serve.painting import ImageSeed, Picture, Recipe

CPU = torch.device("cpu")
BATCH, SERVED = 32, 4
PACKINGS = (1, 2, 4)
STEPS, STRENGTH = 20, 0.25


class Unwatched:
    """A walk that nobody follows."""

    is_stopped = False

    def step(self, done: int) -> None:
        """Nobody is told."""

    def spend(self, steps: int) -> None:
        """No time is spent."""


def training_step(packing: int) -> Callable[[], None]:
    """One step of training on a batch of noise."""
    network = build_network(NetworkConfig(packing=packing), channels=1, n_classes=7)
    schedule, precision = build_schedule(), Precision(CPU, amp=False)
    optimizer = torch.optim.AdamW(network.parameters())
    side = 64 // packing
    clean, noise = torch.randn(BATCH, packing**2, side, side), torch.randn(BATCH, packing**2, side, side)
    times, labels = torch.randint(1000, (BATCH,)), torch.randint(8, (BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        velocity_loss(network, schedule, precision, clean, noise, times, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def serving(engine: DiffusionEngine, sampler: str, cfg_scale: float) -> Callable[[], None]:
    """One batch of img2img."""
    choice = engine.catalogue.choose(sampler, None)
    run = int(STRENGTH * STEPS) + 1
    recipe = Recipe((64, 64), STRENGTH, run, STEPS, choice.sampler, choice.schedule, cfg_scale, "a", "")
    pictures = [Picture(Image.new("RGB", (64, 64), "grey"), ImageSeed(seed)) for seed in range(SERVED)]
    return lambda: [None for _ in engine.paint(pictures, recipe, Unwatched())].clear()


def best_s(cases: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """The shortest time of each case in s, after one run that is not counted."""
    best = dict.fromkeys(cases, float("inf"))
    for repeat in range(repeats + 1):
        for name, case in cases.items():
            begin = time.perf_counter()
            case()
            if repeat:
                best[name] = min(best[name], time.perf_counter() - begin)
    return best


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    training = {f"train, packing {packing}": training_step(packing) for packing in PACKINGS}
    for name, seconds in best_s(training, asked.repeats).items():
        print(f"{name}: {BATCH / seconds:.1f} images/s")
    network = build_network(NetworkConfig(), channels=1, n_classes=7).eval().requires_grad_(False)
    code = PixelCode((0.5,), (0.25,), 4)
    classes = tuple("abcdefg")
    model = SavedModel(Path("fresh"), classes, 7, 64, code, network, SCHEDULE, "0" * 64, "", 0)
    engine = DiffusionEngine(model, device=CPU)
    cases = {
        f"img2img, {sampler.name}, cfg {guidance:g}": serving(engine, sampler.name, guidance)
        for sampler in engine.catalogue.samplers
        for guidance in (1.0, 2.0)
    }
    for name, seconds in best_s(cases, asked.repeats).items():
        print(f"{name}: {SERVED / seconds:.1f} images/s")


if __name__ == "__main__":
    main()
