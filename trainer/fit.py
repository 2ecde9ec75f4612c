"""The training loop: pictures in memory -> one record and one set of weights an epoch. No files."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from . import _yolov5
from .config import TrainConfig
from .device import choose_device, torch_threads
from .errors import ConfigError
from .history import EpochRecord
from .loader import EpochOrder, augment, normalise
from .weights import start_from

_LAST_LR_SHARE = 0.01

_BATCH_NORM_MOMENTUM = 0.1
"""Upstream's 0.03 leaves a quarter of the initial statistics after 50 steps, and small sets train that short."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded images and their classes; an image may be listed more than once."""

    images: torch.Tensor
    """(M, 3, S, S) uint8."""
    places: torch.Tensor
    """(N,) int64, the image of each entry."""
    labels: torch.Tensor
    """(N,) int64, the class of each entry."""


@dataclass(frozen=True, eq=False)
class EpochResult:
    """What an epoch measured, and the weights it measured."""

    record: EpochRecord
    state: dict[str, torch.Tensor]
    """State dict of the averaged weights, on the CPU."""


def fit(
    train: Pictures, val: Pictures, classes: tuple[str, ...], config: TrainConfig, *, progress: bool
) -> Iterator[EpochResult]:
    """Train a classifier, yielding after each epoch.

    AdamW with a linear warm-up and a cosine decay per step; the weights that are validated and yielded are an
    exponential moving average. On a CPU the same config, pictures and versions give the same bits.

    Raises:
        ConfigError: the loss is no longer a number, or the device is not there.
        CheckpointError: `config.weights` cannot be used.
    """
    device = choose_device(config.device)
    with (
        torch_threads(config.threads),
        torch.random.fork_rng(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(config.seed)
        network = _yolov5.build_classifier(config.model, len(classes))
        if config.weights is not None:
            start_from(network, Path(config.weights), model=config.model, classes=classes)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _BATCH_NORM_MOMENTUM
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = _MovingAverage(network, config.ema_decay)
        optimizer = torch.optim.AdamW(_parameter_groups(network, config.weight_decay), lr=config.lr)
        chance = torch.Generator().manual_seed(config.seed)
        order = EpochOrder(
            train.labels.tolist(),
            batch_size=config.batch_size,
            images_per_epoch=config.images_per_epoch,
            balance=config.balance,
            generator=chance,
        )
        step = 0
        for epoch in range(1, config.epochs + 1):
            begin = time.perf_counter()
            network.train()
            batches = order.next_epoch()
            total, seen, lr = 0.0, 0, config.lr
            with _bar(batches, epoch, config.epochs, progress) as bar:
                for batch in batches:
                    lr = config.lr * lr_share(step, order.steps, config)
                    for group in optimizer.param_groups:
                        group["lr"] = lr
                    pixels = augment(train.images[train.places[batch]].to(device), config.augment, chance)
                    loss = functional.cross_entropy(
                        network(normalise(pixels).contiguous(memory_format=torch.channels_last)),
                        train.labels[batch].to(device),
                        label_smoothing=config.label_smoothing,
                    )
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    average.update(network)
                    step += 1
                    value = loss.item()
                    if not math.isfinite(value):
                        raise ConfigError(
                            f"lr: the loss became {value} in epoch {epoch} with lr {config.lr}; try --lr "
                            f"{config.lr / 10:g}"
                        )
                    total, seen = total + value * len(batch), seen + len(batch)
                    bar.update(len(batch))
                    bar.set_postfix(loss=f"{total / seen:.3f}", refresh=False)
            trained = time.perf_counter()
            logits = predict_logits(average.network, val, device, 2 * config.batch_size)
            val_loss, val_accuracy, val_macro_f1 = score(logits, val.labels)
            yield EpochResult(
                EpochRecord(
                    epoch=epoch,
                    train_loss=total / seen,
                    val_loss=val_loss,
                    val_accuracy=val_accuracy,
                    val_macro_f1=val_macro_f1,
                    lr=lr,
                    images_per_s=seen / (trained - begin),
                    seconds=time.perf_counter() - begin,
                ),
                {name: tensor.detach().cpu().clone() for name, tensor in average.network.state_dict().items()},
            )


def lr_share(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Share of the highest learning rate at a step, counted from 0: a line up, then half a cosine down to 0.01."""
    all_steps = config.epochs * steps_per_epoch
    # A short run warms up over a third of itself at most.
    warmup = min(round(config.warmup_epochs * steps_per_epoch), all_steps // 3)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, all_steps - 1 - warmup)
    return _LAST_LR_SHARE + (1 - _LAST_LR_SHARE) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def predict_logits(network: nn.Module, pictures: Pictures, device: torch.device, batch_size: int) -> torch.Tensor:
    """(N, K) float32 on the CPU, of the entries in order."""
    rows = []
    with torch.inference_mode():
        for places in torch.split(pictures.places, batch_size):
            pixels = normalise(pictures.images[places].to(device))
            rows.append(network(pixels.contiguous(memory_format=torch.channels_last)).cpu())
    return torch.cat(rows)


def score(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float, float]:
    """Mean cross-entropy, accuracy, and macro-F1 over the classes that occur in `labels`.

    F1 of a class = 2 TP / (2 TP + FP + FN).

    Args:
        logits: (N, K), N >= 1.
        labels: (N,) int64.
    """
    predicted = logits.argmax(dim=1)
    f1 = []
    for k in sorted(set(labels.tolist())):
        hits = ((predicted == k) & (labels == k)).sum().item()
        f1.append(2 * hits / ((predicted == k).sum().item() + (labels == k).sum().item()))
    loss = functional.cross_entropy(logits.double(), labels).item()
    return loss, (predicted == labels).double().mean().item(), sum(f1) / len(f1)


class _MovingAverage:
    """Exponential moving average of a network's weights and batch statistics.

    After t updates the decay is min(decay, (1 + t) / (10 + t)): early weights, which are noise, are soon
    forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        self._updates = 0

    def update(self, network: nn.Module) -> None:
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        with torch.no_grad():
            own, new = self.network.state_dict(), network.state_dict()
            floats = [name for name in own if own[name].is_floating_point()]
            torch._foreach_lerp_([own[name] for name in floats], [new[name] for name in floats], 1 - decay)
            for name in own.keys() - set(floats):
                own[name].copy_(new[name])


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _bar(batches: list[torch.Tensor], epoch: int, epochs: int, progress: bool) -> tqdm[NoReturn]:
    count = sum(len(batch) for batch in batches)
    return tqdm(total=count, desc=f"epoch {epoch}/{epochs}", unit="image", disable=not progress)
