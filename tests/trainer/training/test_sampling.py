"""Which images each epoch shows, and the weights of classes in the loss."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from sklearn.utils.class_weight import compute_class_weight

from sdcore.errors import SettingsError
from trainer.tasks.classification import class_weights
from trainer.training.sampling import EpochOrder


def make_epoch_order(labels: list[int], **settings: object) -> EpochOrder:
    defaults = {"batch_size": 4, "images_per_epoch": None, "balance": False}
    return EpochOrder(labels, rng=torch.Generator().manual_seed(0), **{**defaults, **settings})  # type: ignore[arg-type]


def shown(order: EpochOrder) -> list[int]:
    return torch.cat(order.next_epoch()).tolist()


def test_every_image_is_shown_once_an_epoch() -> None:
    order = make_epoch_order([0] * 7 + [1] * 4)
    first, second = shown(order), shown(order)
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second


def test_a_smaller_budget_runs_on_over_the_epochs() -> None:
    order = make_epoch_order([0] * 10, images_per_epoch=4)
    counts = Counter(place for _ in range(5) for place in shown(order))
    assert counts == dict.fromkeys(range(10), 2)


def test_a_balanced_order_shows_every_class_and_every_image_of_a_class_equally() -> None:
    labels = [0] * 20 + [1] * 5 + [2] * 1
    counts = Counter(
        place for _ in range(5) for place in shown(make_epoch_order(labels, balance=True, images_per_epoch=60))
    )
    by_class = Counter({k: sum(counts[place] for place, label in enumerate(labels) if label == k) for k in (0, 1, 2)})
    assert by_class == {0: 100, 1: 100, 2: 100}
    assert set(counts.values()) == {5, 20, 100}


@pytest.mark.parametrize(("images", "batch_size"), [(2, 32), (3, 2), (33, 32), (63, 32), (683, 32), (5, 4)])
def test_no_step_sees_a_single_image(images: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in make_epoch_order([0] * images, batch_size=batch_size).next_epoch()]
    assert sum(sizes) == images
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_share_of_added_images_is_the_one_asked_for(share: float) -> None:
    added = [False] * 90 + [True] * 10
    order = make_epoch_order([0] * 100, added_share=share, added=added, images_per_epoch=200)
    drawn = [place for _ in range(20) for place in shown(order)]
    assert len(drawn) == 4000
    realised = sum(place >= 90 for place in drawn) / len(drawn)
    # Four standard deviations of 4000 draws; exactly so at the ends.
    assert abs(realised - share) <= 4 * (share * (1 - share) / 4000) ** 0.5
    counts = Counter(drawn)
    for pool in (range(90), range(90, 100)):
        of_pool = [counts[place] for place in pool]
        assert max(of_pool) - min(of_pool) <= 1


def test_without_a_share_added_images_are_drawn_like_any_other() -> None:
    assert sorted(shown(make_epoch_order([0] * 10, added=[False] * 4 + [True] * 6))) == list(range(10))


@pytest.mark.parametrize(
    ("share", "added", "words"),
    [(0.5, [False] * 4, "no generated images join"), (0.0, [True] * 4, "no real images"), (0.5, [], "no generated")],
)
def test_a_share_of_images_that_are_not_there_is_refused(share: float, added: list[bool], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_epoch_order([0] * 4 if added else [], added_share=share, added=added)


@given(
    labels=st.lists(st.integers(0, 2), min_size=2, max_size=12),
    balance=st.booleans(),
    budget=st.integers(2, 15),
    epochs=st.integers(0, 3),
)
def test_an_order_goes_on_from_its_state(labels: list[int], balance: bool, budget: int, epochs: int) -> None:
    def make() -> tuple[EpochOrder, torch.Generator]:
        rng = torch.Generator().manual_seed(7)
        return EpochOrder(labels, batch_size=4, images_per_epoch=budget, balance=balance, rng=rng), rng

    order, rng = make()
    for _ in range(epochs):
        order.next_epoch()
    other, other_rng = make()
    other.restore(order.state())
    other_rng.set_state(rng.get_state())
    for _ in range(3):
        assert shown(order) == shown(other)


def test_balanced_weights_agree_with_scikit_learn() -> None:
    labels = [0] * 7 + [1] * 2 + [3]
    weights = class_weights(labels, 4)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=np.array(labels))
    assert weights[[0, 1, 3]].tolist() == pytest.approx(expected.tolist())
    assert weights[2] == 0
    assert weights[labels].sum().item() == pytest.approx(len(labels))


def test_equal_classes_weigh_one() -> None:
    assert class_weights([0, 1, 1, 0], 2).tolist() == [1.0, 1.0]
