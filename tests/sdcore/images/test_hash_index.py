"""The index gives what comparing all pairs gives, whatever the hashes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from sdcore.images import hashes as module
from sdcore.images.hashes import HashIndex, Words

Pairs = list[tuple[int, int, int]]


def found_by(search: HashIndex, queries: Words) -> Pairs:
    return [
        (row, place, distance)
        for row, (places, distances) in enumerate(search.near(queries))
        for place, distance in zip(places.tolist(), distances.tolist(), strict=True)
    ]


def all_pairs(hashes: Words, queries: Words, radius: int) -> Pairs:
    """By vectors of +1 and -1, whose product is the bits that agree less those that differ."""

    def signs(words: Words) -> npt.NDArray[np.float64]:
        octets = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), 8 * words.shape[1])
        return np.unpackbits(octets, axis=1) * 2.0 - 1

    distances = (64 * hashes.shape[1] - signs(queries) @ signs(hashes).T) / 2
    return [(int(row), int(place), int(distances[row, place])) for row, place in np.argwhere(distances <= radius)]


def random_hashes(count: int, words: int, seed: int = 0) -> Words:
    return np.random.default_rng(seed).integers(0, 1 << 64, (count, words), dtype=np.uint64)


def planted(hashes: Words, most: int, seed: int = 1) -> Words:
    """The same with every fifth one, from the second half on, made of an earlier one by flipping 0 to `most` bits."""
    rng, out = np.random.default_rng(seed), hashes.copy()
    for place in range(len(out) // 2, len(out), 5):
        out[place] = out[int(rng.integers(0, place))]
        for bit in rng.choice(64 * out.shape[1], int(rng.integers(0, most + 1)), replace=False):
            out[place, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return out


@pytest.fixture
def only_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compared with all, however few or alike the hashes are."""
    monkeypatch.setattr(module, "SCAN_COST", 1e9)


@pytest.mark.parametrize(("words", "radius"), [(1, 4), (1, 9), (4, 12), (4, 40)])
def test_of_5000_with_planted_ones_the_pairs_are_those_of_all_pairs(words: int, radius: int) -> None:
    hashes = planted(random_hashes(5000, words), radius + 2)
    pairs = found_by(HashIndex(hashes, radius=radius), hashes)
    assert len(pairs) > 5400
    assert pairs == all_pairs(hashes, hashes, radius)


@pytest.mark.usefixtures("only_buckets")
@pytest.mark.parametrize(("words", "radius"), [(1, 0), (1, 4), (1, 9), (4, 12), (4, 40)])
def test_the_buckets_alone_hold_all_of_them(words: int, radius: int) -> None:
    hashes = planted(random_hashes(800, words), radius + 2)
    search = HashIndex(hashes, radius=radius)
    assert search._bands
    assert found_by(search, hashes) == all_pairs(hashes, hashes, radius)


@pytest.mark.usefixtures("only_buckets")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 3),
    st.lists(st.integers(0, (1 << 192) - 1), max_size=30),
    st.lists(st.integers(0, 191), max_size=12),
    st.integers(0, 12),
)
def test_any_hashes_give_the_pairs_of_all_pairs(words: int, numbers: list[int], flips: list[int], radius: int) -> None:
    numbers += [number ^ sum(1 << bit for bit in set(flips[:k])) for k, number in enumerate(numbers[:12])]
    octets = b"".join(number.to_bytes(24, "little")[: 8 * words] for number in numbers)
    hashes = np.frombuffer(octets, dtype=np.uint64).reshape(-1, words)
    assert found_by(HashIndex(hashes, radius=radius), hashes) == all_pairs(hashes, hashes, radius)


def test_queries_need_not_be_among_the_hashes() -> None:
    hashes, queries = planted(random_hashes(800, 1), 6), random_hashes(50, 1, seed=9)
    queries[:40] = hashes[-40:] ^ np.uint64(3)
    pairs = found_by(HashIndex(hashes, radius=4), queries)
    assert len(pairs) >= 40
    assert pairs == all_pairs(hashes, queries, 4)


@pytest.mark.parametrize("words", [1, 4])
def test_among_thousands_of_look_alikes_the_others_are_found_too(words: int) -> None:
    hashes = planted(random_hashes(4000, words), 3)
    cluster = np.repeat(hashes[:1], 1500, axis=0)
    cluster[:, 0] ^= np.uint64(1) << np.random.default_rng(2).integers(0, 64, 1500).astype(np.uint64)
    hashes = np.concatenate([hashes, cluster])
    # Of both kinds: those compared with all, and those looked up.
    queries = hashes[[0, 1, 3600, 3605, 4100, 5000]]
    pairs = found_by(HashIndex(hashes, radius=4), queries)
    assert len(pairs) > 4000
    assert pairs == all_pairs(hashes, queries, 4)


def test_pairs_are_compared_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = planted(random_hashes(3000, 1), 4)
    whole = found_by(HashIndex(hashes, radius=4), hashes)
    monkeypatch.setattr(module, "_AT_ONCE", 50)
    assert found_by(HashIndex(hashes, radius=4), hashes) == whole


@pytest.mark.parametrize("are_alike", [False, True])
@pytest.mark.parametrize("words", [1, 4])
def test_what_comes_later_can_be_left_out(words: int, are_alike: bool) -> None:
    hashes = planted(random_hashes(1, words).repeat(900, axis=0) if are_alike else random_hashes(3000, words), 4)
    before = np.arange(len(hashes))
    for radius in (4, 20):
        found = HashIndex(hashes, radius=radius).near(hashes, before=before)
        pairs = [(row, place) for row, (places, _) in enumerate(found) for place in places.tolist()]
        assert pairs == [(row, place) for row, place, _ in all_pairs(hashes, hashes, radius) if place < row]


def test_a_radius_too_wide_for_bands_compares_with_all() -> None:
    hashes = random_hashes(300, 1)
    assert module.choose_band_layout(300, 64, 30) is None
    assert found_by(HashIndex(hashes, radius=30), hashes) == all_pairs(hashes, hashes, 30)


@pytest.mark.parametrize(("bits_of_hash", "radius"), [(64, 0), (64, 4), (64, 8), (256, 40)])
def test_of_100000_few_are_looked_at_and_no_near_one_can_hide(bits_of_hash: int, radius: int) -> None:
    chosen = module.choose_band_layout(100_000, bits_of_hash, radius)
    assert chosen is not None
    assert sum(flips + 1 for flips in chosen.flips) > radius, "else so many bits could differ too much in every band"


def test_nothing_among_nothing() -> None:
    empty = np.zeros((0, 2), dtype=np.uint64)
    assert found_by(HashIndex(empty, radius=3), empty) == []
    assert found_by(HashIndex(empty, radius=3), random_hashes(2, 2)) == []
    assert found_by(HashIndex(random_hashes(2, 2), radius=3), empty) == []


@pytest.mark.parametrize("radius", [-1, 65])
def test_a_radius_out_of_range_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=f"found {radius}; expected 0 to 64"):
        HashIndex(random_hashes(2, 1), radius=radius)


def test_hashes_without_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found shape \(3,\); expected"):
        HashIndex(np.zeros(3, dtype=np.uint64), radius=1)


def test_bits_are_counted_alike_by_old_and_new_numpy() -> None:
    words = random_hashes(1000, 1)[:, 0]
    words[:2] = (0, (1 << 64) - 1)
    expected = [int(word).bit_count() for word in words]
    assert module.count_bits(words).tolist() == expected
    assert module._count_bits_by_sums(words).tolist() == expected
