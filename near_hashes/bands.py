"""How to cut hashes into bands so that few others have to be looked at. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

_MOST_BITS = 20
"""Of a band: a table of 2 ** 20 places is 4 MB, the next ones are slow to reach."""
_LEAST_BITS = 4
_PROBE_COST = 0.3
"""Of looking into one bucket, in units of comparing one pair that a bucket gave."""
SCAN_COST = 0.03
"""The same, of comparing one pair where one hash is compared with all in a row, measured at 1 and at 4 words a hash."""


@dataclass(frozen=True)
class Banding:
    """Bands of about equal width."""

    flips: tuple[int, ...]
    """Of each band: how many of its bits may differ; -1 for one that need not be looked at."""


def choose_banding(count: int, bits: int, radius: int) -> Banding | None:
    """The cheapest banding for so many evenly spread hashes; None where comparing with all is no dearer.

    Let radius = m * f + a, with m bands. If the first a + 1 of them differed in f + 1 bits or more and the others in
    f or more, the hashes would differ in more than `radius`. So whatever is near, agrees but for f bits in one of the
    first, or but for f - 1 in one of the others (multi-index hashing: Norouzi, Punjani and Fleet 2012).

    Args:
        count: hashes.
        bits: of each.
        radius: bits that may differ.
    """
    best, least = None, SCAN_COST * count
    for bands in range(-(-bits // _MOST_BITS), bits // _LEAST_BITS + 1):
        most, rest = divmod(radius, bands)
        flips = tuple(most if band <= rest else most - 1 for band in range(bands))
        width = bits / bands
        probes = sum(comb(round(width), k) for flip in flips for k in range(flip + 1))
        cost = probes * (_PROBE_COST + count / 2**width)
        if cost < least:
            best, least = Banding(flips), cost
    return best


def flip_masks(width: int, flips: int) -> npt.NDArray[np.uint32]:
    """Every word of `width` bits with no more than `flips` of them set."""
    chosen = (places for k in range(flips + 1) for places in combinations(range(width), k))
    return np.array([sum(1 << place for place in places) for places in chosen], dtype=np.uint32)
