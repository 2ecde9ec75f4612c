"""Predictions -> what every cut through the defect score does, and what the chosen one does; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..evaluate import ABNORMAL, defect_scores, label_images
from ..metrics import BoolArray, FloatArray, Rate
from ..operating_point import miss_overkill_curve
from ..operating_point_file import ChosenPoint
from ..predictions import Predictions


@dataclass(frozen=True)
class ChosenCut:
    """A cut that was chosen on validation images, on the test images."""

    cut: float
    promised: float | None
    """The miss rate that was promised; None when the file does not say."""
    miss_rate: Rate
    overkill_rate: Rate


@dataclass(frozen=True)
class OperatingCurve:
    """What one training does on the test images as the cut moves."""

    seed: str
    overkill_rate: tuple[float, ...]
    """Corners of the curve, the highest cut first: 0 to 1."""
    miss_rate: tuple[float, ...]
    """At the same corners: 1 to 0."""
    chosen: ChosenCut | None


def operating_curve(
    seed: str,
    predictions: Predictions,
    *,
    normal: str,
    abnormal: str | None = ABNORMAL,
    point: ChosenPoint | None = None,
) -> OperatingCurve:
    """Miss rate and overkill rate at every cut; an image is called defective when 1 - p(normal) reaches the cut.

    Args:
        seed: name of the training.
        predictions: with labels.
        normal: the class without a defect.
        abnormal: the label of defects without a name.
        point: the cut that was chosen for this training, if any.

    Returns:
        A curve without corners when there is no defect, or no good image.
    """
    labelled = label_images(predictions, normal=normal, abnormal=abnormal)
    scores, is_defective = defect_scores(predictions, labelled.normal), labelled.is_defective
    overkill, miss = _corners(scores, is_defective)
    chosen = None
    if point is not None:
        called = scores >= point.cut
        chosen = ChosenCut(
            point.cut,
            point.max_miss_rate,
            Rate(int(np.sum(is_defective & ~called)), int(is_defective.sum())),
            Rate(int(np.sum(~is_defective & called)), int((~is_defective).sum())),
        )
    return OperatingCurve(seed, tuple(overkill.tolist()), tuple(miss.tolist()), chosen)


def _corners(scores: FloatArray, is_defective: BoolArray) -> tuple[FloatArray, FloatArray]:
    if not is_defective.any() or is_defective.all():
        return np.zeros(0), np.zeros(0)
    curve = miss_overkill_curve(scores, is_defective)
    overkill, miss = curve.overkill_rate[::-1], curve.miss_rate[::-1]
    # A point in the middle of a straight horizontal or vertical stretch shows nothing.
    flat, steep = np.diff(miss) == 0, np.diff(overkill) == 0
    inner = (flat[:-1] & flat[1:]) | (steep[:-1] & steep[1:])
    keep = np.concatenate([[True], ~inner, [True]])
    return overkill[keep], miss[keep]
