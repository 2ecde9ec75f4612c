"""Perceptual hashes: a picture's structure in 256 bits, and which of many hashes lie close together. Pure.

The hash is imagehash's `phash` of 16 x 16: the signs of the lowest frequencies of the cosine transform against their
median. Close ones are found by an index (`near_hashes`), exactly and without comparing all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from near_hashes import HashIndex, Words

from .pixels import grey_of, levels_of

BITS = 256
_SIDE = 16


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
    words = _words(hashes)
    index = HashIndex(words, radius=radius)
    pairs: list[ClosePair] = []
    new = np.arange(first_new, len(words))
    for later, (places, bits) in enumerate(index.near(words[first_new:], before=new), first_new):
        # The nearest, of a tie the earliest; among thousands of look-alikes a full sort would take longer than to
        # find them.
        ranks = bits * len(words) + places
        if len(ranks) > most:
            ranks = np.partition(ranks, most)[:most]
        pairs.extend(ClosePair(later, rank % len(words), rank // len(words)) for rank in np.sort(ranks).tolist())
    return pairs


def _words(hashes: Sequence[str]) -> Words:
    words = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint64) if hashes else np.zeros(0, dtype=np.uint64)
    return words.reshape(len(hashes), BITS // 64)
