"""How fast a diffusion model is trained and serves, beside a bare `diffusers` loop; fresh weights, grey 64 px.

    python bench/diffusion_speed.py [--threads 1] [--rounds 5] [--batches 1 4] [--packings 1 2 4] [--samplers ...]
                                    [--json FILE]

Training is one step of `generator train` on a batch of noise, by the network's packing. Serving is img2img of a batch
at 20 steps and denoising strength 0.25, as the server calls the engine: prompts, masks, tiles, stopping and all. The
loop is what one would write with the same network and diffusers' scheduler: PIL to tensor, `add_noise`, network and
`step` for each timestep, tensor to PIL; with guidance, one call for both classes, as diffusers' pipelines do. All take
turns in each round; a ratio is of two that stand side by side. The engine's pictures and the loop's are the same within
a grey level or two, or this ends with an error.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image
from report import Report, spread

from generator.config import NetworkConfig
from generator.diffusion.session import SCHEDULE, build_network, build_schedule, velocity_loss
from sdclient.serve.diffusion_engine import DiffusionEngine
from sdclient.serve.engine import GenerationRecipe, ImageSeed, ImageTask
from sdcore.diffusion_model import DiffusionModel, PixelCodec
from sdcore.torch_runtime import MixedPrecision

CPU = torch.device("cpu")
TRAINED, SIDE_PX, PACKING = 32, 64, 4
PACKINGS = (1, 2, 4)
STEPS, STRENGTH = 20, 0.25
CLASSES = tuple("abcdefg")
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler": ("EulerDiscreteScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
}
"""Samplers that draw no noise, so that both ways must give one picture -> what diffusers calls them by default."""
MOST_LEVELS = 2

Case = Callable[[], Any]


class Unwatched:
    """A walk that nobody follows."""

    is_stopped = False

    def step(self, done: int) -> None:
        """Nobody is told."""

    def spend(self, steps: int) -> None:
        """No time is spent."""


def main() -> None:
    """Print a table of training, one of all samplers, and one of the engine beside the loop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4], help="images served together")
    parser.add_argument("--packings", type=int, nargs="+", default=list(PACKINGS), choices=PACKINGS, help="in training")
    parser.add_argument("--samplers", nargs="*", help="of the table of serving alone; default: all")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    report = Report(
        "diffusion",
        "the diffusion model: training, and the engine beside a bare diffusers loop",
        packages=("torch", "diffusers"),
        settings=vars(asked),
    )
    training = timed({f"packing {packing}": training_step(packing) for packing in asked.packings}, asked.rounds)
    rows = [[name, rate(taken, TRAINED)] for name, taken in training.items()]
    report.table(f"Training, batch {TRAINED}", ["network", "images/s"], rows)

    engine, loop = make_engine()
    most = max(asked.batches)
    names = [one.name for one in engine.catalogue.samplers] if asked.samplers is None else asked.samplers
    samplers = {(name, guidance): serving(engine, name, guidance, most) for name in names for guidance in (1.0, 2.0)}
    served = timed(samplers, asked.rounds)
    if names:
        rows = [[name, *(rate(served[name, guidance], most) for guidance in (1.0, 2.0))] for name in names]
        report.table(f"Serving, img2img, batch {most}: images/s", ["sampler", "cfg 1", "cfg 2"], rows)

    pairs = [(name, cfg, count) for name in SCHEDULERS for cfg in (1.0, 2.0) for count in asked.batches]
    cases: dict[Any, Case] = {}
    for pair in pairs:
        own, bare = serving(engine, *pair), loop.serving(*pair)
        require_alike(own(), bare())
        cases |= {("engine", pair): own, ("loop", pair): bare}
    taken = timed(cases, asked.rounds)
    rows, steps = [], steps_of(STRENGTH, STEPS)
    ratios: dict[float, list[float]] = {}
    for pair in pairs:
        own_s, bare_s = taken["engine", pair], taken["loop", pair]
        found = [other / one for one, other in zip(own_s, bare_s, strict=True)]
        ratios.setdefault(pair[1], []).extend(found)
        cells = [rate(own_s, pair[2]), rate(bare_s, pair[2]), rate(own_s, steps), rate(bare_s, steps), spread(found)]
        rows.append([pair[0], f"{pair[1]:g}", str(pair[2]), *cells])
    columns = ["sampler", "cfg", "batch", "engine, images/s", "loop, images/s", "engine, steps/s", "loop, steps/s"]
    report.table("The engine beside the loop", [*columns, "engine / loop"], rows)
    for guidance, found in ratios.items():
        report.goal(f"images/s, engine / bare diffusers loop, cfg {guidance:g}", found, at_least=0.95)
    report.finish(asked.json, {"training_s": training, "serving_s": texts(served), "pairs_s": texts(taken)})


