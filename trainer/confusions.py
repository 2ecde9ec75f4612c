"""Confusion counts by group of images, and the figures that are resampled from them; pure."""

from __future__ import annotations

import numpy as np

from . import metrics
from .evaluate import LabelledImages
from .metrics import FloatArray, IntArray
from .stats import Statistic

MACRO_F1 = "macro_f1"
JUDGED_RATES = ("accuracy", "miss_rate", "overkill_rate")
"""The compared figures of the Normal/Abnormal judgement."""


def confusion_by_group(labelled: LabelledImages, group_of: IntArray) -> FloatArray:
    """(G, L, K) counts: group, label, predicted class.

    Args:
        labelled: N images.
        group_of: (N,) in [0, G).
    """
    rows, columns = len(labelled.names), len(labelled.classes)
    groups = int(group_of.max()) + 1
    cell = (group_of * rows + labelled.true) * columns + labelled.predicted
    counted = np.bincount(cell, minlength=groups * rows * columns)
    return counted.reshape(groups, rows, columns).astype(np.float64)


def compared_statistics(truth: LabelledImages) -> dict[str, Statistic]:
    """What is resampled, each a function of an (..., L, K) confusion; macro-F1 only where names are known."""
    return statistics_of(normal=truth.normal, classes=len(truth.classes), named=truth.named)


def statistics_of(*, normal: int, classes: int, named: bool) -> dict[str, Statistic]:
    """The same from what decides it.

    Args:
        normal: row and column of the Normal class.
        classes: K.
        named: whether every label is a class; without, there is no macro-F1.
    """
    by_name: dict[str, Statistic] = {MACRO_F1: lambda table: metrics.macro_f1_of_confusion(table[..., :classes, :])}
    return {
        **(by_name if named else {}),
        **{key: _binary_statistic(key, normal) for key in JUDGED_RATES},
    }


def recall_statistics(truth: LabelledImages) -> dict[str, Statistic]:
    """The recall of every class by "recall <class>", where names are known."""
    size = len(truth.classes) if truth.named else 0
    return {f"recall {truth.classes[k]}": _recall_statistic(k) for k in range(size)}


def _recall_statistic(k: int) -> Statistic:
    return lambda table: metrics.recall_of_confusion(table, k)


def _binary_statistic(key: str, normal: int) -> Statistic:
    return lambda table: metrics.binary_rate_of_confusion(table, key, normal=normal)
