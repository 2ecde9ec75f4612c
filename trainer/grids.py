"""Coarse pictures of 16 x 16 colour means: which of many are alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .fingerprints import GRID

MOST_DIFFERENCE = 12.0
"""Grey levels that the means of look-alikes may differ on average.

A perceptual hash alone takes simple pictures, such as one trace on a bare board, for others that are far from them.
"""
MOST_SHARE = 0.25
"""The same, as a share of what the means vary within the plainer of the two: a small spot on white must fit, too."""
LEAST_DIFFERENCE = 2.0
"""What compression and rounding may do to the plainest picture."""

_CHANNELS = 3
_VALUES = GRID * GRID * _CHANNELS
_COARSE_CELLS = (1, 4)
"""Cells a side at which two are compared first: sums that differ too much rule out that the finer ones agree."""
_AT_ONCE = 4096


class Grids:
    """The coarse pictures of `Fingerprint.grid`; places are theirs in the list given."""

    def __init__(self, grids: Sequence[bytes]) -> None:
        pixels = np.frombuffer(b"".join(grids), dtype=np.uint8).reshape(len(grids), _VALUES)
        self._steps = [_block_sums(pixels, cells) for cells in _COARSE_CELLS] + [pixels]
        self._most = np.clip(MOST_SHARE * _varied(pixels), LEAST_DIFFERENCE, MOST_DIFFERENCE)

    def agree(self, place: int, others: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether the means differ on average by no more than a quarter of what these vary within the plainer one."""
        agree = np.zeros(len(others), dtype=np.bool_)
        for start in range(0, len(others), _AT_ONCE):
            left = np.arange(start, min(start + _AT_ONCE, len(others)))
            for step in self._steps:
                found = others[left]
                difference = np.abs(np.take(step, found, axis=0).astype(np.int32) - step[place]).sum(axis=1)
                left = left[difference / _VALUES <= np.minimum(self._most[found], self._most[place])]
            agree[left] = True
        return agree


def _block_sums(pixels: npt.NDArray[np.uint8], cells: int) -> npt.NDArray[np.int32]:
    """(N, cells * cells * 3): of the values in each block of a channel."""
    side = GRID // cells
    blocks = pixels.reshape(len(pixels), cells, side, cells, side, _CHANNELS)
    return np.asarray(blocks.sum(axis=(2, 4), dtype=np.int32)).reshape(len(pixels), cells * cells * _CHANNELS)


def _varied(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean absolute deviation of the values from the mean of their channel."""
    cells = pixels.reshape(len(pixels), GRID * GRID, _CHANNELS)
    found = [np.zeros(0, dtype=np.int64)]
    # In whole numbers, so that nothing is rounded; some at a time, since all at once take many times their memory.
    for start in range(0, len(cells), _AT_ONCE):
        some = cells[start : start + _AT_ONCE].astype(np.int32)
        found.append(np.abs(GRID * GRID * some - some.sum(axis=1, keepdims=True)).sum(axis=(1, 2), dtype=np.int64))
    return np.concatenate(found) / (GRID * GRID * _VALUES)
