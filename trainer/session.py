"""Everything that changes while a network is trained, and one step of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from . import _yolov5
from .augment import augment
from .config import TrainConfig
from .ema import MovingAverage
from .loader import normalise
from .precision import Precision
from .sampling import EpochOrder, class_weights
from .schedule import lr_share
from .start import freeze_backbone, start_from

_BATCH_NORM_MOMENTUM = 0.1
"""Upstream's 0.03 leaves a quarter of the initial statistics after 50 steps, and small sets train that short."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded images and their classes; an image may be listed more than once."""

    images: torch.Tensor
    """(M, 3, S, S) uint8, in memory, in a mapped file, or on the device that trains."""
    places: torch.Tensor
    """(N,) int64, the image of each entry."""
    labels: torch.Tensor
    """(N,) int64, the class of each entry."""
    added: torch.Tensor | None = None
    """(N,) bool, whether the entry joined the real images: a generated image, or a source repeated as control."""


class Session:
    """A training in progress: network, average, optimizer, chance and order.

    Build it, and call `step`, with torch's global generator seeded and kept apart; `fit` does both.

    Raises:
        CheckpointError: `config.weights` cannot be used.
        ConfigError: the pictures do not fit the config.
    """

    def __init__(self, train: Pictures, classes: tuple[str, ...], config: TrainConfig, device: torch.device) -> None:
        self._train, self._config, self._device = train, config, device
        self.memory_format = memory_format(config.layout)
        network, self.started_from = _build(classes, config)
        self.network = network.to(device, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.average = MovingAverage(self.network, config.ema_decay)
        self._optimizer = torch.optim.AdamW(_parameter_groups(self.network, config.weight_decay), lr=config.lr)
        self._precision = Precision(device, amp=config.amp)
        self._chance = torch.Generator().manual_seed(config.seed)
        self._order = order_of(train, config, self._chance)
        self._weights = (
            class_weights(train.labels.tolist(), len(classes)).to(device)
            if config.class_weights == "balanced"
            else None
        )
        self._steps_done = 0
        self.lr = config.lr
        """Learning rate of the last step."""

    def start_epoch(self) -> list[torch.Tensor]:
        """The batches of the next epoch, each (B,) int64 indices; the network is put into training mode."""
        self.network.train()
        return self._order.next_epoch()

    def step(self, batch: torch.Tensor) -> torch.Tensor:
        """One step of the optimizer on a batch of indices; its mean loss, a scalar on the device."""
        config = self._config
        self.lr = config.lr * lr_share(self._steps_done, self._order.steps, config)
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr
        pixels = augment(
            take_images(self._train, self._train.places[batch], self._device), config.augment, self._chance
        )
        with self._precision.autocast():
            loss = functional.cross_entropy(
                self.network(normalise(pixels).contiguous(memory_format=self.memory_format)),
                self._train.labels[batch].to(self._device, non_blocking=True),
                weight=self._weights,
                label_smoothing=config.label_smoothing,
            )
        self._optimizer.zero_grad(set_to_none=True)
        scaler = self._precision.scaler
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if config.clip_norm:
            scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        scaler.step(self._optimizer)
        scaler.update()
        self.average.update(self.network)
        self._steps_done += 1
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` goes on as if nothing had come between.

        The tensors are the living ones: save or copy them before the next step.
        """
        return {
            "network": self.network.state_dict(),
            "average": self.average.state(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._precision.scaler.state_dict(),
            "order": self._order.state(),
            "steps_done": self._steps_done,
            "chance": self._chance.get_state(),
            "torch_chance": torch.get_rng_state(),
            "cuda_chance": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, in a session of the same pictures and config."""
        self.network.load_state_dict(state["network"])
        self.average.restore(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._precision.scaler.load_state_dict(state["scaler"])
        self._order.restore(state["order"])
        self._steps_done = int(state["steps_done"])
        self._chance.set_state(state["chance"])
        torch.set_rng_state(state["torch_chance"])
        if state["cuda_chance"]:
            torch.cuda.set_rng_state_all(state["cuda_chance"])


def order_of(train: Pictures, config: TrainConfig, chance: torch.Generator) -> EpochOrder:
    """The order in which a training of this config shows its pictures.

    Raises:
        ConfigError: the pictures do not fit the config.
    """
    return EpochOrder(
        train.labels.tolist(),
        batch_size=config.images_a_step,
        images_per_epoch=config.images_per_epoch,
        balance=config.balance,
        generator=chance,
        added_share=config.generated_share,
        added=[] if train.added is None else train.added.tolist(),
    )


def memory_format(layout: str) -> torch.memory_format:
    """Torch's word for a resolved layout."""
    return torch.contiguous_format if layout == "contiguous" else torch.channels_last


def take_images(pictures: Pictures, places: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(B, 3, S, S) uint8 on `device`; a batch that has to travel to a GPU goes through pinned memory."""
    images = pictures.images[places]
    if device.type == "cuda" and images.device.type == "cpu":
        return images.pin_memory().to(device, non_blocking=True)
    return images.to(device)


def _build(classes: tuple[str, ...], config: TrainConfig) -> tuple[nn.Module, str]:
    """The network before its first step, and what it started from in words."""
    network = _yolov5.build_classifier(config.model, len(classes))
    words = ""
    if config.weights is not None:
        words = start_from(network, Path(config.weights), model=config.model, classes=classes).line
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = _BATCH_NORM_MOMENTUM
    freeze_backbone(network, config.freeze)
    return network, words


def refuse_unusable_weights(classes: tuple[str, ...], config: TrainConfig) -> None:
    """Try the weights that a training is to start from, before anything is read or replaced for it.

    Raises:
        CheckpointError: they cannot be used.
    """
    if config.weights is not None:
        with torch.random.fork_rng(devices=[]):
            _build(classes, config)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    parameters = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
