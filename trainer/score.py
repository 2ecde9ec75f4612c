"""What a network says about pictures in memory, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from .evaluate import NORMAL
from .loader import normalise
from .session import Pictures, take_images


@dataclass(frozen=True)
class Score:
    """Figures of one look at labelled pictures."""

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


def predict_logits(network: nn.Module, pictures: Pictures, device: torch.device, batch_size: int) -> torch.Tensor:
    """(N, K) float32 on the CPU, of the entries in order."""
    rows = []
    with torch.inference_mode():
        for places in torch.split(pictures.places, batch_size):
            pixels = normalise(take_images(pictures, places, device))
            rows.append(network(pixels.contiguous(memory_format=torch.channels_last)).cpu())
    return torch.cat(rows)


def score(logits: torch.Tensor, labels: torch.Tensor, classes: Sequence[str], *, normal: str = NORMAL) -> Score:
    """Judge logits by their largest output.

    Args:
        logits: (N, K), N >= 1.
        labels: (N,) int64.
        classes: K names.
        normal: the class without defects; miss and overkill rate need it among the classes.
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
    return Score(
        loss=functional.cross_entropy(logits.double(), labels).item(),
        accuracy=(predicted == labels).double().mean().item(),
        macro_f1=sum(f1) / len(f1),
        miss_rate=miss_rate,
        overkill_rate=overkill_rate,
    )


def _share(part: torch.Tensor, whole: torch.Tensor) -> float | None:
    count = int(whole.sum())
    return int(part.sum()) / count if count else None
