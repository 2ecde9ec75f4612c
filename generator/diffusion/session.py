"""A training in progress: its network, the order of its images, one step, and the validation loss."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sdcore.diffusion_model import PixelCodec
from sdcore.optional_imports import import_diffusers
from sdcore.torch_runtime import ExponentialMovingAverage, MixedPrecision

from ..config import NORM_GROUPS, NetworkConfig, TrainConfig
from ..errors import TrainingDiverged
from .dataset import DecodedImage, TrainingSet

_LOWEST_LR_SHARE = 0.01


class DiffusionSession:
    """A training in progress: network, average, optimizer, random numbers and order of images.

    Random numbers are drawn on the CPU, so that a seed gives the same numbers on every device.

    Raises:
        MissingExtra: diffusers is not installed.
    """

    def __init__(self, data: TrainingSet, codec: PixelCodec, config: TrainConfig, device: torch.device) -> None:
        self._data, self._codec, self._config, self._device = data, codec, config, device
        self._no_class = len(data.classes)
        # GPU convolutions are faster in this memory layout; a CPU gains nothing from it.
        self._layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        network = build_network(config.network, channels=data.channels, n_classes=self._no_class, seed=config.seed)
        self.network: nn.Module = network.to(device, memory_format=self._layout)  # type: ignore[call-overload]
        self.average = ExponentialMovingAverage(self.network, config.ema_decay)
        self.schedule = build_schedule()
        self.precision = MixedPrecision(device, amp=config.amp)
        self.steps_done = 0
        self._rng = torch.Generator().manual_seed(config.seed)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        labels = [image.label for image in data.train]
        self._order = BatchOrder(labels, batch_size=config.batch_size, balance=config.balance, generator=self._rng)

    def step(self, share_done: float) -> float:
        """Train on one batch; the loss, which is the mean squared error of the predicted velocity.

        The learning rate depends on `share_done`, the share of the whole training that is done, 0 to 1.

        Raises:
            TrainingDiverged: the loss is no longer a number.
        """
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * lr_share(self.steps_done, share_done, config)
        clean, labels = self._next_batch()
        times = torch.randint(TIMESTEPS, (len(labels),), generator=self._rng).to(self._device)
        noise = torch.randn(clean.shape, generator=self._rng).to(self._device)
        loss = velocity_loss(self.network, self.schedule, self.precision, clean, noise, times, labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"step {self.steps_done + 1}: the loss is {value}; take a lower learning rate: --lr {config.lr / 4:g}"
            )
        self._optimizer.zero_grad(set_to_none=True)
        scaler = self.precision.scaler
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(self._optimizer)
        if config.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        scaler.step(self._optimizer)
        scaler.update()
        self.average.update(self.network)
        self.steps_done += 1
        return value

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs; its keys are stored in `resume.pt`."""
        return {
            "steps_done": self.steps_done,
            "network": self.network.state_dict(),
            "average": self.average.state(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "chance": self._rng.get_state(),
            "order": self._order.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`; on the same machine the weights become equal bit by bit."""
        self.network.load_state_dict(state["network"])
        self.average.restore(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] and self.precision.scaler.is_enabled():
            self.precision.scaler.load_state_dict(state["scaler"])
        self._rng.set_state(state["chance"])
        self._order.restore(state["order"])
        self.steps_done = int(state["steps_done"])

    def _next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Clean images as the network sees them, and their classes, some replaced by "no class"."""
        config = self._config
        chosen = [self._data.train[index] for index in self._order.next_batch()]
        options: dict[str, Any] = {"flips": config.flips, "quarter_turns": config.quarter_turns, "generator": self._rng}
        squares = [random_square(image.pixels, config.network.size_px, **options) for image in chosen]
        labels = torch.tensor([image.label for image in chosen])
        labels[torch.rand(len(labels), generator=self._rng) < config.drop_class] = self._no_class
        levels = torch.stack(squares).to(self._device)
        return self._codec.encode(levels).contiguous(memory_format=self._layout), labels.to(self._device)


def velocity_loss(
    network: nn.Module,
    schedule: Any,
    precision: MixedPrecision,
    clean: torch.Tensor,
    noise: torch.Tensor,
    times: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error of the velocity that the network predicts for noised images.

    Args:
        clean: (N, C, H, W) images as the network sees them.
        noise: the same shape, standard normal.
        times: (N,) int64 timesteps.
        labels: (N,) int64 classes.
    """
    noised = schedule.add_noise(clean, noise, times)
    wanted = schedule.get_velocity(clean, noise, times)
    with precision.autocast():
        found = network(noised, times, class_labels=labels).sample
    return functional.mse_loss(found.float(), wanted)


def lr_share(step: int, share_done: float, config: TrainConfig) -> float:
    """Share of the highest learning rate, after `share_done` of the training: warm-up, constant, cosine down to 1 %."""
    start = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    beyond = share_done - (1 - config.decay_share)
    if beyond <= 0 or config.decay_share == 0:
        return start
    fall = 0.5 * (1 + math.cos(math.pi * min(beyond / config.decay_share, 1.0)))
    return start * (_LOWEST_LR_SHARE + (1 - _LOWEST_LR_SHARE) * fall)


class BatchOrder:
    """Endless batches of images; no image of a pool is shown again before all others of the pool were shown.

    With `balance`, every class is a pool and all pools are drawn equally often; otherwise all images are one pool.
    """

    def __init__(self, labels: Sequence[int], *, batch_size: int, balance: bool, generator: torch.Generator) -> None:
        everything = range(len(labels))
        pools = [[i for i in everything if labels[i] == label] for label in sorted(set(labels))]
        self._rounds = [_Round(pool, generator) for pool in (pools if balance else [list(everything)])]
        self._pool_order = _Round(list(range(len(self._rounds))), generator)
        self._batch_size = batch_size

    def next_batch(self) -> list[int]:
        """Indices of the next images."""
        return [self._rounds[self._pool_order.draw()].draw() for _ in range(self._batch_size)]

    def state(self) -> dict[str, Any]:
        """The rounds in progress, without the state of the generator."""
        return {"pool_order": self._pool_order.state(), "rounds": [one.state() for one in self._rounds]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of an order of the same labels and settings."""
        self._pool_order.restore(state["pool_order"])
        for one, its_state in zip(self._rounds, state["rounds"], strict=True):
            one.restore(its_state)


class _Round:
    """A pool in shuffled order, shuffled again after each round."""

    def __init__(self, pool: list[int], generator: torch.Generator) -> None:
        self._pool, self._generator = pool, generator
        self._left: list[int] = []

    def draw(self) -> int:
        if not self._left:
            places = torch.randperm(len(self._pool), generator=self._generator).tolist()
            self._left = [self._pool[place] for place in places]
        return self._left.pop()

    def state(self) -> list[int]:
        return list(self._left)

    def restore(self, state: list[int]) -> None:
        self._left = list(state)


def random_square(
    image: torch.Tensor, size_px: int, *, flips: bool, quarter_turns: bool, generator: torch.Generator
) -> torch.Tensor:
    """A square at a random position along an image's longer side, mirrored and turned at random if allowed.

    Args:
        image: (C, H, W), its shorter side `size_px`.
        flips: mirror left-right and up-down, each with probability 1/2.
        quarter_turns: turn by 0, 90, 180 or 270 degrees.
    """

    def draw_below(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator)) if count > 1 else 0

    top, left = draw_below(image.shape[1] - size_px + 1), draw_below(image.shape[2] - size_px + 1)
    square = image[:, top : top + size_px, left : left + size_px]
    if flips:
        square = torch.flip(square, [side for side in (1, 2) if draw_below(2)])
    return torch.rot90(square, draw_below(4), (1, 2)) if quarter_turns else square


def centre_square(image: torch.Tensor, size_px: int) -> torch.Tensor:
    """The central square of an image whose shorter side is `size_px`."""
    top, left = (image.shape[1] - size_px) // 2, (image.shape[2] - size_px) // 2
    return image[:, top : top + size_px, left : left + size_px]


TIMESTEPS = 1000
SCHEDULE = {
    "num_train_timesteps": TIMESTEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "timestep_spacing": "linspace",
}
"""Stable Diffusion's noise levels (sigma 0.029 to 14.6, all finite, so that every sampler works); the network predicts
the velocity (Salimans and Ho 2022, Progressive Distillation)."""


def build_network(config: NetworkConfig, *, channels: int, n_classes: int, seed: int = 0) -> nn.Module:
    """A class-conditional `UNet2DModel` with fresh weights; label `n_classes` means "no class".

    The state of torch's global generator is kept.

    Raises:
        MissingExtra: diffusers is not installed.
    """
    diffusers = import_diffusers()
    coarser = len(config.widths) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = diffusers.UNet2DModel(
            sample_size=config.size_px // config.packing,
            in_channels=channels * config.packing**2,
            out_channels=channels * config.packing**2,
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * coarser),
            up_block_types=(*["AttnUpBlock2D"] * coarser, "UpBlock2D"),
            attention_head_dim=config.head_channels,
            norm_num_groups=min(NORM_GROUPS, *config.widths),
            num_class_embeds=n_classes + 1,
            flip_sin_to_cos=True,
            freq_shift=0,
        )
    return network


def build_schedule() -> Any:
    """The `DDPMScheduler` that adds noise to training images.

    Raises:
        MissingExtra: diffusers is not installed.
    """
    return import_diffusers().DDPMScheduler(**SCHEDULE)


_MOST_IMAGES = 128
_NOISINGS = 2
"""How often each image is noised, each time at another timestep."""


class Validation:
    """Measures a network on up to 128 images of `data.val`, equally many of each class if there are enough.

    The central square, `size_px` wide, of each image is noised twice, at timesteps spread evenly over the schedule.
    Timesteps and noise are drawn once, from a fixed seed, so that losses of different steps can be compared.
    """

    def __init__(self, data: TrainingSet, codec: PixelCodec, *, size_px: int, device: torch.device) -> None:
        chosen = take_by_turns(data.val, _MOST_IMAGES)
        rng = torch.Generator().manual_seed(0)
        levels = torch.stack([centre_square(image.pixels, size_px) for image in chosen])
        self._clean = codec.encode(levels).repeat(_NOISINGS, 1, 1, 1)
        self._labels = torch.tensor([image.label for image in chosen]).repeat(_NOISINGS)
        count = len(self._labels)
        strata = ((torch.arange(count) + 0.5) / count * TIMESTEPS).long()
        self._times = strata[torch.randperm(count, generator=rng)]
        self._noise = torch.randn(self._clean.shape, generator=rng)
        self._schedule, self._device = build_schedule(), device

    @torch.no_grad()
    def loss(self, network: nn.Module, precision: MixedPrecision, *, batch_size: int) -> float:
        """Mean squared error of the predicted velocity; classes are not dropped."""
        total = 0.0
        everything = (self._clean, self._noise, self._times, self._labels)
        for batch in zip(*(torch.split(one, batch_size) for one in everything), strict=True):
            clean, noise, times, labels = (one.to(self._device) for one in batch)
            loss = velocity_loss(network, self._schedule, precision, clean, noise, times, labels)
            total += float(loss) * len(labels)
        return total / len(self._labels)


def take_by_turns(images: Sequence[DecodedImage], most: int) -> list[DecodedImage]:
    """Up to `most` images, the first of each class, then the second of each, and so on."""
    by_class: dict[int, list[DecodedImage]] = {}
    for image in images:
        by_class.setdefault(image.label, []).append(image)
    longest = max(len(group) for group in by_class.values())
    turns = (group[k] for k in range(longest) for _, group in sorted(by_class.items()) if k < len(group))
    return list(islice(turns, most))
