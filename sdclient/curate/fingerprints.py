"""Perceptual hashes: a picture's structure in 256 bits, and which of many hashes lie close together. Pure.

The hash is imagehash's `phash` of 16 x 16: the signs of the lowest frequencies of the cosine transform against their
median. Close ones are found by one matrix product a block: for vectors of +1 and -1, the bits that differ are
(256 - product) / 2. That is all pairs, but at 10,000 pictures it takes about a second (`bench/curation_filters.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from .pixels import grey_of, levels_of

BITS = 256
_SIDE = 16
_BLOCK = 512


@dataclass(frozen=True)
class ClosePair:
    """Two hashes that lie close together, by their places."""

    later: int
    earlier: int
    distance: int
    """Bits that differ."""


def hash_of(image: Image.Image) -> str:
    """The hash in 64 hexadecimal digits."""
    return str(imagehash.phash(Image.fromarray(levels_of(grey_of(image))), hash_size=_SIDE))


def hash_distance(one: str, other: str) -> int:
    """Bits that differ, 0 to 256."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def close_pairs(hashes: Sequence[str], *, radius: int, most: int, first_new: int = 0) -> list[ClosePair]:
    """Pairs of which the later one is new and has an earlier one within the radius.

    Args:
        hashes: as `hash_of` gives them, in the order in which the pictures count.
        radius: bits that may differ.
        most: how many earlier ones each keeps, the nearest first, of a tie the earliest.
        first_new: place of the first new one; pairs among those before it are known already.
    """
    signs = _signs(hashes)
    pairs: list[ClosePair] = []
    for start in range(first_new, len(hashes), _BLOCK):
        block = signs[start : start + _BLOCK]
        before = signs[: start + len(block)]
        distances = ((BITS - block @ before.T) / 2).round().astype(np.int64)
        for row, near in enumerate(distances):
            later = start + row
            places = np.flatnonzero(near[:later] <= radius)
            nearest = places[np.argsort(near[places], kind="stable")[:most]]
            pairs.extend(ClosePair(later, int(place), int(near[place])) for place in nearest)
    return pairs


def _signs(hashes: Sequence[str]) -> npt.NDArray[np.float32]:
    if not hashes:
        return np.zeros((0, BITS), dtype=np.float32)
    octets = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
    return np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1
