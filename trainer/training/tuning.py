"""Settings "auto" of a training, chosen for this machine: the batch size and the memory layout of images."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from sdcore.progress import print_note
from sdcore.torch_runtime import MixedPrecision, choose_device, isolated_rng, torch_threads

from ..config import TrainConfig
from ..data.transforms import draw_variation
from ..tasks import Task, TrainingImages
from .distributed import ALONE, ProcessGroup
from .session import memory_format

CPU_BATCH_SIZE = 32
"""The "auto" batch size on a CPU, where a larger batch is no faster per image and learns less."""

_MIN_STEPS = 16
"""Fewest steps in an epoch; a larger batch would leave too few."""
_MEMORY_SHARE = 0.8
_TIMED_STEPS = 5


def tune_to_machine(
    config: TrainConfig, task: Task, *, n_images: int, progress: bool, group: ProcessGroup = ALONE
) -> TrainConfig:
    """The config with "auto" of batch size and layout replaced by the best values for this machine and task.

    Each of several processes measures its own device; all use the smallest batch and the first process's layout. An
    epoch has `n_images` images.
    """
    device = choose_device(config.device)
    parts = config.accumulate * group.count
    changes: dict[str, Any] = {}
    with torch_threads(config.threads), isolated_rng(device):
        if config.batch_size == "auto":
            changes["batch_size"] = max(2, math.ceil(CPU_BATCH_SIZE / parts)) * parts
            if device.type == "cuda":
                largest = largest_batch(
                    lambda size: _fits(config, task, size, device), most=max(2, n_images // (_MIN_STEPS * parts))
                )
                changes["batch_size"] = group.minimum(largest) * parts
                print_note(f"batch size {changes['batch_size']}: the largest that fits", progress)
            config = config.model_copy(update=changes)
        if config.layout == "auto":
            # Measured on a CPU, yolov5n: 367 against 320 images/s at 64 px, 43 against 39 at 224 px.
            changes["layout"] = "channels_last"
            if not config.deterministic:
                found = faster_layout(lambda layout: _step_s(config, task, layout, device, parts))
                changes["layout"], seconds = group.value_of_first(found)
                words = ", ".join(f"{name} {1e3 * taken:.1f} ms a step" for name, taken in seconds.items())
                print_note(f"layout {changes['layout']}: {words}", progress)
    return config.model_copy(update=changes)


def largest_batch(fits: Callable[[int], bool], *, most: int) -> int:
    """The largest of 2, 4, 8, ... up to `most` that fits into memory, by doubling until one does not."""
    size = 2
    while 2 * size <= most and fits(2 * size):
        size *= 2
    return size


def faster_layout(seconds_of: Callable[[str], float]) -> tuple[str, dict[str, float]]:
    """The layout with the shorter step (channels_last on a tie), and the seconds of both."""
    seconds = {layout: seconds_of(layout) for layout in ("channels_last", "contiguous")}
    return min(seconds, key=lambda layout: seconds[layout]), seconds


def _fits(config: TrainConfig, task: Task, size: int, device: torch.device) -> bool:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    free, _ = torch.cuda.mem_get_info(device)
    try:
        _Trial(config, task, "channels_last", device, size).step()
    except torch.OutOfMemoryError:
        return False
    return torch.cuda.max_memory_allocated(device) <= _MEMORY_SHARE * free


def _step_s(config: TrainConfig, task: Task, layout: str, device: torch.device, parts: int) -> float:
    trial = _Trial(config, task, layout, device, config.images_a_step // parts)
    trial.step()  # the first step also chooses kernels and allocates memory
    return statistics.median(trial.step() for _ in range(_TIMED_STEPS))


class _Trial:
    """Steps of a network on black images, to be measured and thrown away."""

    def __init__(self, config: TrainConfig, task: Task, layout: str, device: torch.device, size: int) -> None:
        self._device, self._format = device, memory_format(layout)
        self._network = task.build_fresh_network().to(device, memory_format=self._format)  # type: ignore[call-overload]
        self._optimizer = torch.optim.AdamW(self._network.parameters())
        self._precision = MixedPrecision(device, amp=config.amp)
        self._images = torch.zeros((size, 3, config.imgsz, config.imgsz), device=device)
        none = torch.zeros(size, dtype=torch.int64)
        shown = TrainingImages(torch.zeros((1, 3, config.imgsz, config.imgsz), dtype=torch.uint8), none, none)
        self._loss, self._batch = task.part_loss(shown, device), torch.arange(size)
        self._variation = draw_variation(size, config.augment, torch.Generator())

    def step(self) -> float:
        """Seconds of one step."""
        self._wait()
        begin = time.perf_counter()
        with self._precision.autocast():
            output = self._network(self._images.contiguous(memory_format=self._format))
            loss = self._loss(output, self._batch, slice(0, len(self._batch)), self._variation)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._wait()
        return time.perf_counter() - begin

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
