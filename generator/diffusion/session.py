"""A training in progress: its network, the order of its images, one step, and the validation loss."""

import math
from collections.abc import Iterator, Sequence
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

    Random numbers are drawn on the CPU, so that a seed means the same on every device.

    Raises:
        MissingExtra: diffusers is not installed.
    """

    def __init__(self, data: TrainingSet, codec: PixelCodec, config: TrainConfig, device: torch.device) -> None:
        self._data, self._codec, self._config, self._device = data, codec, config, device
        n_classes = len(data.classes)
        self._no_class = n_classes
        # GPU convolutions are faster in this memory layout; a CPU gains nothing from it.
        self._layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        network = build_network(config.network, channels=data.channels, n_classes=n_classes, seed=config.seed)
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
        """Learn from one batch.

        Args:
            share_done: how much of the whole training is done, 0 to 1; the learning rate depends on it.

        Returns:
            The loss: mean squared error of the predicted velocity.

        Raises:
            TrainingDiverged: the loss is no longer a number.
        """
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * lr_share(self.steps_done, share_done, config)
        clean, labels = self._next_batch()
        count = len(labels)
        times = torch.randint(TIMESTEPS, (count,), generator=self._rng).to(self._device)
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
        """Everything that `restore` needs."""
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
        """Go on from a `state`; on the same machine the weights come out equal to the bit."""
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
        config, train = self._config, self._data.train
        chosen = [train[index] for index in self._order.next_batch()]
        squares = [
            random_square(
                image.pixels,
                config.network.size_px,
                flips=config.flips,
                quarter_turns=config.quarter_turns,
                generator=self._rng,
            )
            for image in chosen
        ]
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
        schedule: what noises.
        clean: (N, C, H, W) images as the network sees them.
        noise: the same shape, standard normal.
        times: (N,) int64, timestep of each.
        labels: (N,) int64, class of each.
    """
    noised = schedule.add_noise(clean, noise, times)
    wanted = schedule.get_velocity(clean, noise, times)
    with precision.autocast():
        found = network(noised, times, class_labels=labels).sample
    return functional.mse_loss(found.float(), wanted)


def lr_share(step: int, share_done: float, config: TrainConfig) -> float:
    """The learning rate as a share of the highest: a linear warm-up, a constant part, a cosine down to 1 %.

    Args:
        share_done: of the whole training, 0 to 1.
    """
    start = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    beyond = share_done - (1 - config.decay_share)
    if beyond <= 0 or config.decay_share == 0:
        return start
    fall = 0.5 * (1 + math.cos(math.pi * min(beyond / config.decay_share, 1.0)))
    return start * (_LOWEST_LR_SHARE + (1 - _LOWEST_LR_SHARE) * fall)


class BatchOrder:
    """Endless batches of images; no image of a pool is shown again before all others of the pool were shown.

    Args:
        balance: draw every class equally often.
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
        """Go on from a `state` of an order of the same labels and settings."""
        self._pool_order.restore(state["pool_order"])
        for one, its_state in zip(self._rounds, state["rounds"], strict=True):
            one.restore(its_state)


class _Round:
    """A pool in shuffled order, shuffled anew after each round."""

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
    """A square at a random position along an image's longer side, mirrored and turned at random where allowed.

    Args:
        image: (C, H, W), its shorter side `size_px`.
        flips: mirror left-right and up-down, each with probability 1/2.
        quarter_turns: turn by 0, 90, 180 or 270 degrees.
    """
    top = _draw_below(image.shape[1] - size_px + 1, generator)
    left = _draw_below(image.shape[2] - size_px + 1, generator)
    square = image[:, top : top + size_px, left : left + size_px]
    if flips:
        sides = [side for side in (1, 2) if _draw_below(2, generator)]
        square = torch.flip(square, sides)
    if quarter_turns:
        square = torch.rot90(square, _draw_below(4, generator), (1, 2))
    return square


def centre_square(image: torch.Tensor, size_px: int) -> torch.Tensor:
    """The central square of an image whose shorter side is `size_px`."""
    top, left = (image.shape[1] - size_px) // 2, (image.shape[2] - size_px) // 2
    return image[:, top : top + size_px, left : left + size_px]


def _draw_below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator)) if count > 1 else 0


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
    """A class-conditional `UNet2DModel` with fresh weights; label `n_classes` stands for "no class".

    Args:
        seed: of its weights; torch's own generator is not touched.

    Raises:
        MissingExtra: diffusers is not installed.
    """
    diffusers = import_diffusers()
    levels = len(config.widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = diffusers.UNet2DModel(
            sample_size=config.size_px // config.packing,
            in_channels=channels * config.packing**2,
            out_channels=channels * config.packing**2,
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * (levels - 1)),
            up_block_types=(*["AttnUpBlock2D"] * (levels - 1), "UpBlock2D"),
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
    """Measures a network on up to 128 held-out images, of each class equally many where there are enough.

    Each image is noised twice, at timesteps spread evenly over the schedule. Timesteps and noise are drawn once, from
    a seed of their own, so that losses of different steps can be compared.

    Args:
        data: its `val` is used; one or more images.
        size_px: side of the central square of each image.
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
        for part in _slices(len(self._labels), batch_size):
            clean, noise, times, labels = (
                one[part].to(self._device) for one in (self._clean, self._noise, self._times, self._labels)
            )
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
    return [image for image, _ in zip(turns, range(most), strict=False)]


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
