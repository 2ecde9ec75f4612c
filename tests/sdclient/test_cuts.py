"""Where photographs are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdclient.boxes import Box
from sdclient.cuts import Cut, cut_around, tile_cuts


def test_a_square_with_context_lies_around_a_box() -> None:
    box = Box("dirt", 100, 200, 160, 230)
    assert cut_around(box, 4000, 3000, margin=0.5, size_px=10) == Cut(70, 155, 120, 120)
    assert cut_around(box, 4000, 3000, margin=0.5, size_px=256) == Cut(2, 87, 256, 256)


def test_at_an_edge_the_square_is_moved_not_shrunk() -> None:
    assert cut_around(Box("d", 0, 0, 10, 10), 500, 400, margin=0, size_px=100) == Cut(0, 0, 100, 100)
    assert cut_around(Box("d", 490, 390, 500, 400), 500, 400, margin=0, size_px=100) == Cut(400, 300, 100, 100)


def test_a_photo_smaller_than_the_square_is_taken_whole() -> None:
    assert cut_around(Box("d", 5, 5, 9, 9), 80, 60, margin=0.5, size_px=256) == Cut(0, 0, 80, 60)


@settings(deadline=None)
@given(data=st.data(), width=st.integers(1, 900), height=st.integers(1, 900))
def test_a_cut_holds_its_box_and_lies_in_the_photo(data: st.DataObject, width: int, height: int) -> None:
    left = data.draw(st.floats(0, width - 0.5))
    top = data.draw(st.floats(0, height - 0.5))
    right = data.draw(st.floats(left, width))
    bottom = data.draw(st.floats(top, height))
    margin, size = data.draw(st.floats(0, 3)), data.draw(st.integers(1, 600))
    cut = cut_around(Box("d", left, top, right, bottom), width, height, margin=margin, size_px=size)
    assert 0 <= cut.x <= left
    assert 0 <= cut.y <= top
    assert right <= cut.x + cut.width <= width
    assert bottom <= cut.y + cut.height <= height
    assert cut.width == width or cut.height == height or cut.width == cut.height
    assert cut.width >= min(size, width)


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
    cuts = tile_cuts(length, 10, tile_px=512, overlap=overlap)
    assert cuts == [Cut(x, 0, min(512, length), 10) for x in starts]


def test_tiles_go_row_by_row() -> None:
    assert [(cut.x, cut.y) for cut in tile_cuts(20, 20, tile_px=10, overlap=0)] == [(0, 0), (10, 0), (0, 10), (10, 10)]


@settings(deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    tile=st.integers(1, 100),
    overlap=st.floats(0, 0.95),
)
def test_tiles_cover_everything_and_share_at_least_what_was_asked(
    width: int, height: int, tile: int, overlap: float
) -> None:
    cuts = tile_cuts(width, height, tile_px=tile, overlap=overlap)
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
        tile_cuts(9, 9, tile_px=tile, overlap=overlap)


@pytest.mark.parametrize(("margin", "size"), [(-0.1, 9), (float("nan"), 9), (float("inf"), 9), (0.5, 0)])
def test_margins_that_make_no_sense_are_refused(margin: float, size: int) -> None:
    with pytest.raises(ValueError, match="expected a margin"):
        cut_around(Box("d", 0, 0, 1, 1), 9, 9, margin=margin, size_px=size)
