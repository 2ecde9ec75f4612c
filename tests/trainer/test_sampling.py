from __future__ import annotations

from collections import Counter

import pytest
import torch

from trainer.sampling import EpochOrder


def order_of(labels: list[int], **settings: object) -> EpochOrder:
    defaults = {"batch_size": 4, "images_per_epoch": None, "balance": False}
    return EpochOrder(labels, generator=torch.Generator().manual_seed(0), **{**defaults, **settings})  # type: ignore[arg-type]


def shown(order: EpochOrder) -> list[int]:
    return torch.cat(order.next_epoch()).tolist()


def test_every_image_is_shown_once_an_epoch() -> None:
    order = order_of([0] * 7 + [1] * 4)
    first, second = shown(order), shown(order)
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second


def test_a_smaller_budget_runs_on_over_the_epochs() -> None:
    order = order_of([0] * 10, images_per_epoch=4)
    counts = Counter(place for _ in range(5) for place in shown(order))
    assert counts == dict.fromkeys(range(10), 2)


def test_a_balanced_order_shows_every_class_and_every_image_of_a_class_equally() -> None:
    labels = [0] * 20 + [1] * 5 + [2] * 1
    counts = Counter(place for _ in range(5) for place in shown(order_of(labels, balance=True, images_per_epoch=60)))
    by_class = Counter({k: sum(counts[place] for place, label in enumerate(labels) if label == k) for k in (0, 1, 2)})
    assert by_class == {0: 100, 1: 100, 2: 100}
    assert set(counts.values()) == {5, 20, 100}


@pytest.mark.parametrize(("images", "batch_size"), [(2, 32), (3, 2), (33, 32), (63, 32), (683, 32), (5, 4)])
def test_no_step_sees_a_single_image(images: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in order_of([0] * images, batch_size=batch_size).next_epoch()]
    assert sum(sizes) == images
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
