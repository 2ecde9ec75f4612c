"""Near duplicates among 100,000 hashes: how long the two packages take, and all pairs by numpy where that is feasible.

    python bench/near_duplicates.py [--hashes 100000] [--direct 40000] [--rounds 3] [--json FILE]

trainer's search is `find_look_alikes` (64 bits, radius 4, with the coarse pictures), sdclient's is `close_pairs` (256
bits, radius 40, the 16 nearest). Each searches random hashes with one in fifty planted within the radius, and hashes of
which a fifth are one picture with some bits flipped. All pairs, on --direct hashes, are the ways that were used before
the index: a row of XOR and counted bits for each 64-bit hash, and products of matrices of +1 and -1 for 256 bits. They
must find the same pairs, or this ends with an error.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from report import Report, spread

from sdclient.curate.curator import HASH_RADIUS, MOST_TWINS
from sdcore.images.hashes import HashIndex, Words, close_pairs, count_bits
from trainer.data.check import NEAR_BITS
from trainer.data.findings import CheckedImage, find_look_alikes
from trainer.data.fingerprints import GRID, Fingerprint

BLOCK = 512
Pairs = npt.NDArray[np.int64]


def main() -> None:
    """Search, compare and sum up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hashes", type=int, default=100_000)
    parser.add_argument("--direct", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    report = Report(
        "near-duplicates", "near duplicates by an index and by all pairs", packages=("numpy",), settings=vars(asked)
    )
    small, large = drawn(asked.hashes, words=1, most=NEAR_BITS), drawn(asked.hashes, words=4, most=HASH_RADIUS)
    searches: dict[str, Callable[[], object]] = {
        "trainer, 64 bits, random": look_alikes(small),
        "trainer, 64 bits, a fifth of one picture": look_alikes(crowded(small, flips=2)),
        "sdclient, 256 bits, random": pairs_of(large),
        "sdclient, 256 bits, a fifth of one picture": pairs_of(crowded(large, flips=16)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    direct: dict[str, list[float]] = {"64 bits": [], "256 bits": []}
    index: dict[str, list[float]] = {"64 bits": [], "256 bits": []}
    for _ in range(asked.rounds):
        for name, search in searches.items():
            seconds[name].append(timed(search)[0])
        for name, hashes, radius, all_pairs in (
            ("64 bits", small, NEAR_BITS, pairs_by_counting),
            ("256 bits", large, HASH_RADIUS, pairs_by_product),
        ):
            some = hashes[: asked.direct]
            taken, expected = timed(all_pairs, some, radius)
            direct[name].append(taken)
            taken, found = timed(pairs_by_index, some, radius)
            index[name].append(taken)
            if not np.array_equal(expected, found):
                raise SystemExit(f"{name}: the index finds {len(found)} pairs, all pairs give {len(expected)}")
    rows = [[name, spread(values), f"{asked.hashes / np.median(values):,.0f}"] for name, values in seconds.items()]
    report.table(f"{asked.hashes:,} hashes", ["search", "s", "hashes/s"], rows)
    ratios = {name: [one / other for one, other in zip(direct[name], index[name], strict=True)] for name in direct}
    report.table(
        f"All pairs and the index on {asked.direct:,} random hashes; the same pairs",
        ["hashes", "all pairs, s", "index, s", "all pairs / index"],
        [[name, spread(direct[name]), spread(index[name]), spread(ratios[name], 1)] for name in direct],
    )
    for name, values in seconds.items():
        report.goal(f"{asked.hashes:,} hashes, {name}", values, at_most=30, unit="s")
    runs: dict[str, Any] = {"search_s": seconds, "all_pairs_s": direct, "index_s": index}
    report.finish(asked.json, runs)


def drawn(count: int, *, words: int, most: int) -> Words:
    """Random hashes; every fiftieth, from the second on, is an earlier one with up to `most` bits flipped."""
    chance = np.random.default_rng(0)
    hashes = chance.integers(0, 1 << 64, (count, words), dtype=np.uint64)
    for place in range(50, count, 50):
        hashes[place] = hashes[chance.integers(0, place)]
        for bit in chance.choice(64 * words, chance.integers(0, most + 1), replace=False).tolist():
            hashes[place, bit // 64] ^= np.uint64(1 << (bit % 64))
    return hashes


def crowded(hashes: Words, *, flips: int) -> Words:
    """The same, with the first fifth of them one hash with up to so many bits flipped, each its own."""
    count, chance = len(hashes) // 5, np.random.default_rng(1)
    out = hashes.copy()
    out[:count] = hashes[0]
    for _ in range(flips):
        bits = chance.integers(0, 64 * hashes.shape[1], count)
        out[np.arange(count), bits // 64] ^= np.uint64(1) << (bits % 64).astype(np.uint64)
    return out


def look_alikes(hashes: Words) -> Callable[[], object]:
    """The trainer's search; equal coarse pictures, so that every pair of near hashes counts."""
    grid = bytes([40, 200] * (GRID * GRID * 3 // 2))
    seen = [
        CheckedImage(
            str(place), "all", "one", Fingerprint(Path(), None, "", str(place), word, contrast=40.0, grid=grid)
        )
        for place, word in enumerate(hashes[:, 0].tolist())
    ]
    return lambda: find_look_alikes(seen, max_distance=NEAR_BITS)


def pairs_of(hashes: Words) -> Callable[[], object]:
    """The client's search."""
    digits = [row.tobytes().hex() for row in hashes]
    return lambda: close_pairs(digits, radius=HASH_RADIUS, most=MOST_TWINS)


def pairs_by_index(hashes: Words, radius: int) -> Pairs:
    """(later, earlier) of every pair, in that order."""
    found = [(later, places[places < later]) for later, (places, _) in enumerate(near(hashes, radius))]
    return listed(found)


def near(hashes: Words, radius: int) -> Any:
    """What the index finds for each hash."""
    return HashIndex(hashes, radius=radius).near(hashes)


def pairs_by_counting(hashes: Words, radius: int) -> Pairs:
    """The same pairs, each 64-bit hash against all before it."""
    words = hashes[:, 0]
    found = [(later, np.flatnonzero(count_bits(words[:later] ^ words[later]) <= radius)) for later in range(len(words))]
    return listed(found)


def pairs_by_product(hashes: Words, radius: int) -> Pairs:
    """The same pairs, a block against all before it."""
    signs = np.unpackbits(hashes.view(np.uint8), axis=1).astype(np.float32) * 2 - 1
    found = []
    for start in range(0, len(signs), BLOCK):
        block = signs[start : start + BLOCK]
        distances = (signs.shape[1] - block @ signs[: start + len(block)].T) / 2
        found += [
            (start + row, np.flatnonzero(near[: start + row] <= radius)) for row, near in enumerate(distances.round())
        ]
    return listed(found)


def listed(found: list[tuple[int, Pairs]]) -> Pairs:
    """(P, 2)."""
    rows = [np.stack([np.full_like(places, later), places], axis=1) for later, places in found if places.size]
    return np.concatenate(rows) if rows else np.zeros((0, 2), dtype=np.int64)


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    began = time.perf_counter()
    found = work(*arguments)
    return time.perf_counter() - began, found


if __name__ == "__main__":
    main()
