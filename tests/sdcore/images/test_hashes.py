"""Hashes, and which of many lie close together."""

from __future__ import annotations

import numpy as np
from PIL import ImageChops

from sdcore.images.hashes import STRUCTURE_BITS, ClosePair, close_pairs, hash_distance, structure_hash
from tests.support.images import surface


def random_hashes(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(STRUCTURE_BITS // 8).hex() for _ in range(count)]


def flipped(digits: str, bits: int) -> str:
    return f"{int(digits, 16) ^ ((1 << bits) - 1):0{STRUCTURE_BITS // 4}x}"


def test_the_hash_is_64_digits_and_nearly_the_same_after_a_shift() -> None:
    one, other = structure_hash(surface(1)), structure_hash(ImageChops.offset(surface(1), 1, 0))
    assert len(one) == STRUCTURE_BITS // 4
    assert hash_distance(one, one) == 0
    assert 0 < hash_distance(one, other) <= 40 < hash_distance(one, structure_hash(surface(2)))


def test_close_pairs_are_those_of_the_direct_comparison() -> None:
    hashes = random_hashes(700)
    hashes[600] = flipped(hashes[3], 20)
    hashes[601] = flipped(hashes[3], 41)
    hashes[602] = flipped(hashes[601], 5)
    expected = {
        (later, earlier)
        for later in range(len(hashes))
        for earlier in range(later)
        if hash_distance(hashes[later], hashes[earlier]) <= 40
    }
    found = close_pairs(hashes, radius=40, most=10)
    assert {(pair.later, pair.earlier) for pair in found} == expected
    assert all(hash_distance(hashes[pair.later], hashes[pair.earlier]) == pair.distance for pair in found)


def test_of_many_copies_the_earliest_are_kept() -> None:
    hashes = [*random_hashes(1), *random_hashes(1, seed=1) * 30]
    kept = [pair.earlier for pair in close_pairs(hashes, radius=0, most=3) if pair.later == 30]
    assert kept == [1, 2, 3]


def test_pairs_of_old_ones_are_not_looked_for_again() -> None:
    hashes = random_hashes(1) * 3
    assert close_pairs(hashes, radius=0, most=9, first_new=2) == [ClosePair(2, 0, 0), ClosePair(2, 1, 0)]


def test_nothing_gives_no_pairs() -> None:
    assert close_pairs([], radius=40, most=3) == []
