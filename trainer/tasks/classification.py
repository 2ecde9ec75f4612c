"""Classification as a task: one class per image, YOLOv5's classifiers, cross-entropy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..config import NORMAL, TrainConfig
from ..data.transforms import Variation, normalise
from ..models.initial_weights import BATCH_NORMS, freeze_backbone, load_initial_weights
from ..models.yolov5 import build_classifier
from . import PartLoss, TrainingImages, ValidationScore, gather_batch

_BATCH_NORM_MOMENTUM = 0.1
"""Upstream uses 0.03, which keeps a quarter of the initial statistics after 50 steps; small sets train no longer."""


class Classification:
    """A `trainer.tasks.Task`; the classes are in the order of the outputs."""

    def __init__(self, classes: tuple[str, ...], config: TrainConfig) -> None:
        self.classes, self.config = classes, config

    def build_fresh_network(self) -> nn.Module:
        """See `Task`."""
        return build_classifier(self.config.model, len(self.classes))

    def build_network(self) -> tuple[nn.Module, str]:
        """See `Task`."""
        config, network = self.config, self.build_fresh_network()
        words = ""
        if config.weights is not None:
            words = load_initial_weights(network, Path(config.weights), model=config.model, classes=self.classes).line
        if config.sync_bn:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        for module in network.modules():
            if isinstance(module, BATCH_NORMS):
                module.momentum = _BATCH_NORM_MOMENTUM
        freeze_backbone(network, config.freeze)
        return network, words

    def refuse_unusable_weights(self) -> None:
        """See `Task`."""
        if self.config.weights is not None:
            with torch.random.fork_rng(devices=[]):
                self.build_network()

    def part_loss(self, train: TrainingImages, device: torch.device) -> PartLoss:
        """Cross-entropy with the weights of `config.class_weights`; see `Task`."""
        weights = None
        if self.config.class_weights != "none":
            weights = class_weights(train.labels.tolist(), len(self.classes))
        return _CrossEntropy(train.labels, weights, self.config.label_smoothing, device)

    def prediction_rows(
        self, network: nn.Module, images: TrainingImages, device: torch.device, batch_size: int
    ) -> torch.Tensor:
        """Logits of K classes; see `Task`."""
        rows = []
        with torch.inference_mode():
            for indices in torch.split(images.image_index, batch_size):
                pixels = normalise(gather_batch(images, indices, device))
                rows.append(network(pixels.contiguous(memory_format=torch.channels_last)).cpu())
        return torch.cat(rows)

    def validation_score(self, rows: torch.Tensor, val: TrainingImages) -> ValidationScore:
        """See `Task`."""
        return score(rows, val.labels, self.classes)


class _CrossEntropy:
    """A `PartLoss` from the (N,) int64 labels of all entries and the (K,) weights of the classes, or None."""

    def __init__(
        self, labels: torch.Tensor, weights: torch.Tensor | None, smoothing: float, device: torch.device
    ) -> None:
        self._labels, self._weights, self._smoothing, self._device = labels, weights, smoothing, device
        self._device_weights = None if weights is None else weights.to(device)

    def __call__(self, output: Any, batch: torch.Tensor, part: slice, variation: Variation) -> torch.Tensor:
        labels = self._labels[batch]
        own = labels[part]
        mean = functional.cross_entropy(
            output,
            own.to(self._device, non_blocking=True),
            weight=self._device_weights,
            label_smoothing=self._smoothing,
        )
        if len(own) == len(labels):
            return mean
        if self._weights is None:
            return mean * (len(own) / len(labels))
        # A weighted mean is divided by the sum of its weights, so a part counts by its share of that sum.
        return mean * float(self._weights[own].sum() / self._weights[labels].sum())


def score(
    logits: torch.Tensor, labels: torch.Tensor, classes: Sequence[str], *, normal: str = NORMAL
) -> ValidationScore:
    """Judge logits (N, K), N >= 1, by the class of the largest one; labels are (N,) int64.

    Miss and overkill rate need the class `normal`, without defects, among the K classes.
    """
    predicted = logits.argmax(dim=1)
    f1 = []
    for k in sorted(set(labels.tolist())):
        hits = ((predicted == k) & (labels == k)).sum().item()
        f1.append(2 * hits / ((predicted == k).sum().item() + (labels == k).sum().item()))
    miss_rate = overkill_rate = None
    if normal in classes:
        passed, good = (one == list(classes).index(normal) for one in (predicted, labels))
        miss_rate, overkill_rate = _share(passed & ~good, ~good), _share(~passed & good, good)
    return ValidationScore(
        loss=functional.cross_entropy(logits.double(), labels).item(),
        accuracy=(predicted == labels).double().mean().item(),
        macro_f1=sum(f1) / len(f1),
        miss_rate=miss_rate,
        overkill_rate=overkill_rate,
    )


def _share(part: torch.Tensor, whole: torch.Tensor) -> float | None:
    count = int(whole.sum())
    return int(part.sum()) / count if count else None


def class_weights(labels: Sequence[int], n_classes: int) -> torch.Tensor:
    """Weight of each class in the loss, (n_classes,) float32, by inverse frequency: w_k = N / (K n_k).

    N >= 1 entries, K classes that occur, n_k entries of class k. The weights of all entries add up to N, and a balanced
    set has weights of 1. A class without entries gets 0, which is never used. (King and Zeng, Logistic Regression in
    Rare Events Data, 2001; "balanced" in scikit-learn.)
    """
    counts = torch.bincount(torch.as_tensor(labels), minlength=n_classes).double()
    occur = counts > 0
    weights = torch.zeros(n_classes, dtype=torch.float64)
    weights[occur] = len(labels) / (occur.sum() * counts[occur])
    return weights.float()
