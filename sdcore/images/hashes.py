"""Perceptual hashes of 64 and 256 bits, and which of many hashes lie close together: exact, without all pairs. Pure.

`structure_hash` has 256 bits: imagehash's `phash` of 16 x 16. `perceptual_hash` has 64. Both are the signs of the
lowest frequencies of the cosine transform against their median (Zauner, Implementation and Benchmarking of Perceptual
Image Hash Functions, 2010). `HashIndex` finds the close ones by multi-index hashing (Norouzi, Punjani and Fleet 2012).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from .similarity import levels_of, luma_of

Words: TypeAlias = npt.NDArray[np.uint64]
"""Hashes as rows of 64-bit words, (N, W)."""
Places: TypeAlias = npt.NDArray[np.int64]

STRUCTURE_BITS = 256
_STRUCTURE_SIDE = 16
_SIDE_PX = 32
_FREQUENCIES = 8
# Row k: the k-th cosine of the type II discrete cosine transform, without a norm.
_COSINES = 2 * np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * (2 * np.arange(_SIDE_PX) + 1) / (2 * _SIDE_PX))

_MOST_BITS = 20
"""Of a band: a table of 2 ** 20 places is 4 MB; larger ones are slow to read."""
_LEAST_BITS = 4
_PROBE_COST = 0.3
"""Cost of reading one bucket, in units of comparing one pair from a bucket."""
SCAN_COST = 0.03
"""Cost in the same unit of comparing one pair where one hash is compared with all; measured at 1 and 4 words a hash."""
_AT_ONCE = 1 << 21
"""Pairs compared at once: about 150 MB with all their data."""


@dataclass(frozen=True)
class ClosePair:
    """Two hashes that lie close together, by their places."""

    later: int
    earlier: int
    distance: int
    """Bits that differ."""


def structure_hash(image: Image.Image) -> str:
    """The structure of an image in 256 bits, as 64 hexadecimal digits."""
    import imagehash

    return str(imagehash.phash(Image.fromarray(levels_of(luma_of(image))), hash_size=_STRUCTURE_SIDE))


def shrink_to_grey(image: Image.Image) -> npt.NDArray[np.float64]:
    """The input of `perceptual_hash`: (32, 32) grey levels of 0-255 of an upright image, mode "RGB" or "L"."""
    return np.asarray(image.convert("L").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS), dtype=np.float64)


def perceptual_hash(grey: npt.NDArray[np.float64]) -> int:
    """64 bits that change little when an image is scaled, compressed or brightened; grey as `shrink_to_grey` gives it.

    They are the signs, against their median, of the lowest 8 x 8 frequencies of the cosine transform. Those of a flat
    image mean nothing.
    """
    # Rounded, so that an exact 0 is 0 on every machine.
    low = np.round(_COSINES @ grey @ _COSINES.T, 3)
    ordered = np.sort(low, axis=None)
    middle = len(ordered) // 2
    # `np.median` takes four times as long for the same.
    median = (ordered[middle - 1] + ordered[middle]) / 2
    return int.from_bytes(np.packbits(low > median).tobytes(), "big")


def hash_distance(one: str, other: str) -> int:
    """Bits that differ, 0 to 256."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def close_pairs(hashes: Sequence[str], *, radius: int, most: int, first_new: int = 0) -> list[ClosePair]:
    """Pairs within the radius of which the later one is new: at place `first_new` or behind it.

    `hashes` are as `structure_hash` gives them, in the order in which the images count. Each keeps `most` earlier ones,
    the nearest first; of a tie the earliest.
    """
    words = _words(hashes)
    index = HashIndex(words, radius=radius)
    pairs: list[ClosePair] = []
    new = np.arange(first_new, len(words))
    for later, (places, bits) in enumerate(index.near(words[first_new:], before=new), first_new):
        # A partition first: among thousands of look-alikes a full sort would take longer than finding them.
        ranks = bits * len(words) + places
        if len(ranks) > most:
            ranks = np.partition(ranks, most)[:most]
        pairs.extend(ClosePair(later, rank % len(words), rank // len(words)) for rank in np.sort(ranks).tolist())
    return pairs


class HashIndex:
    """Finds all hashes within a radius, among (N, W) words of 64 bits.

    A hash whose buckets hold so many others that comparing it with all is cheaper, is compared with all: however alike
    the hashes are, time never exceeds that of all pairs by much, and memory does not grow with the pairs.

    Raises:
        ValueError: a radius beyond the bits of a hash, or hashes of another shape.
    """

    def __init__(self, hashes: Words, *, radius: int) -> None:
        if hashes.ndim != 2 or hashes.shape[1] < 1:
            raise ValueError(f"hashes: found shape {hashes.shape}; expected (N, words of 64 bits)")
        bits = 64 * hashes.shape[1]
        if not 0 <= radius <= bits:
            raise ValueError(f"radius: found {radius}; expected 0 to {bits} bits")
        self._hashes, self._radius = np.ascontiguousarray(hashes), radius
        # Column by column, so that comparing with all reads memory in order.
        self._columns = np.asfortranarray(hashes)
        layout = choose_band_layout(len(hashes), bits, radius)
        self._layout, self._bands = layout, []
        if layout is not None:
            keys = _band_keys(self._hashes, layout)
            widths = [len(range(band, bits, len(layout.flips))) for band in range(len(keys))]
            self._bands = [
                _Band(of_band, width, flip_masks(width, flips))
                for of_band, width, flips in zip(keys, widths, layout.flips, strict=False)
            ]

    def near(self, queries: Words, *, before: Places | None = None) -> Iterator[tuple[Places, Places]]:
        """For each of (M, W) queries: the places of all hashes within the radius, ascending, and the bits that differ.

        Only places below `before`, (M,), are searched; None: all.
        """
        ends = np.full(len(queries), len(self._hashes)) if before is None else before
        if self._layout is None:
            yield from map(self._scan, queries, ends.tolist())
            return
        keys = _band_keys(queries, self._layout)
        candidates = np.asarray(sum(band.count(of_band) for band, of_band in zip(self._bands, keys, strict=True)))
        is_scanned = candidates > SCAN_COST * len(self._hashes)
        start = 0
        while start < len(queries):
            if is_scanned[start]:
                yield self._scan(queries[start], int(ends[start]))
                start += 1
                continue
            end = start + _run_length(is_scanned[start:], candidates[start:])
            yield from self._look_up(queries[start:end], keys[:, start:end], ends[start:end])
            start = end

    def _scan(self, query: Words, end: int) -> tuple[Places, Places]:
        half, columns = max(1, len(query) // 2), self._columns[:end]
        bits = count_differing_bits(query[:half], columns[:, :half])
        # Half of the words already excludes most hashes, unless all are alike.
        places = np.flatnonzero(bits <= self._radius)
        if half < len(query):
            if 2 * len(places) > end:
                bits += count_differing_bits(query[half:], columns[:, half:])
                places = np.flatnonzero(bits <= self._radius)
            else:
                bits[places] = count_differing_bits(query, np.take(self._hashes, places, axis=0))
                places = places[bits[places] <= self._radius]
        return places, bits[places].astype(np.int64)

    def _look_up(self, queries: Words, keys: npt.NDArray[np.uint32], ends: Places) -> Iterator[tuple[Places, Places]]:
        found = [np.zeros(0, dtype=np.int64)]
        for band, of_band in zip(self._bands, keys, strict=True):
            rows, places = band.candidates(of_band)
            is_before = places < np.take(ends, rows)
            rows, places = rows[is_before], places[is_before]
            near = self._distances(queries, rows, places) <= self._radius
            found.append(rows[near] * len(self._hashes) + places[near])
        # A pair from several bands counts once.
        rows, places = np.divmod(np.unique(np.concatenate(found)), len(self._hashes))
        bits = self._distances(queries, rows, places).astype(np.int64)
        stops = np.searchsorted(rows, np.arange(len(queries)), side="right").tolist()
        for start, stop in zip([0, *stops[:-1]], stops, strict=True):
            yield places[start:stop], bits[start:stop]

    def _distances(self, queries: Words, rows: Places, places: Places) -> npt.NDArray[np.uint16]:
        # `take` gathers rows several times as fast as an index does.
        return count_differing_bits(np.take(queries, rows, axis=0), np.take(self._hashes, places, axis=0))


def count_bits(words: Words) -> npt.NDArray[np.uint8]:
    """Set bits of each word."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(words), dtype=np.uint8)
    return _count_bits_by_sums(words)  # numpy < 2


def count_differing_bits(one: Words, other: Words) -> npt.NDArray[np.uint16]:
    """Bits in which rows of words differ: (M, W) or (W,), one hash against all, and (M, W)."""
    # Word by word: a sum over the short axis of a matrix takes several times as long.
    bits = count_bits(one[..., 0] ^ other[:, 0]).astype(np.uint16)
    for word in range(1, other.shape[1]):
        bits += count_bits(one[..., word] ^ other[:, word])
    return bits


@dataclass(frozen=True)
class BandLayout:
    """Bands of about equal width."""

    flips: tuple[int, ...]
    """Of each band: how many of its bits may differ; -1 for one that need not be searched."""


def choose_band_layout(count: int, bits: int, radius: int) -> BandLayout | None:
    """The cheapest band layout for `count` evenly spread hashes; None where comparing with all costs no more.

    Let radius = m * f + a, with m bands. If the first a + 1 of them differed in f + 1 bits or more and the others in f
    or more, the hashes would differ in more than `radius`. So near hashes differ by at most f bits in one of the
    first bands, or by at most f - 1 in one of the others (multi-index hashing).
    """
    best, least = None, SCAN_COST * count
    for bands in range(-(-bits // _MOST_BITS), bits // _LEAST_BITS + 1):
        most, rest = divmod(radius, bands)
        flips = tuple(most if band <= rest else most - 1 for band in range(bands))
        width = bits / bands
        probes = sum(comb(round(width), k) for flip in flips for k in range(flip + 1))
        cost = probes * (_PROBE_COST + count / 2**width)
        if cost < least:
            best, least = BandLayout(flips), cost
    return best


def flip_masks(width: int, flips: int) -> npt.NDArray[np.uint32]:
    """Every word of `width` bits with no more than `flips` of them set."""
    chosen = (places for k in range(flips + 1) for places in combinations(range(width), k))
    return np.array([sum(1 << place for place in places) for places in chosen], dtype=np.uint32)


class _Band:
    """The hashes by their bits of one band."""

    def __init__(self, keys: npt.NDArray[np.uint32], width: int, masks: npt.NDArray[np.uint32]) -> None:
        sizes = np.bincount(keys, minlength=1 << width)
        self._order = np.argsort(keys, kind="stable")
        # In 32 bits, because these tables are read at random.
        self._sizes, self._starts = sizes.astype(np.int32), (np.cumsum(sizes) - sizes).astype(np.int32)
        self._masks = masks

    def count(self, keys: npt.NDArray[np.uint32]) -> Places:
        """How many hashes the buckets of each key and of its neighbours hold."""
        total = np.zeros(len(keys), dtype=np.int64)
        for mask in self._masks:
            total += np.take(self._sizes, keys ^ mask)
        return total

    def candidates(self, keys: npt.NDArray[np.uint32]) -> tuple[Places, Places]:
        """(rows of the keys, places of hashes) of every pair in a common or neighbouring bucket."""
        probes = (keys[:, None] ^ self._masks).ravel()
        sizes = np.take(self._sizes, probes)
        full = np.flatnonzero(sizes)
        sizes = np.take(sizes, full)
        # Of each bucket, where it starts in the order of the keys less where its pairs start in the answer.
        offsets = np.take(self._starts, np.take(probes, full)) - (np.cumsum(sizes) - sizes)
        within = np.repeat(offsets, sizes)
        within += np.arange(len(within))
        return np.repeat(full // len(self._masks), sizes), np.take(self._order, within)


def _run_length(is_scanned: npt.NDArray[np.bool_], candidates: Places) -> int:
    """How many queries from the first on are looked up together; one at least."""
    stops = np.flatnonzero(is_scanned)
    until = int(stops[0]) if stops.size else len(is_scanned)
    return max(1, int(np.searchsorted(np.cumsum(candidates[:until]), _AT_ONCE)))


def _band_keys(hashes: Words, layout: BandLayout) -> npt.NDArray[np.uint32]:
    """(bands to be searched, N) the bits of each band as a number.

    Bits go to the bands in turn: neighbouring ones often agree, and would fill few buckets of their band.
    """
    octets = np.ascontiguousarray(hashes).view(np.uint8).reshape(len(hashes), 8 * hashes.shape[1])
    bits = np.unpackbits(octets, axis=1)
    used = sum(flips >= 0 for flips in layout.flips)
    keys = np.zeros((used, len(hashes)), dtype=np.uint32)
    for band in range(used):
        for bit in range(band, bits.shape[1], len(layout.flips)):
            keys[band] = (keys[band] << np.uint32(1)) | bits[:, bit]
    return keys


def _words(hashes: Sequence[str]) -> Words:
    words = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint64) if hashes else np.zeros(0, dtype=np.uint64)
    return words.reshape(len(hashes), STRUCTURE_BITS // 64)


def _count_bits_by_sums(words: Words) -> npt.NDArray[np.uint8]:
    """Adds neighbouring bits, pairs and fours, then all bytes at once (Warren, Hacker's Delight, figure 5-2)."""
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    words = words - ((words >> one) & np.uint64(0x5555555555555555))
    words = (words & np.uint64(0x3333333333333333)) + ((words >> two) & np.uint64(0x3333333333333333))
    words = (words + (words >> four)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)
