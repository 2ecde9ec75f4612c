"""The seam score sees steps along the border and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from sdclient.compose.transplant import border_of, gradient_across, seam_score
from tests.support.compose_material import disc


def box_alpha(side: int = 60) -> np.ndarray:  # type: ignore[type-arg]
    alpha = np.zeros((side, side), dtype=np.float32)
    alpha[20:40, 20:40] = 1
    return alpha


def test_the_border_is_a_pixel_to_either_side_and_the_soft_edge() -> None:
    alpha = np.zeros((1, 12), dtype=np.float32)
    alpha[0, 4:9] = [0.5, 1, 1, 1, 1]
    assert np.flatnonzero(border_of(np.repeat(alpha, 12, axis=0))[6]).tolist() == [3, 4, 5, 8, 9]


def test_a_step_of_so_many_levels_is_measured() -> None:
    alpha = box_alpha()
    pixels = np.full((60, 60, 1), 100, dtype=np.float32)
    pixels[20:40, 20:40] = 160
    # A step of 60 has a gradient of 30 a px on both of its sides, and those two pixels are the border.
    assert gradient_across(pixels, alpha) == pytest.approx(30, rel=0.08)


def test_a_trace_across_the_border_is_no_seam() -> None:
    alpha = disc((60, 60), (30, 30), 12).astype(np.float32)
    plain = np.full((60, 60, 1), 100, dtype=np.float32)
    crossing, step = plain.copy(), plain.copy()
    crossing[28:32] = 200
    step[alpha > 0] = 200
    assert gradient_across(plain, alpha) == 0
    assert gradient_across(crossing, alpha) < 0.2 * gradient_across(step, alpha)


def test_channels_are_averaged() -> None:
    pixels = np.full((60, 60, 3), 100, dtype=np.float32)
    pixels[20:40, 20:40, 0] = 160
    assert gradient_across(pixels, box_alpha()) == pytest.approx(10, rel=0.08)


def test_no_mask_has_no_seam() -> None:
    empty = np.zeros((8, 8), dtype=np.float32)
    assert gradient_across(np.zeros((8, 8, 1), dtype=np.float32), empty) == 0


@pytest.mark.parametrize(("here", "own", "score"), [(5, 5, 1), (11, 5, 2), (0, 0, 1), (0, 1, 0.5)])
def test_the_score_is_a_ratio_calmed_by_a_level(here: float, own: float, score: float) -> None:
    assert seam_score(here, own) == score
