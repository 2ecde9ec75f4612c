from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sdclient.serve.denoiser import Denoiser, _tile_weight
from sdcore.images.tiles import Window, tile_starts, tile_windows
from tests.support.engines import KnownNetwork, known_model


@pytest.mark.parametrize(
    ("length", "overlap", "starts"),
    [
        (512, 0.0, [0]),
        (300, 0.5, [0]),
        (1024, 0.0, [0, 512]),
        (1000, 0.0, [0, 488]),
        (1025, 0.0, [0, 256, 513]),
        (1024, 0.2, [0, 256, 512]),
    ],
)
def test_tiles_along_one_side(length: int, overlap: float, starts: list[int]) -> None:
    cuts = tile_windows(length, 10, tile_px=512, overlap=overlap)
    assert cuts == [Window(x, 0, min(512, length), 10) for x in starts]


def test_tiles_go_row_by_row() -> None:
    assert [(cut.x, cut.y) for cut in tile_windows(20, 20, tile_px=10, overlap=0)] == [
        (0, 0),
        (10, 0),
        (0, 10),
        (10, 10),
    ]


@settings(deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), tile=st.integers(1, 100), overlap=st.floats(0, 0.95))
def test_tiles_cover_everything_and_share_at_least_what_was_asked(
    width: int, height: int, tile: int, overlap: float
) -> None:
    cuts = tile_windows(width, height, tile_px=tile, overlap=overlap)
    assert len(set(cuts)) == len(cuts)
    for length, places in ((width, {(c.x, c.width) for c in cuts}), (height, {(c.y, c.height) for c in cuts})):
        ordered = sorted(places)
        assert ordered[0][0] == 0
        assert sum(ordered[-1]) == length
        for (start, side), (following, _) in pairwise(ordered):
            assert side == min(tile, length)
            assert start + side - following >= min(overlap * side, side - 1) - 1e-6


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0.0), (5, 1.0), (5, -0.1), (5, float("nan"))])
def test_tiles_that_make_no_sense_are_refused(tile: int, overlap: float) -> None:
    with pytest.raises(ValueError, match="expected a tile"):
        tile_windows(9, 9, tile_px=tile, overlap=overlap)


@pytest.mark.parametrize("tile", [4, 16, 24])
@pytest.mark.parametrize("extra", [0, 1, 2, 7, 16, 33, 100])
def test_tiles_cover_everything_and_share_a_quarter(tile: int, extra: int) -> None:
    length = tile + extra
    starts = tile_starts(length, tile, 0.25)
    assert starts[0] == 0
    assert starts[-1] == length - tile
    assert all(0 < after - before <= 0.75 * tile + 0.5 for before, after in pairwise(starts))


def test_a_tile_counts_most_in_its_middle_and_never_nothing() -> None:
    weight = _tile_weight(16)
    assert weight.min() > 0
    assert int(weight.argmax()) in {16 * 7 + 7, 16 * 7 + 8, 16 * 8 + 7, 16 * 8 + 8}
    assert torch.allclose(weight, weight.T)


@pytest.mark.parametrize("shape", [(4, 4), (4, 11), (9, 6), (20, 20)])
def test_blended_tiles_give_what_one_look_at_the_whole_would(shape: tuple[int, int]) -> None:
    model = known_model()
    noisy = torch.randn((3, 16, *shape), generator=torch.Generator().manual_seed(0))
    answers = [
        Denoiser(model.network, model.schedule, tile=tile, label=0, negative=1, guidance=3.0).velocity(
            noisy, torch.tensor(400.0)
        )
        for tile in (4, max(shape))
    ]
    assert torch.allclose(*answers, atol=1e-5)


def test_a_large_image_goes_through_the_network_in_small_helpings() -> None:
    model = known_model()
    network = model.network
    assert isinstance(network, KnownNetwork)
    Denoiser(network, model.schedule, tile=4, label=0, negative=2, guidance=1.0).velocity(
        torch.zeros(5, 16, 40, 40), torch.tensor(400.0)
    )
    assert sum(count for *_, count in network.calls) == 5 * 13 * 13
    assert max(count for *_, count in network.calls) <= 64
