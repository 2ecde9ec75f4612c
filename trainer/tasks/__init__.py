"""The Task interface: what differs between classification and detection.

The images of a training and the figures of a validation are here too, since the loop and a task exchange them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from ..data.transforms import Variation


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Decoded images and their classes; an image may be listed more than once."""

    images: torch.Tensor
    """(M, 3, S, S) uint8, in memory, in a mapped file, or on the device that trains."""
    image_index: torch.Tensor
    """(N,) int64, index into `images` of each entry."""
    labels: torch.Tensor
    """(N,) int64, the class of each entry."""
    added: torch.Tensor | None = None
    """(N,) bool, whether the entry was added to the real images: a generated image, or a source repeated as control."""

    def part(self, entries: slice) -> TrainingImages:
        """Some of the entries, with the same images."""
        added = None if self.added is None else self.added[entries]
        return TrainingImages(self.images, self.image_index[entries], self.labels[entries], added)


@dataclass(frozen=True)
class ValidationScore:
    """Figures of one validation."""

    loss: float
    """Mean cross-entropy."""
    accuracy: float
    """In [0, 1]."""
    macro_f1: float
    """In [0, 1]; mean over the classes that occur of F1 = 2 TP / (2 TP + FP + FN)."""
    miss_rate: float | None
    """FN / (TP + FN): defects predicted Normal; None without a class Normal or without a defect."""
    overkill_rate: float | None
    """FP / (FP + TN): Normal images predicted as a defect; None without Normal images."""


class PartLoss(Protocol):
    """The loss of one part of a batch."""

    def __call__(self, output: Any, batch: torch.Tensor, part: slice, variation: Variation) -> torch.Tensor:
        """The part's share of the mean loss of the batch; the shares of all parts add up to that mean.

        Args:
            output: of the network for the part's images, under autocast.
            batch: (B,) int64, entries of the training images; those of the whole step.
            part: the entries of `batch` that `output` belongs to.
            variation: of the part's images; boxes in them move with it.
        """


class Task(Protocol):
    """What a network is trained to do."""

    def build_network(self) -> tuple[nn.Module, str]:
        """The network before its first step, on the CPU; and a description of its weights, "" for fresh ones.

        Draws from torch's global generator.

        Raises:
            CheckpointError: the weights to start from cannot be used.
        """

    def build_fresh_network(self) -> nn.Module:
        """The network with fresh weights and without exchange between processes, to measure its memory and speed."""

    def refuse_unusable_weights(self) -> None:
        """Try the weights to start from, before anything is read or replaced.

        Raises:
            CheckpointError: they cannot be used.
        """

    def part_loss(self, train: TrainingImages, device: torch.device) -> PartLoss:
        """The loss on these training images, worked out on `device`."""

    def prediction_rows(
        self, network: nn.Module, images: TrainingImages, device: torch.device, batch_size: int
    ) -> torch.Tensor:
        """The output for each entry (there may be none) in order, (N, K) float32 on the CPU.

        The network is in evaluation mode on `device`. Each of several processes makes the rows of its own entries; then
        they exchange them.
        """

    def validation_score(self, rows: torch.Tensor, val: TrainingImages) -> ValidationScore:
        """Judge `rows`, (N, K), which `prediction_rows` gave for all entries of `val`."""


def gather_batch(images: TrainingImages, indices: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Images by their (B,) int64 `indices` into `images.images`, as (B, 3, S, S) uint8 on `device`."""
    batch = images.images[indices]
    if device.type == "cuda" and batch.device.type == "cpu":
        # Only a copy from pinned memory runs while the CPU goes on.
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)
