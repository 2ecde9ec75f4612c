"""How much of what the device could do the training loop reaches: its images/s over those of forward and backward.

    python bench/training_limit.py [--models n] [--imgsz 64] [--batch 32] [--rounds 5] [--images 320] [--device auto]
                                   [--threads 1] [--json FILE]

The limit is the same network in the same number format and layout, forward and backward on one batch that lies ready
on the device: nothing is fetched, varied, optimised, averaged or looked at. The loop is `trainer.training.loop`, as
every training runs it, with images where a training would have them. Both take turns, a round each, in one process and
with as many threads, so that the share is of the same machine at the same time. On CUDA the utilisation that
nvidia-smi tells during the loop stands beside (written without a GPU at hand, so that part is untried).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from report import Report, spread
from torch.nn import functional

from sdcore.torch_runtime import MixedPrecision, choose_device
from trainer.config import TrainConfig, make_config
from trainer.tasks import TrainingImages
from trainer.tasks.classification import Classification
from trainer.training.image_cache import DecodedImages, move_to_device
from trainer.training.loop import run_epochs
from trainer.training.session import TrainingSession, memory_format

CLASSES = ("Normal", "defect")


def main() -> None:
    """Print one row a model, and save all rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["n"], choices=list("nsmlx"))
    parser.add_argument("--imgsz", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="every run, for scripts")
    asked = parser.parse_args()
    device = choose_device(asked.device)
    what = "images/s of trainer.training.loop over images/s of forward and backward on one resident batch"
    report = Report("training-limit", what, packages=("torch", "yolov5"), settings=vars(asked))
    rows, lines = [], []
    for model in asked.models:
        config = make_config(
            model=f"yolov5{model}-cls",
            imgsz=asked.imgsz,
            batch_size=asked.batch,
            epochs=asked.rounds + 1,
            device=asked.device,
            threads=asked.threads,
            layout="channels_last",
            deterministic=device.type == "cpu",
        )
        rounds = measure(config, asked.images, device)
        rows.append({"model": config.model, "rounds": rounds})
        limits, loops = (
            [float(one[name] or 0) for one in rounds] for name in ("limit_images_per_s", "loop_images_per_s")
        )
        shares = [loop / limit for loop, limit in zip(loops, limits, strict=True)]
        busy = [one["gpu_utilisation"] for one in rounds if one["gpu_utilisation"] is not None]
        used = spread(busy, 0, "%") if busy else "-"
        lines.append([config.model, spread(limits, 0), spread(loops, 0), spread(shares, 0, "%"), used])
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    columns = ["model", "limit, images/s", "loop, images/s", "share of the limit", "GPU utilisation"]
    report.table(f"Training on {name}", columns, lines)
    report.finish(asked.json, rows)


def measure(config: TrainConfig, images: int, device: torch.device) -> list[dict[str, float | None]]:
    """Loop and limit in turn; the first round, which also chooses kernels, is left out."""
    chance = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, config.imgsz, config.imgsz), generator=chance, dtype=torch.uint8)
    labels = torch.arange(images) % len(CLASSES)
    ready = move_to_device(DecodedImages(pixels, "memory"), device).images
    train = TrainingImages(ready, torch.arange(images), labels)
    val = TrainingImages(ready, torch.arange(2), labels[:2])
    rounds: list[dict[str, float | None]] = []
    results = run_epochs(train, val, Classification(CLASSES, config), config, progress=False)
    limit: Limit | None = None
    while True:
        with utilisation(device) as used:
            result = next(results, None)
        if result is None:
            return rounds[1:]
        limit = limit or Limit(train, config, device)
        rounds.append(
            {
                "loop_images_per_s": result.record.images_per_s,
                "limit_images_per_s": limit.images_per_s(images // config.images_a_step),
                "gpu_utilisation": statistics.mean(used) if used else None,
            }
        )


class Limit:
    """Forward and backward of the same network on one batch, over and over."""

    def __init__(self, train: TrainingImages, config: TrainConfig, device: torch.device) -> None:
        # The session of a training, so that network, momentum and layout are the very same.
        self._network = TrainingSession(train, Classification(CLASSES, config), config, device).network.train()
        self._precision, self._device, self._batch = (
            MixedPrecision(device, amp=config.amp),
            device,
            config.images_a_step,
        )
        shape = (self._batch, 3, config.imgsz, config.imgsz)
        self._images = torch.randn(shape, device=device).contiguous(memory_format=memory_format(config.layout))
        self._labels = torch.arange(self._batch, device=device) % len(CLASSES)
        self.images_per_s(2)

    def images_per_s(self, steps: int) -> float:
        """Over so many steps."""
        self._wait()
        began = time.perf_counter()
        for _ in range(steps):
            with self._precision.autocast():
                loss = functional.cross_entropy(self._network(self._images), self._labels)
            self._network.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self._wait()
        return steps * self._batch / (time.perf_counter() - began)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


@contextmanager
def utilisation(device: torch.device) -> Iterator[list[float]]:
    """Shares of time in which the GPU had work, in [0, 1], filled in at the end; none on a CPU."""
    found: list[float] = []
    if device.type != "cuda":
        yield found
        return
    command = ["nvidia-smi", f"--id={torch.cuda.current_device()}", "--query-gpu=utilization.gpu"]
    command += ["--format=csv,noheader,nounits", "--loop-ms=200"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        watch.terminate()
        found += [float(line) / 100 for line in watch.communicate()[0].split()]


if __name__ == "__main__":
    main()
