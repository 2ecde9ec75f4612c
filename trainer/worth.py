"""How many test images it would take to see a difference that is worth having; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from sdcore.messages import Message, message

from .errors import SettingsError
from .stats import CONFIDENCE, Resampled

POWER = 0.8
"""Chance of seeing a difference of the stated size, with as many images as are said to be needed."""


@dataclass(frozen=True)
class Worth:
    """What it would take to see a difference of the primary metric."""

    worth: float
    """The difference asked for."""
    images_now: int
    images_needed: int | None
    """Test images of the same mix and grouping; None where more images alone cannot do it."""
    seeds_now: int
    """Trainings an arm; of the smaller arm."""
    seeds_needed: int | None
    """Where images alone cannot do it: trainings an arm that could, with images beyond number."""

    @property
    def sentence(self) -> Message:
        """The answer in words."""
        power = 100 * POWER
        if self.images_needed is None:
            return message(
                "sample_seeds", worth=self.worth, power=power, seeds=self.seeds_now, needed=self.seeds_needed
            )
        key = "sample_enough" if self.images_needed <= self.images_now else "sample_needed"
        return message(key, worth=self.worth, power=power, needed=self.images_needed, now=self.images_now)


def images_needed(worth: float, draws: Resampled, *, rows: tuple[int, int], images: int, seeds: int) -> Worth | None:
    """Test images at which a true difference of `worth` is seen with 80 % power at two-sided 5 %.

    By the normal approximation: worth^2 >= (z_0.975 + z_0.8)^2 (v n_0 / n + u), where v is the variance of the
    difference that the drawing of n_0 images makes, and u that of the seeds, which no further image lessens.

    Args:
        worth: the smallest difference worth having, in (0, 1).
        draws: resamples of the primary metric.
        rows: which two arms.
        images: n_0, the images there are.
        seeds: trainings of the smaller arm.

    Returns:
        None where the metric is undefined.

    Raises:
        SettingsError: `worth` is not between 0 and 1.
    """
    if not 0 < worth < 1:
        raise SettingsError(f"worth: found {worth:g}; expected a difference between 0 and 1, as 0.02")
    first, second = rows
    apart = draws.by_images[second] - draws.by_images[first]
    if np.isnan(apart).all() or np.isnan(draws.seed_error[[first, second]]).any():
        return None
    by_images = float(np.nanvar(apart))
    by_seeds = float(draws.seed_error[first] ** 2 + draws.seed_error[second] ** 2)
    tail = (1.0 - CONFIDENCE) / 2.0
    allowed = (worth / float(scipy_stats.norm.ppf(1.0 - tail) + scipy_stats.norm.ppf(POWER))) ** 2
    left = allowed - by_seeds
    if left <= 0:
        return Worth(worth, images, None, seeds, math.floor(seeds * by_seeds / allowed) + 1)
    return Worth(worth, images, max(1, math.ceil(images * by_images / left)), seeds, None)