def training_step(packing: int) -> Case:
    """One step of training on a batch of noise."""
    network = build_network(NetworkConfig(packing=packing), channels=1, n_classes=len(CLASSES))
    schedule, precision = build_schedule(), MixedPrecision(CPU, amp=False)
    optimizer = torch.optim.AdamW(network.parameters())
    shape = (TRAINED, packing**2, SIDE_PX // packing, SIDE_PX // packing)
    clean, noise = torch.randn(shape), torch.randn(shape)
    times, labels = torch.randint(1000, (TRAINED,)), torch.randint(len(CLASSES) + 1, (TRAINED,))

    def step() -> None:
        optimizer.zero_grad()
        velocity_loss(network, schedule, precision, clean, noise, times, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def make_engine() -> tuple[DiffusionEngine, Loop]:
    """The engine and the loop, each with a copy of one network, since the engine lays its own out anew."""
    network = build_network(NetworkConfig(), channels=1, n_classes=len(CLASSES)).eval().requires_grad_(False)
    copied = copy.deepcopy(network)
    code = PixelCodec((0.5,), (0.25,), PACKING)
    model = DiffusionModel(Path("fresh"), CLASSES, SIDE_PX, code, network, SCHEDULE, "0" * 64)
    return DiffusionEngine(model, device=CPU), Loop(copied)


def sources(count: int) -> list[Image.Image]:
    """Pictures to start from."""
    chance = np.random.default_rng(0)
    levels = chance.integers(64, 192, (count, 8, 8)).astype(np.uint8)
    return [Image.fromarray(one).resize((SIDE_PX, SIDE_PX)).convert("RGB") for one in levels]


def serving(engine: DiffusionEngine, sampler: str, cfg_scale: float, count: int) -> Case:
    """One batch of img2img by the engine."""
    choice = engine.catalogue.choose(sampler, None)
    run = steps_of(STRENGTH, STEPS)
    recipe = GenerationRecipe(
        (SIDE_PX, SIDE_PX), STRENGTH, run, STEPS, choice.sampler, choice.schedule, cfg_scale, "a", ""
    )
    pictures = [ImageTask(start, ImageSeed(seed)) for seed, start in enumerate(sources(count))]
    return lambda: list(engine.paint(pictures, recipe, Unwatched()))


def steps_of(strength: float, steps: int) -> int:
    """Steps that a WebUI runs of those asked for."""
    return int(strength * steps) + 1


class Loop:
    """Bare diffusers: what the engine must be held against."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def serving(self, sampler: str, cfg_scale: float, count: int) -> Case:
        """One batch of img2img."""
        pictures = sources(count)
        return lambda: self._paint(pictures, sampler, cfg_scale)

    @torch.inference_mode()
    def _paint(self, pictures: Sequence[Image.Image], sampler: str, cfg_scale: float) -> list[Image.Image]:
        name, settings = SCHEDULERS[sampler]
        scheduler = getattr(diffusers, name).from_config(SCHEDULE, **settings)
        scheduler.set_timesteps(STEPS)
        run = steps_of(STRENGTH, STEPS)
        scheduler.set_begin_index(STEPS - run)
        times = scheduler.timesteps[STEPS - run :]
        levels = np.stack([np.array(picture.convert("L")) for picture in pictures])
        planes = (torch.from_numpy(levels)[:, None].float() / 255 - 0.5) / 0.25
        clean = torch.nn.functional.pixel_unshuffle(planes, PACKING)
        noise = torch.stack(
            [torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in range(len(clean))]
        )
        noisy = scheduler.add_noise(clean, noise, times[:1])
        both = cfg_scale != 1
        labels = torch.zeros(len(clean), dtype=torch.long)
        if both:
            labels = torch.cat([torch.full_like(labels, len(CLASSES)), labels])
        for time_ in times:
            seen = scheduler.scale_model_input(noisy, time_)
            answer = self._network(torch.cat([seen, seen]) if both else seen, time_, class_labels=labels).sample
            if both:
                against, wanted = answer.chunk(2)
                answer = against + cfg_scale * (wanted - against)
            noisy = scheduler.step(answer, time_, noisy).prev_sample
        planes = torch.nn.functional.pixel_shuffle(noisy, PACKING) * 0.25 + 0.5
        found = (planes * 255).round().clamp(0, 255).to(torch.uint8)[:, 0].numpy()
        return [Image.fromarray(one).convert("RGB") for one in found]


def require_alike(one: Sequence[Image.Image], other: Sequence[Image.Image]) -> None:
    """Refuse to time two that do not do the same."""
    for mine, its in zip(one, other, strict=True):
        apart = int(np.abs(np.asarray(mine, dtype=int) - np.asarray(its, dtype=int)).max())
        if apart > MOST_LEVELS:
            raise SystemExit(f"the engine's picture and the loop's are {apart} grey levels apart: not the same work")


def timed(cases: dict[Any, Case], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each case in each round, after one that is not counted."""
    taken: dict[Any, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            if number:
                taken[name].append(time.perf_counter() - began)
    return taken


def rate(seconds: Sequence[float], count: int, digits: int = 1) -> str:
    """So many a second."""
    return spread([count / one for one in seconds], digits)


def texts(cases: dict[Any, list[float]]) -> dict[str, list[float]]:
    """For JSON, whose keys are texts."""
    return {", ".join(map(str, name)): values for name, values in cases.items()}


if __name__ == "__main__":
    main()
