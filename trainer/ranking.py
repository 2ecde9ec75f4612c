"""How well a score sets defects above good images, for many weightings of the images at once; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .metrics import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class RankingQuality:
    """Both figures of R weightings; NaN where one of the two kinds has no weight."""

    auroc: FloatArray
    """(R,) chance that a random positive scores above a random negative, a tie counting half."""
    average_precision: FloatArray
    """(R,) step-wise, without interpolation: the precision at each level of the score, times the recall it adds."""


class Ranking:
    """N images in the order of their score, highest first, images of one score together."""

    def __init__(self, score: FloatArray, is_positive: BoolArray) -> None:
        """Put images in order.

        Args:
            score: (N,) float, higher = more likely positive.
            is_positive: (N,) bool.

        Raises:
            ValueError: a score is NaN, or the lengths differ.
        """
        if score.shape != is_positive.shape:
            raise ValueError(f"{score.shape} scores and {is_positive.shape} truths; expected one of each an image")
        if np.isnan(score).any():
            raise ValueError("a score is NaN; expected numbers")
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._positive = is_positive[self._order].astype(np.float64)
        ends_level = np.ones(len(score), dtype=bool)
        ends_level[:-1] = ordered[1:] != ordered[:-1]
        self._last_of_level = np.flatnonzero(ends_level)

    def judge(self, weights: FloatArray) -> RankingQuality:
        """Judge the score with each image counted so many times.

        Args:
            weights: (R, N), 0 or more, in the order the images were given.
        """
        if not len(self._order):
            nothing = np.full(len(weights), np.nan)
            return RankingQuality(nothing, nothing)
        ordered = weights[:, self._order]
        hits = np.cumsum(ordered * self._positive, axis=1)[:, self._last_of_level]
        above = np.cumsum(ordered, axis=1)[:, self._last_of_level]
        false = above - hits
        positives, negatives = hits[:, -1], false[:, -1]
        new_hits = np.diff(hits, axis=1, prepend=0.0)
        new_false = np.diff(false, axis=1, prepend=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            area = (new_false * (hits - 0.5 * new_hits)).sum(axis=1) / (positives * negatives)
            # A level above which nothing has weight adds no recall.
            precision = np.where(above > 0, hits / above, 0.0)
            average = (precision * new_hits).sum(axis=1) / positives
        undefined = (positives == 0) | (negatives == 0)
        return RankingQuality(np.where(undefined, np.nan, area), np.where(undefined, np.nan, average))


def auroc(score: FloatArray, is_positive: BoolArray) -> float | None:
    """Chance that a random positive scores above a random negative, a tie counting half: U / (P N).

    Args:
        score: (N,) float, higher = more likely positive.
        is_positive: (N,) bool.

    Returns:
        In [0, 1]; None when one of the two kinds is absent.
    """
    return _defined(_judge_once(score, is_positive).auroc)


def average_precision(score: FloatArray, is_positive: BoolArray) -> float | None:
    """Area under precision against recall in steps: the sum of (R_n - R_(n-1)) P_n over the levels of the score.

    Arguments and return as for `auroc`.
    """
    return _defined(_judge_once(score, is_positive).average_precision)


def _judge_once(score: FloatArray, is_positive: BoolArray) -> RankingQuality:
    return Ranking(score, is_positive).judge(np.ones((1, len(score))))


def _defined(values: FloatArray) -> float | None:
    value = float(values[0])
    return None if np.isnan(value) else value
