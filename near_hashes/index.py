"""Which of many hashes lie within some bits of a given one: exact, and without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .bands import SCAN_COST, Banding, choose_banding, flip_masks
from .bits import Words, count_differing_bits

Places = npt.NDArray[np.int64]

_AT_ONCE = 1 << 21
"""Pairs compared at once: about 150 MB with all that is noted of them."""


class HashIndex:
    """Finds all hashes within a radius.

    A hash whose buckets hold so many others that comparing it with all is cheaper, is compared with all: however
    alike the hashes are, time never exceeds that of all pairs by much, and memory does not grow with the pairs.

    Args:
        hashes: (N, W) words of 64 bits.
        radius: bits that may differ.

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
        # One word of all hashes after the other: comparing with all is a walk through memory then.
        self._columns = np.asfortranarray(hashes)
        banding = choose_banding(len(hashes), bits, radius)
        self._banding, self._bands = banding, []
        if banding is not None:
            keys = _band_keys(self._hashes, banding)
            widths = [len(range(band, bits, len(banding.flips))) for band in range(len(keys))]
            self._bands = [
                _Band(of_band, width, flip_masks(width, flips))
                for of_band, width, flips in zip(keys, widths, banding.flips, strict=False)
            ]

    def near(self, queries: Words, *, before: Places | None = None) -> Iterator[tuple[Places, Places]]:
        """For each query in turn: the places of all hashes within the radius, ascending, and the bits that differ.

        Args:
            queries: (M, W).
            before: (M,) only places below this are looked at; None: all.
        """
        ends = np.full(len(queries), len(self._hashes)) if before is None else before
        if self._banding is None:
            yield from map(self._scan, queries, ends.tolist())
            return
        keys = _band_keys(queries, self._banding)
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
        # Most are further away by half of the words already, where they are not all alike.
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
        # What several bands gave counts once.
        rows, places = np.divmod(np.unique(np.concatenate(found)), len(self._hashes))
        bits = self._distances(queries, rows, places).astype(np.int64)
        stops = np.searchsorted(rows, np.arange(len(queries)), side="right").tolist()
        for start, stop in zip([0, *stops[:-1]], stops, strict=True):
            yield places[start:stop], bits[start:stop]

    def _distances(self, queries: Words, rows: Places, places: Places) -> npt.NDArray[np.uint16]:
        # `take` gathers rows several times as fast as an index does.
        return count_differing_bits(np.take(queries, rows, axis=0), np.take(self._hashes, places, axis=0))


class _Band:
    """The hashes by their bits of one band."""

    def __init__(self, keys: npt.NDArray[np.uint32], width: int, masks: npt.NDArray[np.uint32]) -> None:
        sizes = np.bincount(keys, minlength=1 << width)
        self._order = np.argsort(keys, kind="stable")
        # Half as large as they come: these tables are read at random.
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


def _band_keys(hashes: Words, banding: Banding) -> npt.NDArray[np.uint32]:
    """(bands to be looked at, N) the bits of each band as a number.

    Bits are dealt out in turn: neighbouring ones often agree, and would crowd the buckets of their band.
    """
    octets = np.ascontiguousarray(hashes).view(np.uint8).reshape(len(hashes), 8 * hashes.shape[1])
    bits = np.unpackbits(octets, axis=1)
    used = sum(flips >= 0 for flips in banding.flips)
    keys = np.zeros((used, len(hashes)), dtype=np.uint32)
    for band in range(used):
        for bit in range(band, bits.shape[1], len(banding.flips)):
            keys[band] = (keys[band] << np.uint32(1)) | bits[:, bit]
    return keys
