"""What differs between classification and detection, behind one interface; the training loop asks this alone.

The images of a training and the figures of a validation are here too, since the loop hands them to a task and takes
them back.
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
    """(N,) int64, the image of each entry."""
    labels: torch.Tensor
    """(N,) int64, the class of each entry."""
    added: torch.Tensor | None = None
    """(N,) bool, whether the entry joined the real images: a generated image, or a source repeated as control."""

    def part(self, entries: slice) -> TrainingImages:
        """Some of the entries, of the same images."""
        added = None if self.added is None else self.added[entries]
        return TrainingImages(self.images, self.image_index[entries], self.labels[entries], added)


@dataclass(frozen=True)
class ValidationScore:
    """Figures of one look at labelled images."""

    loss: float
    """Mean cross-entropy."""
    accuracy: float
    """In [0, 1]."""
    macro_f1: float
    """In [0, 1]; mean over the classes that occur of F1 = 2 TP / (2 TP + FP + FN)."""
    miss_rate: float | None
    """FN / (TP + FN): defects called Normal; None without a class Normal or without a defect."""
    overkill_rate: float | None
    """FP / (FP + TN): Normal images called a defect; None without one."""


class PartLoss(Protocol):
    """The loss of a part of a step's batch."""

    def __call__(self, output: Any, batch: torch.Tensor, part: slice, variation: Variation) -> torch.Tensor:
        """The loss of a part as its share of the batch's mean: over all parts of a batch they add up to that mean.

        Args:
            output: what the network gave for the part's images, under autocast.
            batch: (B,) int64, entries of the training images, of the whole step.
            part: which of them `output` is of.
            variation: how the part's images were varied; what lies at a place in them moves with it.

        Returns:
            A scalar on the device that trains.
        """


class Task(Protocol):
    """What a network is trained to do."""

    def build_network(self) -> tuple[nn.Module, str]:
        """The network before its first step, on the CPU; and in words what it started from, "" for fresh weights.

        Draws from torch's global generator.

        Raises:
            CheckpointError: the weights to start from cannot be used.
        """

    def refuse_unusable_weights(self) -> None:
        """Try the weights that a training is to start from, before anything is read or replaced for it.

        Raises:
            CheckpointError: they cannot be used.
        """

    def part_loss(self, train: TrainingImages, device: torch.device) -> PartLoss:
        """The loss on these images.

        Args:
            train: what is learnt from.
            device: that trains.
        """

    def prediction_rows(
        self, network: nn.Module, images: TrainingImages, device: torch.device, batch_size: int
    ) -> torch.Tensor:
        """(N, K) float32 on the CPU, a row for each entry in order: what the network says of it.

        Several processes each make the rows of their own entries, and exchange them.

        Args:
            network: in evaluation mode, on `device`.
            images: to look at; there may be none.
            device: where the network lies.
            batch_size: entries at a time.
        """

    def validation_score(self, rows: torch.Tensor, val: TrainingImages) -> ValidationScore:
        """How good the predictions are.

        Args:
            rows: (N, K), what `prediction_rows` gave for all validation images.
            val: these images.
        """


def gather_batch(images: TrainingImages, places: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(B, 3, S, S) uint8 on `device`; a batch that has to travel to a GPU goes through pinned memory.

    Args:
        images: to take from.
        places: (B,) int64, of `images.images`.
        device: where the batch is needed.
    """
    batch = images.images[places]
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)
