"""Everything that changes while a network is trained, and one step of it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sdcore.diffusion_model import PixelCodec
from sdcore.torch_runtime import ExponentialMovingAverage, MixedPrecision

from .config import TrainConfig
from .dataset import TrainingSet
from .drawing import Order, draw_square
from .errors import TrainingDiverged
from .network import TIMESTEPS, build_network, build_schedule

_LOWEST_LR_SHARE = 0.01


class Session:
    """A training in progress: network, average, optimizer, chance and order.

    Chance is drawn on the CPU, so that a seed means the same on every device.

    Args:
        pictures: what it learns from.
        code: how their pixels are put.
        config: how it learns.
        device: where.

    Raises:
        MissingExtra: diffusers is not installed.
    """

    def __init__(self, pictures: TrainingSet, code: PixelCodec, config: TrainConfig, device: torch.device) -> None:
        self._pictures, self._code, self._config, self._device = pictures, code, config, device
        n_classes = len(pictures.classes)
        self._no_class = n_classes
        # The order of numbers in memory that a GPU's convolutions are faster in; on a CPU it gained nothing.
        self._layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        network = build_network(config.network, channels=pictures.channels, n_classes=n_classes, seed=config.seed)
        self.network: nn.Module = network.to(device, memory_format=self._layout)  # type: ignore[call-overload]
        self.average = ExponentialMovingAverage(self.network, config.ema_decay)
        self.schedule = build_schedule()
        self.precision = MixedPrecision(device, amp=config.amp)
        self.steps_done = 0
        self._chance = torch.Generator().manual_seed(config.seed)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        labels = [picture.label for picture in pictures.train]
        self._order = Order(labels, batch_size=config.batch_size, balance=config.balance, generator=self._chance)

    def step(self, share_done: float) -> float:
        """Learn from one batch.

        Args:
            share_done: of the whole training, 0 to 1; the learning rate follows it.

        Returns:
            The loss: mean squared error of the predicted velocity.

        Raises:
            TrainingDiverged: it is no longer a number.
        """
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * lr_share(self.steps_done, share_done, config)
        clean, labels = self._next_batch()
        count = len(labels)
        times = torch.randint(TIMESTEPS, (count,), generator=self._chance).to(self._device)
        noise = torch.randn(clean.shape, generator=self._chance).to(self._device)
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
        """All that `restore` goes on from."""
        return {
            "steps_done": self.steps_done,
            "network": self.network.state_dict(),
            "average": self.average.state(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "chance": self._chance.get_state(),
            "order": self._order.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave; on the same machine to the same bits."""
        self.network.load_state_dict(state["network"])
        self.average.restore(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] and self.precision.scaler.is_enabled():
            self.precision.scaler.load_state_dict(state["scaler"])
        self._chance.set_state(state["chance"])
        self._order.restore(state["order"])
        self.steps_done = int(state["steps_done"])

    def _next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Clean pictures as the network sees them, and their classes, some of them dropped."""
        config, train = self._config, self._pictures.train
        chosen = [train[index] for index in self._order.next_batch()]
        squares = [
            draw_square(
                picture.pixels,
                config.network.size_px,
                flips=config.flips,
                quarter_turns=config.quarter_turns,
                generator=self._chance,
            )
            for picture in chosen
        ]
        labels = torch.tensor([picture.label for picture in chosen])
        labels[torch.rand(len(labels), generator=self._chance) < config.drop_class] = self._no_class
        levels = torch.stack(squares).to(self._device)
        return self._code.encode(levels).contiguous(memory_format=self._layout), labels.to(self._device)


def velocity_loss(
    network: nn.Module,
    schedule: Any,
    precision: MixedPrecision,
    clean: torch.Tensor,
    noise: torch.Tensor,
    times: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error of the velocity that the network predicts for noised pictures.

    Args:
        network: a class-conditional UNet.
        schedule: what noises.
        precision: in which format the network computes.
        clean: (N, C, H, W) pictures as the network sees them.
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
    """The learning rate as a share of the highest: a linear start, then level, then a cosine down to a hundredth.

    Args:
        step: steps done.
        share_done: of the whole training.
        config: of the training.
    """
    start = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    beyond = share_done - (1 - config.decay_share)
    if beyond <= 0 or config.decay_share == 0:
        return start
    fall = 0.5 * (1 + math.cos(math.pi * min(beyond / config.decay_share, 1.0)))
    return start * (_LOWEST_LR_SHARE + (1 - _LOWEST_LR_SHARE) * fall)
