"""Hashes as rows of 64-bit words, and the bits that are set in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def count_bits(words: Words) -> npt.NDArray[np.uint8]:
    """Set bits of each word."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(words), dtype=np.uint8)
    return _count_bits_by_sums(words)  # numpy < 2


def count_differing_bits(one: Words, other: Words) -> npt.NDArray[np.uint16]:
    """Bits in which rows differ.

    Args:
        one: (M, W) words, or (W,) for one hash against all.
        other: (M, W).
    """
    # Word by word: a sum over the short axis of a matrix takes several times as long.
    bits = count_bits(one[..., 0] ^ other[:, 0]).astype(np.uint16)
    for word in range(1, other.shape[1]):
        bits += count_bits(one[..., word] ^ other[:, word])
    return bits


def _count_bits_by_sums(words: Words) -> npt.NDArray[np.uint8]:
    """Adds neighbouring bits, pairs and fours, then all bytes at once (Warren, Hacker's Delight, figure 5-2)."""
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    words = words - ((words >> one) & np.uint64(0x5555555555555555))
    words = (words & np.uint64(0x3333333333333333)) + ((words >> two) & np.uint64(0x3333333333333333))
    words = (words + (words >> four)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)
