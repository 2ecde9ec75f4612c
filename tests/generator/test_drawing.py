from __future__ import annotations

from collections import Counter

import pytest
import torch

from generator.diffusion.session import BatchOrder, centre_square, random_square

LABELS = [0] * 20 + [1] * 4 + [2] * 3


def order(seed: int = 0, *, balance: bool = True) -> BatchOrder:
    return BatchOrder(LABELS, batch_size=6, balance=balance, generator=torch.Generator().manual_seed(seed))


def test_classes_are_drawn_equally_often_where_balanced() -> None:
    drawn = order()
    counts = Counter(LABELS[index] for _ in range(20) for index in drawn.next_batch())
    assert counts == {0: 40, 1: 40, 2: 40}


def test_pictures_are_drawn_equally_often_where_not() -> None:
    drawn = order(balance=False)
    counts = Counter(index for _ in range(9) for index in drawn.next_batch())
    assert set(counts.values()) == {2}


@pytest.mark.parametrize("balance", [True, False])
def test_no_picture_comes_again_before_all_of_its_pool_came(balance: bool) -> None:
    drawn = order(balance=balance)
    seen = [index for _ in range(18) for index in drawn.next_batch() if not balance or LABELS[index] == 2]
    size = 3 if balance else len(LABELS)
    for start in range(0, len(seen) - size + 1, size):
        assert len(set(seen[start : start + size])) == size


def test_an_order_goes_on_where_it_was() -> None:
    chance = torch.Generator().manual_seed(3)
    first = BatchOrder(LABELS, batch_size=6, balance=True, generator=chance)
    for _ in range(4):
        first.next_batch()
    state, of_chance = first.state(), chance.get_state()
    expected = [first.next_batch() for _ in range(5)]
    other = torch.Generator()
    second = BatchOrder(LABELS, batch_size=6, balance=True, generator=other)
    second.restore(state)
    other.set_state(of_chance)
    assert [second.next_batch() for _ in range(5)] == expected


def squares(*, flips: bool, quarter_turns: bool) -> set[tuple[int, ...]]:
    picture = torch.arange(4).view(1, 2, 2)
    chance = torch.Generator().manual_seed(0)
    return {
        tuple(random_square(picture, 2, flips=flips, quarter_turns=quarter_turns, generator=chance).flatten().tolist())
        for _ in range(200)
    }


def test_pictures_are_turned_only_where_that_is_allowed() -> None:
    assert squares(flips=False, quarter_turns=False) == {(0, 1, 2, 3)}
    assert squares(flips=True, quarter_turns=False) == {(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)}
    assert len(squares(flips=False, quarter_turns=True)) == 4
    assert len(squares(flips=True, quarter_turns=True)) == 8


def test_a_long_picture_is_shown_in_windows_all_along_and_held_out_by_its_middle() -> None:
    picture = torch.arange(5).repeat(2, 1)[None]
    chance = torch.Generator().manual_seed(0)
    starts = {
        int(random_square(picture, 2, flips=False, quarter_turns=False, generator=chance)[0, 0, 0]) for _ in range(100)
    }
    assert starts == {0, 1, 2, 3}
    assert centre_square(picture, 2)[0, 0].tolist() == [1, 2]
